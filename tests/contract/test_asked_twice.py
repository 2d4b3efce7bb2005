"""What becomes of a transition whose reply was lost, and of the fencing tokens when Redis goes back
in time.
"""

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.records.build_record import LEASE_SECONDS, PREFIX, BuildRecord, Revived, State
from asu.records.worker_records import ATTEMPTS
from tests.contract.imitated_redis import ImitatedRedis
from tests.contract.sides import DONE, A, B, C, Sides, redis_sides

FAILED = BuildRecord(
    state=State.FAILED, step="failed", body=b"{}", fault="infra", code="container-failed"
)
MINE, THEIRS = "mine", "theirs"
YEAR_2020 = 1_577_836_800_000_000  # In microseconds since 1970.
EXACT = 9e15  # Below it Redis' scripts tell all whole numbers apart.


class AskedTwiceContract:
    """What every implementation answers to whoever asks again; a subclass brings the fixture
    `sides`.
    """

    pytestmark = pytest.mark.anyio

    async def test_a_start_that_is_asked_again_returns_the_same_attempt(self, sides: Sides) -> None:
        """It was begun once, and its lease begins anew; others get nothing."""
        await sides.claim(A)
        first = sides.worker.start_next(MINE)
        sides.let_pass(LEASE_SECONDS // 2)
        again = sides.worker.start_next(MINE)
        sides.let_pass(LEASE_SECONDS // 2)

        assert first
        assert (again, again and again.tries, sides.worker.abandoned()) == (first, 1, [])
        assert (sides.worker.start_next(THEIRS), sides.worker.start_next()) == (None, None)

    async def test_a_start_that_is_asked_again_takes_nothing_from_others(
        self, sides: Sides
    ) -> None:
        """The lease has ended meanwhile, and the build was begun by somebody else, or is done."""
        await sides.claim(A)
        lost = sides.worker.start_next(MINE)
        assert lost
        sides.let_pass(LEASE_SECONDS)
        assert sides.worker.requeue(A, lost.number)
        other = sides.worker.start_next(THEIRS)
        assert other
        assert sides.worker.start_next(MINE) is None
        assert sides.worker.is_current(other)
        sides.worker.finish(other, DONE, 100)

        assert [sides.worker.start_next(nonce) for nonce in (MINE, THEIRS)] == [None, None]

    @pytest.mark.parametrize("outcome", [DONE, FAILED])
    async def test_an_outcome_is_put_in_place_once_and_told_again(
        self, sides: Sides, outcome: BuildRecord
    ) -> None:
        """Whoever ended the build writes it down; another outcome of the same attempt comes too
        late.
        """
        attempt = await sides.begin(A)

        assert [sides.worker.finish(attempt, outcome, 100) for _ in range(3)] == [True] * 3
        assert not sides.worker.finish(attempt, FAILED if outcome is DONE else DONE, 100)
        assert await sides.api.look(A) == outcome
        assert await sides.tried(A) == [(1, outcome.state.value, outcome.code)]

    async def test_an_outcome_is_told_to_the_one_who_put_it_there(self, sides: Sides) -> None:
        """Two sweeps that find the same build abandoned, and its own worker, would give it up with
        the same words: one of them does.
        """
        attempt = await sides.begin(A)
        sides.let_pass(LEASE_SECONDS)
        [first], [second] = sides.worker.abandoned(), sides.worker.abandoned()
        assert first == second == attempt

        assert [sides.worker.give_up(one, FAILED, 100) for one in (first, second, first)] == [
            True,
            False,
            True,
        ]
        assert not sides.worker.finish(attempt, FAILED, 100)
        assert not sides.worker.retry(attempt, "container-failed", 0)

    async def test_a_build_is_put_back_once_and_told_again(self, sides: Sides) -> None:
        """Until it begins again; whoever put it back does not end it."""
        attempt = await sides.begin(A)
        assert [sides.worker.retry(attempt, "download-failed", 0) for _ in range(3)] == [True] * 3
        assert not sides.worker.finish(attempt, FAILED, 100)
        assert await sides.tried(A) == [(1, "failed", "download-failed")]

        sides.start(A)
        assert not sides.worker.retry(attempt, "download-failed", 0)

    async def test_an_outcome_of_an_earlier_life_is_not_told_in_the_next(
        self, sides: Sides
    ) -> None:
        """The files were gone, and the build has begun anew."""
        attempt = await sides.begin(A)
        sides.worker.finish(attempt, DONE, 100)
        assert await sides.api.revive(A) is Revived.QUEUED
        sides.start(A)

        assert not sides.worker.finish(attempt, DONE, 100)

    async def test_retries_are_counted_by_code_and_once(self, sides: Sides) -> None:
        """However often they are asked for; lost workers are among them, ends are not."""
        assert await sides.api.retries() == {}
        failed, lost = await sides.begin(A), await sides.begin(B)
        for _ in range(2):
            sides.worker.retry(failed, "download-failed", 0)
        sides.let_pass(LEASE_SECONDS)
        for _ in range(2):
            sides.worker.requeue(B, lost.number)
        again = sides.start(A)
        sides.worker.finish(again, FAILED, 100)

        assert await sides.api.retries() == {"download-failed": 1, "worker-lost": 1}


class TokensContract:
    """What Redis' scripts keep of the tokens; a subclass brings the fixtures `sides` and `redis`,
    which are of one server.
    """

    pytestmark = pytest.mark.anyio

    async def test_no_token_comes_again_when_the_counter_goes_back(
        self, sides: Sides, redis: Redis
    ) -> None:
        """Redis was restored from a backup, or has lost all that it had: containers of before still
        carry theirs.
        """
        before = await sides.begin(A)
        redis.set(ATTEMPTS, 7)
        restored = await sides.begin(B)
        redis.flushall()
        emptied = await sides.begin(A)

        assert before.number < restored.number < emptied.number < EXACT
        assert not sides.worker.is_current(before)
        assert not sides.worker.finish(before, DONE, 100)
        assert sides.worker.finish(emptied, DONE, 100)

    async def test_tokens_grow_when_the_clock_goes_back(self, sides: Sides, redis: Redis) -> None:
        """Then the counter stands above the time; each token is whole, and written as a number."""
        attempts = [await sides.begin(A)]
        assert (
            redis.get(ATTEMPTS) == redis.hget(PREFIX + A, "attempt") == b"%d" % attempts[0].number
        )
        hour = 3600 * 1_000_000
        ahead = attempts[0].number + hour
        redis.set(ATTEMPTS, ahead)
        attempts += [await sides.begin(B), await sides.begin(C)]

        assert [attempt.number for attempt in attempts] == [ahead - hour, ahead + 1, ahead + 2]
        assert attempts[0].number > YEAR_2020
        assert redis.get(ATTEMPTS) == redis.hget(PREFIX + C, "attempt") == b"%d" % (ahead + 2)
        assert [
            sides.worker.is_current(attempt) and sides.worker.renew(attempt) for attempt in attempts
        ] == [True] * 3
        assert [sides.worker.finish(attempt, DONE, 100) for attempt in attempts] == [True] * 3


class TestRedisAskedTwice(ImitatedRedis, AskedTwiceContract, TokensContract):
    """The Lua scripts, in an imitation of Redis."""

    @pytest.fixture
    async def sides(self, asynchronous: AsyncRedis, redis: Redis) -> Sides:
        """Return both sides of one imitated server."""
        return redis_sides(asynchronous, redis)
