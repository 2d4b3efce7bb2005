"""Who waits, who is next, and what those who wait are told, in the twin and in Redis' scripts."""

import asyncio
import json
from typing import Any

import fakeredis
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.records.api_records import Records
from asu.records.build_record import (
    HISTORY,
    HOLDER,
    LEASE_SECONDS,
    PACE,
    BuildRecord,
    Claimed,
    Revived,
    State,
)
from asu.records.worker_records import WorkerRecords
from tests.contract.imitated_redis import ImitatedRedis
from tests.contract.sides import (
    BODIES,
    DONE,
    ONE,
    OTHER,
    A,
    B,
    C,
    D,
    Sides,
    redis_sides,
)


class LineContract:
    """What every implementation does with those who wait; a subclass brings the fixture `sides`."""

    pytestmark = pytest.mark.anyio

    async def test_the_limit_is_exact_however_many_claim_at_once(self, sides: Sides) -> None:
        """A hundred different builds, thirty places: thirty get one, and nobody more."""
        keys = [f"{number:064x}" for number in range(100)]
        outcomes = await asyncio.gather(*(sides.claim(key, limit=30) for key in keys))

        assert sorted(outcomes) == [Claimed.FULL] * 70 + [Claimed.NEW] * 30
        assert await sides.api.waiting() == len(sides.worker.due_keys()) == 30

    async def test_a_share_is_exact_however_many_claim_at_once(self, sides: Sides) -> None:
        """One client asks for a hundred at once and gets its places; there is room for all
        others.
        """
        keys = [f"{number:064x}" for number in range(100)]
        outcomes = await asyncio.gather(*(sides.claim(key, limit=30, holder=ONE) for key in keys))

        assert sorted(outcomes) == [Claimed.NEW] * 2 + [Claimed.SHARE] * 98
        assert await sides.claim(A, limit=30, holder=OTHER) is Claimed.NEW
        assert await sides.claim(B, limit=30) is Claimed.NEW

    async def test_a_refused_share_leaves_no_trace(self, sides: Sides) -> None:
        """What others know by then is everybody's, and a known build takes no place."""
        for key in (A, B):
            assert await sides.claim(key, holder=ONE) is Claimed.NEW
        assert [await sides.claim(key, holder=ONE) for key in (A, C)] == [
            Claimed.KNOWN,
            Claimed.SHARE,
        ]
        assert await sides.api.look(C) is None

        assert await sides.claim(C, holder=OTHER) is Claimed.NEW
        assert await sides.claim(C, holder=ONE) is Claimed.KNOWN

    async def test_a_place_is_given_back_when_the_build_begins(self, sides: Sides) -> None:
        """And is not taken again when the build comes back into the line."""
        for key in (A, B):
            await sides.claim(key, holder=ONE)
        attempt = sides.start(A)
        assert await sides.claim(C, holder=ONE) is Claimed.NEW
        assert await sides.claim(D, holder=ONE) is Claimed.SHARE
        sides.start(B)
        sides.worker.retry(attempt, "download-failed", 0)

        assert await sides.claim(D, holder=ONE) is Claimed.NEW

    async def test_a_build_is_held_by_who_asked_for_it_last(self, sides: Sides) -> None:
        """A failed build that another client asks for anew is the other's."""
        for key in (A, B):
            await sides.claim(key, holder=ONE)
        attempt = sides.start(A)
        sides.worker.finish(
            attempt, BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault="infra"), 100
        )
        await sides.claim(A, holder=OTHER)

        assert await sides.claim(C, holder=ONE) is Claimed.NEW

    async def test_positions_follow_the_order_of_claims(self, sides: Sides) -> None:
        """Counted from 0, only among those who wait, and as they are at the moment of the look,
        whichever process is asked.
        """
        for key in (C, A, B):
            await sides.claim(key)
        assert [await sides.position(key) for key in (C, A, B)] == [0, 1, 2]

        sides.start(C)
        assert [await sides.position(key) for key in (A, B)] == [0, 1]
        later = await sides.another_api().look(B)
        assert later is not None
        assert later.live.position == 1
        assert sides.worker.due_keys() == [A, B]

    async def test_who_comes_back_makes_nobodys_place_worse(self, sides: Sides) -> None:
        """A build that was begun before begins before all others, and is not counted in their
        places.
        """
        attempt = await sides.begin(A)
        lost = await sides.begin(B)
        for key in (C, D):
            await sides.claim(key)
        before = [await sides.position(key) for key in (C, D)]

        assert sides.worker.retry(attempt, "container-failed", 0)
        sides.let_pass(LEASE_SECONDS)
        assert sides.worker.requeue(B, lost.number)

        assert [await sides.position(key) for key in (C, D)] == before == [0, 1]
        assert [await sides.position(key) for key in (A, B)] == [0, 0]
        assert sides.worker.due_keys() == [A, B, C, D]
        assert await sides.api.waiting() == 4

    async def test_a_retried_build_waits_until_its_time(self, sides: Sides) -> None:
        """It is in line, and no worker may begin it before; those who poll see a build that
        waits.
        """
        attempt = await sides.begin(A)
        assert sides.worker.retry(attempt, "download-failed", 3600)

        assert await sides.api.look(A) == BuildRecord(
            state=State.QUEUED, step="init", body=BODIES.queued
        )
        assert 3500 < (await sides.live(A)).seconds <= 3600
        assert (sides.worker.due_keys(), sides.worker.start_next(), await sides.api.running()) == (
            [],
            None,
            0,
        )
        assert not sides.worker.is_current(attempt)
        assert sides.worker.abandoned() == []

    async def test_a_retried_build_begins_again(self, sides: Sides) -> None:
        """With its plan, as its second try; what the first one still does changes nothing."""
        stale = await sides.begin(A)
        assert sides.worker.retry(stale, "download-failed", 0)
        current = sides.worker.start_next()

        assert current is not None
        assert (current.tries, dict(current.plan), current.number > stale.number) == (
            2,
            {"key": A},
            True,
        )
        assert not sides.worker.retry(stale, "download-failed", 0)
        assert not sides.worker.finish(stale, DONE, 100)
        assert sides.worker.is_current(current)

    async def test_each_attempt_is_told(self, sides: Sides) -> None:
        """How it ended: with an error, lost with its worker, well; a new life begins a new list."""
        failed = await sides.begin(A)
        assert await sides.tried(A) == []
        sides.worker.retry(failed, "download-failed", 0)
        lost = sides.start(A)
        sides.let_pass(LEASE_SECONDS)
        sides.worker.requeue(A, lost.number)
        last = sides.start(A)
        before = [(1, "failed", "download-failed"), (2, "lost", "worker-lost")]
        assert await sides.tried(A) == before

        sides.worker.finish(last, DONE, 100)
        assert await sides.tried(A) == [*before, (3, "done", "")]
        assert all(one["begun"] <= one["ended"] for one in json.loads((await sides.live(A)).tried))
        assert await sides.api.revive(A) is Revived.QUEUED
        assert await sides.tried(A) == []

    async def test_no_more_than_the_last_attempts_are_told(self, sides: Sides) -> None:
        """Whatever an operator has set, a record does not grow without end."""
        attempt = await sides.begin(A)
        for _ in range(HISTORY + 2):
            sides.worker.retry(attempt, "download-failed", 0)
            following = sides.start(A)
            attempt = following

        assert [number for number, _, _ in await sides.tried(A)] == list(range(3, HISTORY + 3))

    async def test_a_failure_is_told_as_the_last_attempt(self, sides: Sides) -> None:
        """With its code."""
        attempt = await sides.begin(A)
        failure = BuildRecord(
            state=State.FAILED, step="failed", body=b"{}", fault="user", code="build-failed"
        )
        sides.worker.finish(attempt, failure, 100)

        assert await sides.tried(A) == [(1, "failed", "build-failed")]

    async def test_the_first_that_is_due_is_started(self, sides: Sides) -> None:
        """Those that come back before all others, and none before its time."""
        later, again = await sides.begin(A), await sides.begin(B)
        for key in (C, D):
            await sides.claim(key)
        sides.worker.retry(later, "download-failed", 3600)
        sides.worker.retry(again, "download-failed", 0)

        assert sides.worker.due_keys() == [B, C, D]
        assert [sides.start(key).tries for key in (B, C, D)] == [2, 1, 1]
        assert sides.worker.start_next() is None

    async def test_many_starts_at_once_take_each_build_once(self, sides: Sides) -> None:
        """However many workers wake at the same time."""
        keys = [f"{number:064x}" for number in range(20)]
        for key in keys:
            await sides.claim(key)
        started = await asyncio.gather(
            *(asyncio.to_thread(sides.worker.start_next) for _ in range(30))
        )

        assert sorted(attempt.key for attempt in started if attempt) == keys

    async def test_finished_builds_tell_how_long_one_takes(self, sides: Sides) -> None:
        """Nobody knows before the first; failures say nothing."""
        await sides.fail(A, "user")
        assert await sides.api.build_seconds() is None
        sides.worker.finish(await sides.begin(B), DONE, 100)

        seconds = await sides.api.build_seconds()
        assert seconds is not None
        assert 0 <= seconds < 60

    async def test_the_longest_wait_is_that_of_the_first_in_line(self, sides: Sides) -> None:
        """It ends with the start, and one whose files were lost begins to wait anew."""
        assert await sides.api.longest_wait() == 0
        attempt = await sides.begin(A)
        sides.worker.finish(attempt, DONE, 100)
        assert await sides.api.longest_wait() == 0
        await sides.api.revive(A)

        assert 0 <= await sides.api.longest_wait() < 90  # It has only just begun.


