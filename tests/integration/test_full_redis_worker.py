"""A worker at a real Redis whose memory is full: it lives, is known to, sweeps, begins no build, and goes on once there is memory."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from asu.builds.build_queue import QUEUE, Reconciler, RqBuildQueue, has_live_worker
from asu.builds.fleet import WorkerNote
from asu.builds.redis_fleet import RedisFleet, RedisFleetNotes
from asu.errors import BuildFailed, MemoryFull
from asu.records.build_record import PREFIX
from asu.records.redis_memory import ENDING_BYTES
from asu.settings import Settings
from asu.stores.store import StoreUsage
from asu.worker.process import expect_live_worker
from asu.worker.progress import Progress
from asu.worker.queue_worker import BuildWorker, runnable
from tests.contract.sides import A, B, redis_sides
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from redis.asyncio import Redis as AsyncRedis

pytestmark = pytest.mark.anyio

ONE = 1  # Byte; a Redis that may use as little has no memory left, whatever it holds.
HERE = socket.gethostname()
SILENT = "2026-01-01T00:00:00.000000Z"
PATIENCE = 30.0  # Seconds, after which a test that would wait for ever makes room to fail.


@pytest.fixture
def queue(redis: Redis) -> RqBuildQueue:
    """Return the queue."""
    return RqBuildQueue(redis, deadline=100)


@pytest.fixture
def signals() -> Iterator[None]:
    """Give back what a worker takes: it handles signals of its whole process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def last_resort(redis: Redis) -> Iterator[None]:
    """Make room should nobody else, so that a worker that waits for it ends."""
    timer = threading.Timer(PATIENCE, make_room, [redis])
    timer.start()
    yield
    timer.cancel()


def fill(redis: Redis) -> None:
    """Let Redis have no memory left for anybody."""
    redis.config_set("maxmemory", ONE)


def make_room(redis: Redis) -> None:
    """Let Redis have memory again."""
    redis.config_set("maxmemory", 0)


class Builds:
    """Writes down which builds were begun, in their own processes; the one whose key is A fills Redis."""

    def __init__(self, redis: Redis, notes: Path) -> None:
        self._redis, self._notes = redis, notes

    def __call__(self, payload: Mapping[str, Any]) -> None:
        """Build."""
        with self._notes.open("a") as notes:
            notes.write(payload["key"] + "\n")
        if payload["key"] == A:
            fill(self._redis)

    def begun(self) -> list[str]:
        """Return the keys of those that were begun."""
        return self._notes.read_text().split() if self._notes.exists() else []


@pytest.fixture
def builds(redis: Redis, tmp_path: Path) -> Builds:
    """Return what a worker calls to build."""
    return Builds(redis, tmp_path / "begun")


@pytest.mark.usefixtures("signals", "last_resort")
async def test_a_worker_outlives_a_build_that_fills_redis(
    redis: Redis, queue: RqBuildQueue, builds: Builds
) -> None:
    """It sweeps, which makes room, and begins the next build; nothing of the first is taken for one of the second."""
    seen: list[tuple[list[str], bool]] = []

    def sweep() -> None:
        if builds.begun():
            seen.append((builds.begun(), has_live_worker(redis, HERE)))
            make_room(redis)

    for key in (A, B):
        queue.put(key)
    BuildWorker(redis, build=builds, sweep=sweep).work(burst=True, logging_level=None)

    assert seen[0] == ([A], True)
    assert builds.begun() == [A, B]
    assert queue.live_workers() == 0


@pytest.mark.usefixtures("signals", "last_resort")
async def test_a_worker_starts_in_a_full_redis(
    redis: Redis, queue: RqBuildQueue, builds: Builds
) -> None:
    """It is known to live, sweeps again and again, and begins what waits once there is memory."""
    seen: list[tuple[list[str], bool]] = []

    def sweep() -> None:
        seen.append((builds.begun(), has_live_worker(redis, HERE)))
        if len(seen) == 3:
            make_room(redis)

    queue.put(B)
    fill(redis)
    worker = BuildWorker(redis, build=builds, sweep=sweep)
    worker.maintenance_interval = 1
    worker.work(burst=True, logging_level=None)

    assert seen[:3] == [([], True)] * 3
    assert builds.begun() == [B]


@pytest.mark.usefixtures("signals")
async def test_a_worker_that_waits_for_memory_ends_when_it_is_told_to(
    redis: Redis, queue: RqBuildQueue, builds: Builds
) -> None:
    """Its death is registered, and it takes no build along."""
    queue.put(B)
    fill(redis)
    told = threading.Timer(1.5, os.kill, [os.getpid(), signal.SIGTERM])

    told.start()
    BuildWorker(redis, build=builds, sweep=lambda: None).work(logging_level=None)

    told.join()
    assert builds.begun() == []
    assert queue.out_of_line([B]) == set()
    assert redis.smembers("rq:workers") == set()


