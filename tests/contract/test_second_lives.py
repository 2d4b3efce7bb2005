"""Records of finished builds that live on: revived, restored from a store, forgotten with their
files.
"""

import asyncio

import fakeredis
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.records.api_records import Records
from asu.records.build_record import REVIVALS, BuildRecord, Claimed, Revived, State
from tests.contract.imitated_redis import ImitatedRedis
from tests.contract.sides import BODIES, DONE, A, B, C, D, Sides, redis_sides


class SecondLivesContract:
    """What every implementation does with a finished build; a subclass brings the fixture
    `sides`.
    """

    pytestmark = pytest.mark.anyio

    async def test_a_lost_record_is_restored(self, sides: Sides) -> None:
        """As it was, for what is left of its life; and it can be revived, from its plan."""
        assert sides.worker.restore(A, DONE, plan=f'{{"key": "{A}"}}', bodies=BODIES, ttl=100)
        assert await sides.api.look(A) == DONE
        assert await sides.claim(A) is Claimed.KNOWN
        assert await sides.api.revive(A) is Revived.QUEUED
        attempt = sides.start(A)
        assert (attempt.tries, dict(attempt.plan)) == (1, {"key": A})

    async def test_a_restored_record_ends_with_its_lifetime(self, sides: Sides) -> None:
        """Which is what was left of it."""
        sides.worker.restore(A, DONE, plan=None, bodies=None, ttl=100)
        sides.let_pass(50)
        assert sides.worker.is_known(A)
        sides.let_pass(50)

        assert not sides.worker.is_known(A)

    async def test_a_record_that_is_there_is_never_restored(self, sides: Sides) -> None:
        """Whether it waits, runs or is done: it is newer."""
        await sides.claim(A)
        assert not sides.worker.restore(A, DONE, plan=None, bodies=None, ttl=100)
        attempt = sides.start(A)
        assert not sides.worker.restore(A, DONE, plan=None, bodies=None, ttl=100)

        assert sides.worker.is_current(attempt)

    async def test_a_record_that_was_restored_without_a_plan_is_not_revived(
        self, sides: Sides
    ) -> None:
        """What nobody remembers cannot be built again; whoever asks anew brings it along."""
        sides.worker.restore(A, DONE, plan=None, bodies=None, ttl=100)

        assert await sides.api.revive(A) is Revived.NOT_DONE
        assert await sides.api.look(A) == DONE
        assert await sides.claim(A, renew=True) is Claimed.NEW

    async def test_the_last_use_of_a_finished_build_is_known(self, sides: Sides) -> None:
        """Of those that were of any use; what waits or runs is of none yet."""
        sides.worker.finish(await sides.begin(A), DONE, 10_000)
        sides.worker.finish(await sides.begin(B), DONE, 10_000)
        await sides.claim(C)
        assert sides.worker.idle([A, B, C, D]) == {}
        for key in (A, C, D):
            await sides.api.note_use(key)
        sides.let_pass(7000)
        assert list(sides.worker.idle([A, B, C, D])) == [A]
        assert 7000 <= sides.worker.idle([A])[A] < 8000
        await sides.api.note_use(A)

        assert sides.worker.idle([A])[A] < 1000
        assert not sides.worker.is_known(D)
        assert sides.worker.idle([]) == {}

    async def test_a_finished_build_is_forgotten(self, sides: Sides) -> None:
        """As a whole; the next request begins anew."""
        sides.worker.finish(await sides.begin(A), DONE, 10_000)
        await sides.api.note_use(A)
        assert not sides.worker.forget(A, 60)
        sides.let_pass(70)

        assert sides.worker.forget(A, 60)
        assert await sides.api.look(A) is None
        assert sides.worker.forget(A, 60)
        assert await sides.claim(A) is Claimed.NEW

    async def test_what_waits_or_runs_is_not_forgotten(self, sides: Sides) -> None:
        """Its files, if it has any, are about to be replaced."""
        await sides.claim(A)
        assert not sides.worker.forget(A, 0)
        attempt = sides.start(A)
        assert not sides.worker.forget(A, 0)

        assert sides.worker.is_current(attempt)

    async def test_a_failure_stays_when_its_files_go(self, sides: Sides) -> None:
        """It never promised any."""
        await sides.fail(A, "user")

        assert sides.worker.forget(A, 0)
        assert sides.worker.is_known(A)

    async def test_a_finished_build_is_renewed_on_demand(self, sides: Sides) -> None:
        """Its files are gone; one that still waits is not disturbed by that."""
        sides.worker.finish(await sides.begin(A), DONE, 100)
        assert await sides.claim(A, renew=True) is Claimed.NEW
        assert await sides.claim(A, renew=True) is Claimed.KNOWN

    async def test_a_finished_build_is_revived(self, sides: Sides) -> None:
        """Its files are gone, and a poll puts it back in line: at the end, as a new life of the
        same plan.
        """
        stale = await sides.begin(A)
        sides.worker.finish(stale, DONE, 100)
        await sides.claim(B)
        assert await sides.api.revive(A) is Revived.QUEUED

        assert await sides.api.look(A) == BuildRecord(
            state=State.QUEUED, step="init", body=BODIES.queued
        )
        assert sides.worker.due_keys() == [B, A]
        sides.start(B)
        attempt = sides.start(A)
        assert (attempt.tries, dict(attempt.plan), attempt.number > stale.number) == (
            1,
            {"key": A},
            True,
        )
        assert await sides.api.look(A) == BuildRecord(
            state=State.RUNNING, step="init", body=BODIES.started
        )
        assert sides.worker.finish(attempt, DONE, 100)
        assert await sides.api.revive(A) is Revived.QUEUED, "and again"

    async def test_a_revived_build_is_never_forgotten(self, sides: Sides) -> None:
        """The lifetime of its earlier outcome does not end it."""
        sides.worker.finish(await sides.begin(A), DONE, 100)
        await sides.api.revive(A)
        sides.let_pass(1_000_000)

        record = await sides.api.look(A)
        assert record is not None
        assert record.state is State.QUEUED

    async def test_many_revivals_at_once_make_one_build(self, sides: Sides) -> None:
        """Everybody who polls finds the files gone in the same second."""
        sides.worker.finish(await sides.begin(A), DONE, 100)

        assert sorted(await asyncio.gather(*(sides.api.revive(A) for _ in range(20)))) == [
            Revived.NOT_DONE
        ] * 19 + [Revived.QUEUED]
        assert sides.worker.due_keys() == [A]

    async def test_only_a_finished_build_is_revived(self, sides: Sides) -> None:
        """Not one that nobody knows, that waits, runs or has failed."""
        await sides.begin(C)
        await sides.fail(D, "user")
        await sides.claim(B)

        assert [await sides.api.revive(key) for key in (A, B, C, D)] == [Revived.NOT_DONE] * 4
        assert sides.worker.due_keys() == [B]

    async def test_a_build_is_revived_only_so_often(self, sides: Sides) -> None:
        """Its files go each time: it stays as it is until somebody asks for it anew, and then all
        is as at first.
        """
        for _ in range(2):
            sides.worker.finish(await sides.begin(A, renew=True), DONE, 100)
            for _ in range(REVIVALS):
                assert await sides.api.revive(A) is Revived.QUEUED
                attempt = sides.start(A)
                assert sides.worker.finish(attempt, DONE, 100)

            assert await sides.api.revive(A) is Revived.TOO_OFTEN
            assert await sides.api.look(A) == DONE
            assert sides.worker.due_keys() == []


class TestRedisSecondLives(ImitatedRedis, SecondLivesContract):
    """The Lua scripts, in an imitation of Redis."""

    @pytest.fixture
    async def sides(self, asynchronous: AsyncRedis, redis: Redis) -> Sides:
        """Return both sides of one imitated server."""
        return redis_sides(asynchronous, redis)


@pytest.mark.anyio
async def test_a_record_without_a_plan_is_not_revived() -> None:
    """An earlier version finished it, and threw the plan away: nobody could build it."""
    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as redis:
        await redis.hset(
            f"asu:build:{A}", mapping={"state": "done", "step": "done", "body": "{}", "fault": ""}
        )

        assert await Records(redis).revive(A) is Revived.NOT_DONE
        assert await redis.zcard("asu:waiting") == 0