class TestRedisLine(ImitatedRedis, LineContract):
    """The Lua scripts, in an imitation of Redis."""

    @pytest.fixture
    async def sides(self, asynchronous: AsyncRedis, redis: Redis) -> Sides:
        """Return both sides of one imitated server."""
        return redis_sides(asynchronous, redis)


@pytest.mark.anyio
async def test_the_longest_wait_is_told_in_seconds() -> None:
    """Redis' own clock tells, whichever process put the build in line; a build of an earlier
    release does not say.
    """
    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as redis:
        records = Records(redis)
        await records.claim(A, plan="{}", bodies=BODIES, limit=1, renew=False)
        before: Any = await redis.hget(f"asu:build:{A}", "since")
        await redis.hset(f"asu:build:{A}", "since", int(before) - 3600)
        assert await records.longest_wait() >= 3600
        await redis.hdel(f"asu:build:{A}", "since")

        assert await records.longest_wait() == 0


@pytest.mark.anyio
async def test_the_mean_follows_the_newest_builds() -> None:
    """One long build among short ones moves it by a tenth of the difference; it ends when nothing
    was built for a week.
    """
    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as redis:
        records, worker = (
            Records(redis),
            WorkerRecords(fakeredis.FakeRedis(server=server)),
        )
        await redis.set(PACE, "30")
        await records.claim(A, plan="{}", bodies=BODIES, limit=1, renew=False)
        attempt = worker.start_next()
        assert attempt
        begun: Any = await redis.hget(f"asu:build:{A}", "begun")
        await redis.hset(f"asu:build:{A}", "begun", str(float(begun) - 13_000))
        running = await records.look(A)
        worker.finish(attempt, DONE, 100)

        assert running is not None
        assert 13_000 <= running.live.seconds < 14_000
        assert await records.build_seconds() == pytest.approx(30 + (13_000 - 30) / 10, rel=0.05)
        assert 0 < await redis.ttl(PACE) <= 7 * 86_400


@pytest.mark.anyio
async def test_who_asked_is_forgotten() -> None:
    """The address goes from the record when the build begins, and from Redis a day after it was
    last seen.
    """
    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as redis:
        await Records(redis).claim(A, plan="{}", bodies=BODIES, limit=1, renew=False, holder=ONE)
        before: Any = await redis.hget(f"asu:build:{A}", "client")
        assert WorkerRecords(fakeredis.FakeRedis(server=server)).start_next()

        assert (before.decode(), await redis.hget(f"asu:build:{A}", "client")) == (ONE.name, None)
        assert 0 < await redis.ttl(f"{HOLDER}{ONE.name}") <= 86_400
