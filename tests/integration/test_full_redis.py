"""A real Redis whose memory is full: what was accepted goes on and ends truthfully, and nothing new
is accepted.
"""

import asyncio
import json
from pathlib import Path

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.builds.build_queue import BuildQueue
from asu.builds.capacity import Capacity
from asu.errors import MemoryFull, QueueUnavailable
from asu.records.api_records import Records
from asu.records.build_record import LEASE, PREFIX, BuildRecord, Revived, State
from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from asu.worker.job import Builder
from asu.worker.outcome_statistics import OutcomeStatistics
from tests.contract.sides import BODIES, DONE, A, B, C, Sides, redis_sides
from tests.contract.sides import ONE as ONE_HOLDER
from tests.twins.memory_fleet import MemoryFleet
from tests.unit.job_world import KEY, new_world

pytestmark = pytest.mark.anyio

ONE = 1  # Byte; a Redis that may use as little has no memory left, whatever it holds.
LIMIT = 16 * 1024 * 1024  # Bytes; what an empty one takes is a tenth of it.
# 121 KiB, as of a whole x86 build.
PRINTED = b'{"stdout": "%s"}' % (b"a line of the ImageBuilder " * 4_600)
FAILED = BuildRecord(
    state=State.FAILED, step="failed", body=PRINTED, fault="user", code="build-failed"
)


@pytest.fixture
def sides(redis: Redis, asynchronous: AsyncRedis) -> Sides:
    """Return both sides of the records."""
    return redis_sides(asynchronous, redis)


def fill(redis: Redis) -> None:
    """Let Redis have no memory left for anybody."""
    redis.config_set("maxmemory", ONE)


@pytest.mark.parametrize("record", [DONE, FAILED], ids=["done", "failed"])
async def test_a_build_that_was_accepted_runs_to_its_end(
    redis: Redis, sides: Sides, record: BuildRecord
) -> None:
    """It begins, its steps are shown, its lease is renewed, and its outcome stands in the record,
    with all that was printed.
    """
    await sides.claim(A)
    fill(redis)

    attempt = sides.worker.start_next()
    assert attempt is not None
    assert sides.worker.progress(attempt, "building_image", PRINTED)
    redis.expire(LEASE + A, 1)
    assert sides.worker.renew(attempt)
    assert redis.ttl(LEASE + A) > 1
    assert sides.worker.finish(attempt, record, 100)

    assert await sides.api.look(A) == record


async def test_an_attempt_that_failed_or_was_lost_is_followed_by_another(
    redis: Redis, sides: Sides
) -> None:
    """The build goes back in line and begins again."""
    failed, lost = await sides.begin(A), await sides.begin(B)
    fill(redis)

    assert sides.worker.retry(failed, "store-failed", 0)
    redis.delete(LEASE + B)
    assert sides.worker.requeue(B, lost.number)

    assert [sides.worker.start_next() is not None for key in (A, B)] == [True, True]
    assert [await sides.tried(key) for key in (A, B)] == [
        [(1, "failed", "store-failed")],
        [(1, "lost", "worker-lost")],
    ]


async def test_a_poll_of_a_finished_build_is_answered(redis: Redis, sides: Sides) -> None:
    """That it was of use is noted, and if its files are gone it goes back in line: no client is
    told an end that is none.
    """
    sides.worker.finish(await sides.begin(A), DONE, 100)
    fill(redis)

    await sides.api.note_use(A)
    assert sides.worker.idle([A]).keys() == {A}
    assert await sides.api.revive(A) is Revived.QUEUED
    assert sides.worker.start_next() is not None


async def test_a_new_build_is_refused_and_leaves_no_trace(redis: Redis, sides: Sides) -> None:
    """Neither does the old record of one that is to be built anew go."""
    sides.worker.finish(await sides.begin(A), DONE, 100)
    await sides.fail(C, "infra")
    fill(redis)

    for key, renew in ((A, True), (B, False), (C, False)):
        with pytest.raises(MemoryFull):
            await sides.claim(key, renew=renew)

    assert await sides.api.look(A) == DONE
    assert (await sides.api.look(B), await sides.api.waiting(), redis.exists(PREFIX + C)) == (
        None,
        0,
        1,
    )


