"""What a worker writes down of a build that fails in a way nobody foresaw: where, and none of the
error's words.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from asu.builds.build_queue import QUEUE, BuildQueue
from tests.integration.podman_world import ROOT

if TYPE_CHECKING:
    from tests.redis_server import RedisServer

CANARY = "echo from-a-first-boot-script"

# A worker's own logging and RQ's whole loop, with a process for the build, around a build that ends
# with an error.
WORKER = """
import sys
from redis import Redis
from asu.worker.queue_worker import BuildWorker
from asu.logs import configure_logging

CANARY = sys.argv[2]

def in_a_cause():
    try:
        raise ValueError(f"cannot read {CANARY}")
    except ValueError as error:
        raise ConnectionError("Redis is away") from error

def in_a_context():
    try:
        raise ValueError(f"cannot read {CANARY}")
    except ValueError:
        raise ConnectionError("Redis is away")

def in_its_message():
    raise RuntimeError(f"no idea what {CANARY} is")

def on_its_way_out():
    raise SystemExit(f"ends over {CANARY}")

configure_logging("debug", sys.argv[4])
redis = Redis.from_url(sys.argv[1])
worker = BuildWorker(redis, build=globals()[sys.argv[3]], sweep=lambda: None)
worker.work(burst=True, logging_level=None)
"""


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    "failure", ["in_a_cause", "in_a_context", "in_its_message", "on_its_way_out"]
)
def test_a_build_that_fails_unforeseen_is_quoted_nowhere(
    shared_redis: RedisServer, failure: str, style: str
) -> None:
    """Neither in the log of a real worker, whoever writes there, nor in what RQ keeps; RQ hears of
    a failed job all the same.
    """
    with Redis.from_url(shared_redis.url) as client:
        client.flushall()
        BuildQueue(client, deadline=60).put()
        [ticket] = Queue(QUEUE, connection=client, serializer=JSONSerializer).jobs
        command = [sys.executable, "-c", WORKER, shared_redis.url, CANARY, failure, style]
        worker = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        result = ticket.latest_result()

    assert CANARY not in worker.stdout + worker.stderr
    assert failure in worker.stderr, "the function in which it failed"
    assert result is not None
    assert result.exc_string is not None, "the job has failed"
    assert CANARY not in result.exc_string