@pytest.mark.usefixtures("signals")
async def test_a_worker_that_is_told_to_end_while_it_builds_waits_for_the_build(
    redis: Redis, queue: RqBuildQueue, tmp_path: Path
) -> None:
    """RQ writes down within the signal's handler that it was told, and Redis refuses that."""
    worker_pid, ended = os.getpid(), tmp_path / "ended"

    def build(_: object) -> None:
        fill(redis)
        os.kill(worker_pid, signal.SIGTERM)
        time.sleep(1)
        ended.touch()

    queue.put(A)
    BuildWorker(redis, build=build, sweep=lambda: None).work(logging_level=None)

    assert ended.exists()


async def test_signs_of_life_need_no_memory(redis: Redis, queue: RqBuildQueue) -> None:
    """Without them a live worker would be told as dead, and whoever starts workers anew would end its build; while it builds it sweeps."""
    swept: list[str] = []
    worker = BuildWorker(redis, build=lambda _: None, sweep=lambda: swept.append("swept"))
    worker.register_birth()
    queue.put(A)
    job = Queue(
        QUEUE, connection=redis, serializer=JSONSerializer, job_class=runnable(lambda _: None)
    ).fetch_job(A)
    assert job is not None
    execution = worker.prepare_execution(job)
    alive = []
    ways: list[Callable[[], None]] = [
        worker.heartbeat,
        lambda: worker.maintain_heartbeats(job, execution),
    ]
    fill(redis)

    for say in ways:
        redis.eval(
            "redis.call('HDEL', KEYS[1], '') redis.call('HSET', KEYS[1], 'last_heartbeat', ARGV[1])",
            1,
            worker.key,
            SILENT,
        )
        alive.append(queue.live_workers())
        say()
        alive.append(queue.live_workers())

    assert alive == [0, 1, 0, 1]
    assert swept == ["swept"]


async def test_nobody_is_taken_for_dead_that_redis_may_not_have_heard(
    module_redis: RedisServer, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who starts workers anew ends their builds."""
    settings = Settings(redis_url=module_redis.url)
    with pytest.raises(SystemExit):
        expect_live_worker(settings)
    fill(redis)

    expect_live_worker(settings)

    assert "nobody knows" in capsys.readouterr().out


async def test_what_else_a_sweep_does_is_done(
    redis: Redis, asynchronous: AsyncRedis, queue: RqBuildQueue
) -> None:
    """No new job is to be had, but notes are left; a sweep that ended there would tidy nothing that comes after."""
    fleet, notes = RedisFleet(asynchronous), RedisFleetNotes(redis)
    note, usage = WorkerNote(trouble="podman is away", disk_free=1), StoreUsage(builds=2, bytes=3)
    fill(redis)

    Reconciler(queue)([A, B])
    notes.note_worker("one", note)
    notes.note_store(usage)

    assert (await fleet.notes(), await fleet.store_usage()) == ([note], usage)
    with pytest.raises(MemoryFull):
        queue.put(A)


async def test_a_build_that_rq_could_not_note_leaves_nothing(
    redis: Redis, queue: RqBuildQueue, builds: Builds
) -> None:
    """The next is not taken for it: RQ would look after the wrong one."""
    queue.put(A)
    worker = BuildWorker(redis, build=builds, sweep=lambda: None)
    worker.register_birth()
    taken = worker.dequeue_job_and_maintain_ttl(1)
    assert taken is not None
    fill(redis)

    worker.execute_job(*taken)
    worker.run_maintenance_tasks()

    assert worker.executions == {}
    assert worker.get_state() == "idle"


async def test_the_end_of_a_build_takes_no_more_memory_than_is_kept_for_it(
    redis: Redis, asynchronous: AsyncRedis
) -> None:
    """Whatever it printed: a byte that is no text takes six of JSON."""
    sides = redis_sides(asynchronous, redis)
    attempt = await sides.begin(A)
    plan = {
        "key": A,
        "enqueued_at": SILENT,
        "request": {"version": "24.10.4", "target": "x86/64", "profile": "generic"},
    }
    rubbish = "\ufffd" * 131_072
    # All fields, not a guess by five of them.
    before: Any = redis.memory_usage(PREFIX + A, samples=0)

    record = Progress(plan, stdout=rubbish, stderr=rubbish).failed(
        BuildFailed(reason="its package is rubbish")
    )
    assert sides.worker.finish(attempt, record, 100)

    after: Any = redis.memory_usage(PREFIX + A, samples=0)
    assert after - before <= ENDING_BYTES
    assert json.loads(record.body)["stderr"].endswith("\ufffd")