async def test_a_new_build_is_refused_whatever_else_its_client_holds(
    redis: Redis, sides: Sides
) -> None:
    """Places that are none any more are given back on the way, which needs no memory; the refusal
    comes before.
    """
    for key in (A, B):
        await sides.claim(key, holder=ONE_HOLDER)
        sides.worker.finish(sides.start(key), DONE, 100)
    fill(redis)

    with pytest.raises(MemoryFull):
        await sides.claim(C, holder=ONE_HOLDER)

    assert (await sides.api.look(C), await sides.api.waiting()) == (None, 0)


async def test_a_build_tells_its_true_outcome(
    redis: Redis, asynchronous: AsyncRedis, tmp_path: Path
) -> None:
    """The worker's whole way, from taking the job to the answer of those who poll."""
    world = new_world(tmp_path, retry_delays=(0.1,))
    api, worker = Records(asynchronous), WorkerRecords(redis)
    worker.system()
    request = {
        "version": "24.10.4",
        "target": "ath79/generic",
        "profile": "tplink_archer-c7-v5",
        "packages": ["vim"],
    }
    # Into the twin, which tells what a plan looks like.
    await asyncio.to_thread(world.ask, **request)
    plan = world.records.plan(KEY)
    await api.claim(KEY, plan=json.dumps(plan), bodies=BODIES, limit=1, renew=False)
    fill(redis)

    builder = Builder(
        world.settings,
        records=worker,
        store=world.store,
        engine=lambda: world.engine,
        statistics=OutcomeStatistics(world.statistics),
    )
    await asyncio.to_thread(builder.run)

    record = await api.look(KEY)
    assert record is not None
    assert (record.state, json.loads(record.body)["status"]) == (State.DONE, 200)


async def accept_all_that_may(sides: Sides) -> list[str]:
    """Put builds in line until another is refused; return their keys."""
    accepted: list[str] = []
    try:
        while len(accepted) < LIMIT // len(PRINTED):
            # Each looks anew.
            await Capacity(Settings(disk_reserve_mb=0), MemoryFleet(), sides.api).expect()
            accepted.append(f"{len(accepted):064}")
            await sides.claim(accepted[-1], limit=1_000)
    except MemoryFull:
        pass
    return accepted


async def test_new_builds_are_refused_while_there_is_memory_for_the_ends_of_the_others(
    redis: Redis, sides: Sides
) -> None:
    """All that were accepted fail with all that the ImageBuilder printed, and Redis still takes in
    what RQ writes.
    """
    redis.config_set("maxmemory", LIMIT)

    accepted = await accept_all_that_may(sides)

    assert len(accepted) > 50
    for key in accepted:
        assert sides.worker.finish(sides.start(key), FAILED, 100)
    use = await sides.api.memory()
    assert use is not None
    assert use.used < use.limit == LIMIT
    BuildQueue(redis, deadline=1).put()


async def test_how_much_memory_is_used_is_known(redis: Redis, asynchronous: AsyncRedis) -> None:
    """Of the limit, if there is one; who may not ask is told nothing."""
    records = Records(asynchronous)
    free = await records.memory()
    redis.config_set("maxmemory", LIMIT)
    limited = await records.memory()
    redis.execute_command("ACL", "SETUSER", "default", "-info")  # type: ignore[no-untyped-call]
    try:
        untold = await records.memory()
    finally:
        redis.execute_command("ACL", "SETUSER", "default", "+info")  # type: ignore[no-untyped-call]

    assert (free and free.limit, limited and limited.limit, untold) == (0, LIMIT, None)
    assert limited is not None
    assert 0 < limited.used < LIMIT


async def test_a_full_redis_is_one_that_cannot_be_used(redis: Redis) -> None:
    """Whoever is prepared for a Redis that does not answer is prepared for one that cannot
    write.
    """
    fill(redis)

    with pytest.raises(QueueUnavailable) as caught:
        await asyncio.to_thread(WorkerRecords(redis).system)

    assert caught.type is MemoryFull
