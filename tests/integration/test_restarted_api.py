"""An API that is started while the downloads server is away: it knows what the last one knew, and
answers for builds that there are.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx2
import pytest
from redis import Redis

from asu.records.build_record import BuildRecord, State
from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from tests.documents import write_documents
from tests.integration.test_api_redis import publish, running_api
from tests.unit.worlds import REQUEST, metadata
from tests.upstream.serve import UpstreamServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.redis_server import RedisServer

NEVER_ASKED = {**REQUEST, "packages": ["tmux"]}


@pytest.mark.parametrize("path", ["/api/v1/build", "/api/v1/build?skip_package_resolution=true"])
def test_a_restart_while_the_downloads_server_is_away_changes_no_answer(
    tmp_path: Path, shared_redis: RedisServer, path: str
) -> None:
    """A finished build is answered with its images, to whoever polls and to whoever asks anew; even
    a new one is put in line.
    """
    write_documents(tmp_path / "upstream", metadata())
    with (
        UpstreamServer(tmp_path / "upstream") as upstream,
        Redis.from_url(shared_redis.url) as redis,
    ):
        redis.flushall()
        settings = Settings(
            redis_url=shared_redis.url,
            upstream_url=upstream.url,
            store_path=tmp_path / "store",
            metadata_ttl=1,
        )
        with running_api(settings) as url, httpx2.Client(base_url=url, trust_env=False) as client:
            asked = client.post(path, json=REQUEST)
            preview = client.post("/api/v1/build/prepare", json=REQUEST)
    key = asked.json()["request_hash"]
    with Redis.from_url(shared_redis.url) as redis:
        attempt = WorkerRecords(redis).start_next()
        assert attempt is not None
        publish(tmp_path, key)
        WorkerRecords(redis).finish(
            attempt, BuildRecord(state=State.DONE, step="done", body=b'{"status": 200}'), 100
        )

    with (
        running_api(settings) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        again, polled = client.post(path, json=REQUEST), client.get(f"/api/v1/build/{key}")
        other = client.post(path, json=NEVER_ASKED)
        previewed = client.post("/api/v1/build/prepare", json=REQUEST)

    assert (asked.status_code, polled.status_code, again.status_code, other.status_code) == (
        202,
        200,
        200,
        202,
    ), again.text
    assert previewed.json()["prepared_request"] == preview.json()["prepared_request"]


def test_one_who_watches_a_build_goes_on_with_the_next_process(
    tmp_path: Path, shared_redis: RedisServer
) -> None:
    """A stream ends with its process, which waits for no listener; no line is lost or doubled."""
    write_documents(tmp_path / "upstream", metadata())
    lines: list[str] = []
    last = "0"

    def watch(url: str, until: str) -> None:
        """Read the log from the last line on, until a line has come; leave the stream open."""
        nonlocal last
        events = stack.enter_context(
            client.stream(
                "GET", f"{url}/api/v1/build/{key}/events", headers={"Last-Event-ID": last}
            )
        )
        streams.append(events.iter_lines())
        for line in streams[-1]:
            if line.startswith("id: "):
                last = line.removeprefix("id: ")
            if line.startswith('data: {"lines"'):
                lines.extend(json.loads(line.removeprefix("data: "))["lines"])
            if until in lines:
                return

    with (
        UpstreamServer(tmp_path / "upstream") as upstream,
        Redis.from_url(shared_redis.url) as redis,
        ExitStack() as stack,
        httpx2.Client(trust_env=False) as client,
    ):
        redis.flushall()
        settings = Settings(
            redis_url=shared_redis.url, upstream_url=upstream.url, store_path=tmp_path / "store"
        )
        streams: list[Iterator[str]] = []
        with running_api(settings) as url:
            key = client.post(f"{url}/api/v1/build", json=REQUEST).json()["request_hash"]
            worker = WorkerRecords(redis)
            attempt = worker.start_next()
            assert attempt is not None
            worker.append_log(attempt, "one\ntwo", 9)
            watch(url, "two")
        worker.append_log(attempt, "three", 9)
        with running_api(settings) as url:
            watch(url, "three")
            worker.append_log(attempt, "four", 9)
            worker.finish(
                attempt,
                BuildRecord(state=State.FAILED, step="failed", body=b'{"status": 500}'),
                100,
            )
            rest = [line for line in streams[-1] if line.startswith(("event: end", "data: "))]

    assert lines == ["one", "two", "three"]
    assert [line for line in rest if "lines" in line] == ['data: {"lines": ["four"]}']
    assert rest[-2] == "event: end"
