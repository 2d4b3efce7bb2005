"""A worker at a real Redis whose memory is full: it lives, is known to, sweeps, begins no build,
and goes on once there is memory.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from asu.builds.build_queue import QUEUE, BuildQueue
from asu.builds.fleet import Fleet, FleetNotes, WorkerNote, has_live_worker, live_workers
from asu.errors import BuildFailed, MemoryFull
from asu.records.build_record import PREFIX
from asu.records.redis_connections import has_memory
from asu.records.redis_memory import ENDING_BYTES
from asu.settings import Settings
from asu.stores.store import StoreUsage
from asu.worker.process import expect_live_worker
from asu.worker.progress import Progress
from asu.worker.queue_worker import BuildWorker
from asu.worker.readiness import ReadyToBegin
from tests.contract.sides import A, redis_sides
from tests.contract.test_queue import tickets
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis.asyncio import Redis as AsyncRedis

pytestmark = pytest.mark.anyio

ONE = 1  # Byte; a Redis that may use as little has no memory left, whatever it holds.
HERE = socket.gethostname()
NOTE = WorkerNote(trouble="", disk_free=1)
PATIENCE = 30.0  # Seconds, after which a test that would wait for ever makes room to fail.


@pytest.fixture
def queue(redis: Redis) -> BuildQueue:
    """Return the queue."""
    return BuildQueue(redis, deadline=100)


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
    """Writes down each build that was begun, in its own process; the first fills Redis if it
    may.
    """

    def __init__(self, redis: Redis, notes: Path, *, fills: bool = True) -> None:
        self._redis, self._notes, self._fills = redis, notes, fills

    def __call__(self) -> None:
        """Build."""
        with self._notes.open("a") as notes:
            notes.write("begun\n")
        if self._fills and self.begun() == 1:
            fill(self._redis)

    def begun(self) -> int:
        """Return how many were begun."""
        return len(self._notes.read_text().split()) if self._notes.exists() else 0


@pytest.fixture
def builds(redis: Redis, tmp_path: Path) -> Builds:
    """Return what a worker calls to build."""
    return Builds(redis, tmp_path / "begun")


def nothing() -> None:
    """Do nothing."""


def new_worker(redis: Redis, **parts: Any) -> BuildWorker:
    """Return a worker that waits for memory."""
    ready = ReadyToBegin(Settings(disk_reserve_mb=0), partial(has_memory, redis))
    return BuildWorker(redis, may_begin=ready, **parts)


@pytest.mark.usefixtures("signals", "last_resort")
async def test_a_worker_outlives_a_build_that_fills_redis(
    redis: Redis, queue: BuildQueue, builds: Builds
) -> None:
    """It sweeps, which makes room, and begins the next build; nothing of the first is taken for one
    of the second.
    """
    seen: list[int] = []

    def sweep() -> None:
        if builds.begun():
            seen.append(builds.begun())
            make_room(redis)

    queue.top_up(2)
    new_worker(redis, build=builds, sweep=sweep).work(burst=True, logging_level=None)

    assert seen[0] == 1
    assert builds.begun() == 2


@pytest.mark.usefixtures("signals", "last_resort")
async def test_a_worker_starts_in_a_full_redis(
    redis: Redis, queue: BuildQueue, tmp_path: Path
) -> None:
    """It is known to be alive, sweeps again and again, and begins what waits once there is
    memory.
    """
    builds = Builds(redis, tmp_path / "begun", fills=False)
    own, seen = FleetNotes(redis, HERE), list[tuple[int, bool]]()

    def sweep() -> None:
        own.note_worker(NOTE)
        seen.append((builds.begun(), has_live_worker(redis, HERE)))
        if len(seen) == 3:
            make_room(redis)

    queue.put()
    fill(redis)
    worker = new_worker(redis, build=builds, sweep=sweep, leave=own.withdraw)
    worker.maintenance_interval = 1
    worker.work(burst=True, logging_level=None)

    assert seen[:3] == [(0, True)] * 3
    assert builds.begun() == 1
    assert live_workers(redis) == []


@pytest.mark.usefixtures("signals")
async def test_a_worker_that_waits_for_memory_ends_when_it_gets_a_signal(
    redis: Redis, queue: BuildQueue, builds: Builds
) -> None:
    """Its note is withdrawn, and it takes no ticket along."""
    own = FleetNotes(redis, HERE)
    own.note_worker(NOTE)
    queue.put()
    fill(redis)
    signalled = threading.Timer(1.5, os.kill, [os.getpid(), signal.SIGTERM])

    signalled.start()
    new_worker(redis, build=builds, sweep=nothing, leave=own.withdraw).work(logging_level=None)

    signalled.join()
    assert builds.begun() == 0
    assert redis.llen(f"rq:queue:{QUEUE}") == 1
    assert live_workers(redis) == []


@pytest.mark.usefixtures("signals")
async def test_a_worker_that_gets_a_signal_while_it_builds_waits_for_the_build(
    redis: Redis, queue: BuildQueue, tmp_path: Path
) -> None:
    """RQ writes that down within the signal's handler, and Redis refuses it."""
    worker_pid, ended = os.getpid(), tmp_path / "ended"

    def build() -> None:
        fill(redis)
        os.kill(worker_pid, signal.SIGTERM)
        time.sleep(1)
        ended.touch()

    queue.put()
    new_worker(redis, build=build, sweep=nothing).work(logging_level=None)

    assert ended.exists()


async def test_a_worker_sweeps_while_it_builds_in_a_full_redis(
    redis: Redis, queue: BuildQueue
) -> None:
    """Its note needs no memory. Without it a live worker would count as dead, and its container
    would be restarted.
    """
    own = FleetNotes(redis, HERE)
    worker = new_worker(redis, build=nothing, sweep=lambda: own.note_worker(NOTE))
    worker.register_birth()
    queue.put()
    [ticket] = tickets(redis)
    execution = worker.prepare_execution(ticket)
    fill(redis)

    before = live_workers(redis)
    worker.heartbeat()
    worker.maintain_heartbeats(ticket, execution)

    assert (before, live_workers(redis)) == ([], [HERE])


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


async def test_notes_are_left_in_a_full_redis(
    redis: Redis, asynchronous: AsyncRedis, queue: BuildQueue
) -> None:
    """No ticket can be added, but the notes of worker and store are written."""
    fleet, own, usage = (
        Fleet(asynchronous),
        FleetNotes(redis, HERE),
        StoreUsage(builds=2, bytes=3),
    )
    fill(redis)

    own.note_worker(NOTE)
    own.note_store(usage)

    assert (await fleet.notes(), await fleet.store_usage()) == ([NOTE], usage)
    with pytest.raises(MemoryFull):
        queue.top_up(2)


async def test_a_build_that_rq_could_not_note_leaves_nothing(
    redis: Redis, queue: BuildQueue, builds: Builds
) -> None:
    """The next is not taken for it: RQ would look after the wrong one."""
    queue.put()
    worker = new_worker(redis, build=builds, sweep=nothing)
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
        "enqueued_at": "2026-01-01T00:00:00+00:00",
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
