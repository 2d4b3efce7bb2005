"""The build records; the integration ring runs the same tests on a real Redis."""

import asyncio

import fakeredis
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.records.build_record import (
    LEASE_SECONDS,
    PREFIX,
    RUNNING,
    WAITING,
    BuildRecord,
    Claimed,
    State,
)
from asu.records.redis_scripts import RETURNING
from asu.records.worker_records import WorkerRecords
from tests.contract.imitated_redis import ImitatedRedis
from tests.contract.sides import BODIES, DONE, A, B, C, Sides, redis_sides


class RecordsContract:
    """What every implementation does from a claim to an outcome; a subclass brings the fixture
    `sides`.
    """

    pytestmark = pytest.mark.anyio

    async def test_nothing_is_known_at_first(self, sides: Sides) -> None:
        """No record, nobody waits, nothing to start."""
        assert await sides.api.look(A) is None
        assert await sides.api.waiting() == 0
        assert sides.worker.start_next() is None
        assert sides.worker.due_keys() == []
        assert sides.worker.abandoned() == []

    async def test_a_claim_puts_a_new_build_in_line(self, sides: Sides) -> None:
        """Those who poll see it at once."""
        assert await sides.claim(A) is Claimed.NEW
        assert await sides.api.look(A) == BuildRecord(
            state=State.QUEUED, step="init", body=BODIES.queued
        )
        assert await sides.api.waiting() == 1

    async def test_what_the_running_attempt_prints_can_be_followed(self, sides: Sides) -> None:
        """Each entry comes once, in order; only the newest are kept, and a lost attempt adds none.

        A log lives as long as something is added to it, and a while beyond the end.
        """
        lost = await sides.begin(A)
        assert sides.worker.append_log(lost, "of the first", 9)
        sides.let_pass(LEASE_SECONDS + 1)
        assert sides.worker.requeue(A, lost.number)
        attempt = sides.start(A)

        assert not sides.worker.append_log(lost, "too late", 9)
        for kept, text in enumerate(("one\ntwo", "three", "four"), 1):
            assert sides.worker.append_log(attempt, text, min(kept, 2))
        entries = await sides.api.log_after(A, "0")
        assert [text for _, text in entries] == ["three", "four"]
        assert await sides.api.log_after(A, entries[0][0]) == entries[1:]
        assert await sides.api.log_after(B, "0") == []

    async def test_a_build_is_found_by_its_first_digits(self, sides: Sides) -> None:
        """Where several begin so, two are named."""
        keys = [f"{'1' * 12}{digit * 52}" for digit in "abc"]
        for key in (*keys, A):
            await sides.claim(key)

        assert await sides.api.keys_like("a" * 12) == {A}
        assert await sides.api.keys_like(f"{'1' * 12}b") == {keys[1]}
        assert len(await sides.api.keys_like("1" * 12)) == 2
        assert await sides.api.keys_like("2" * 12) == set()

    async def test_a_plan_is_known_as_long_as_it_may_be_needed(self, sides: Sides) -> None:
        """While the build waits and runs, and when it is done; a failed one begins anew with the
        next request.
        """
        await sides.fail(B, "user")
        await sides.claim(A)
        known = [sides.worker.plan(A)]
        attempt = sides.start(A)
        known.append(sides.worker.plan(A))
        sides.worker.finish(attempt, DONE, 100)
        known.append(sides.worker.plan(A))

        assert known == [{"key": A}] * 3
        assert sides.worker.plan(B) is None
        assert sides.worker.plan(C) is None

    async def test_a_known_build_is_not_claimed_twice(self, sides: Sides) -> None:
        """Whether it waits, runs or is done."""
        attempt = await sides.begin(A)
        outcomes = [await sides.claim(A)]
        sides.worker.finish(attempt, DONE, 100)
        outcomes.append(await sides.claim(A))
        await sides.claim(B)
        outcomes.append(await sides.claim(B))

        assert outcomes == [Claimed.KNOWN] * 3
        assert sides.worker.due_keys() == [B]

    async def test_many_claims_at_once_make_one_build(self, sides: Sides) -> None:
        """On release day everybody asks for the same image in the same second."""
        outcomes = await asyncio.gather(*(sides.claim(A) for _ in range(50)))

        assert sorted(outcomes) == [Claimed.KNOWN] * 49 + [Claimed.NEW]
        assert sides.worker.due_keys() == [A]

    async def test_above_the_limit_only_new_builds_are_refused(self, sides: Sides) -> None:
        """A refused one leaves no trace; as soon as one begins, there is room again."""
        await sides.claim(A, limit=1)
        outcomes = [await sides.claim(A, limit=1), await sides.claim(B, limit=1)]
        assert outcomes == [Claimed.KNOWN, Claimed.FULL]
        assert await sides.api.look(B) is None

        sides.start(A)
        assert await sides.claim(B, limit=1) is Claimed.NEW

    async def test_a_start_takes_a_waiting_build_once(self, sides: Sides) -> None:
        """One worker gets it, with its plan; the second gets nothing."""
        attempt = await sides.begin(A)

        assert (attempt.key, attempt.tries, dict(attempt.plan)) == (A, 1, {"key": A})
        assert sides.worker.start_next() is None
        assert await sides.api.look(A) == BuildRecord(
            state=State.RUNNING, step="init", body=BODIES.started
        )
        assert (
            await sides.api.waiting(),
            await sides.api.running(),
            sides.worker.is_current(attempt),
        ) == (0, 1, True)

    async def test_progress_is_seen(self, sides: Sides) -> None:
        """Each step replaces the last."""
        attempt = await sides.begin(A)

        assert sides.worker.progress(attempt, "building_image", b'{"x": 1}')
        assert await sides.api.look(A) == BuildRecord(
            state=State.RUNNING, step="building_image", body=b'{"x": 1}'
        )

    async def test_an_outcome_stays_for_its_time(self, sides: Sides) -> None:
        """Then the build is as new as one that nobody ever asked for."""
        attempt = await sides.begin(A)
        assert sides.worker.finish(attempt, DONE, 100)
        assert await sides.api.look(A) == DONE

        sides.let_pass(50)
        assert (await sides.api.look(A), sides.worker.is_known(A)) == (DONE, True)
        sides.let_pass(50)
        assert (await sides.api.look(A), sides.worker.is_known(A)) == (None, False)
        assert await sides.claim(A) is Claimed.NEW

    async def test_what_waits_or_runs_is_never_forgotten(self, sides: Sides) -> None:
        """However long it takes: a 404 on a poll would end it for the client."""
        await sides.begin(B)
        await sides.claim(A)
        sides.let_pass(1_000_000)

        assert [
            record.state for record in [await sides.api.look(A), await sides.api.look(B)] if record
        ] == [State.QUEUED, State.RUNNING]

    async def test_a_finished_attempt_is_over(self, sides: Sides) -> None:
        """Nothing comes after the outcome, not even another one."""
        attempt = await sides.begin(A)
        sides.worker.finish(attempt, DONE, 100)

        assert not sides.worker.is_current(attempt)
        assert not sides.worker.renew(attempt)
        assert not sides.worker.progress(attempt, "init", b"{}")
        assert not sides.worker.finish(
            attempt, BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault="user"), 100
        )
        assert await sides.api.look(A) == DONE
        assert sides.worker.abandoned() == []

    @pytest.mark.parametrize(
        ("fault", "outcome"),
        [("user", Claimed.KNOWN), ("infra", Claimed.NEW), ("upstream", Claimed.NEW)],
    )
    async def test_only_failures_of_the_users_making_are_kept(
        self, sides: Sides, fault: str, outcome: Claimed
    ) -> None:
        """Any other is tried again by the next request, and seen by pollers until then."""
        await sides.fail(A, fault)
        record = await sides.api.look(A)
        assert record is not None
        assert (record.state, record.fault, record.is_retried) == (
            State.FAILED,
            fault,
            outcome is Claimed.NEW,
        )

        assert await sides.claim(A) is outcome

    async def test_a_retried_build_outlives_the_failure_before_it(self, sides: Sides) -> None:
        """The lifetime of the failure does not end the new build."""
        await sides.fail(A, "infra")
        await sides.claim(A)
        sides.let_pass(1000)

        record = await sides.api.look(A)
        assert record is not None
        assert (record.state, record.fault) == (State.QUEUED, "")

    async def test_a_renewed_lease_keeps_the_build(self, sides: Sides) -> None:
        """A living worker is never taken for dead."""
        attempt = await sides.begin(A)
        for _ in range(3):
            sides.let_pass(LEASE_SECONDS // 2)
            assert sides.worker.abandoned() == []
            assert sides.worker.renew(attempt)
        assert not sides.worker.requeue(A, attempt.number)

    async def test_a_build_without_lease_is_abandoned(self, sides: Sides) -> None:
        """Its worker has died: the build goes back to its old place, before those who came
        later.
        """
        attempt = await sides.begin(A)
        await sides.claim(B)
        sides.let_pass(LEASE_SECONDS)
        assert sides.worker.abandoned() == [attempt], "with its plan, which its failure will repeat"

        assert sides.worker.requeue(A, attempt.number)
        assert sides.worker.due_keys() == [A, B]
        assert await sides.api.look(A) == BuildRecord(
            state=State.QUEUED, step="init", body=BODIES.queued
        )
        assert sides.worker.abandoned() == []
        assert not sides.worker.requeue(A, attempt.number), "two sweepers at once put it back once"

    async def test_a_stale_attempt_changes_nothing(self, sides: Sides) -> None:
        """A worker that was only slow comes back while another builds: nothing of it is seen."""
        stale = await sides.begin(A)
        sides.let_pass(LEASE_SECONDS)
        sides.worker.requeue(A, stale.number)
        assert not sides.worker.progress(stale, "done", b"stale"), "not even while the build waits"
        assert not sides.worker.finish(stale, DONE, 100)
        current = sides.start(A)
        assert (current.tries, dict(current.plan)) == (2, {"key": A})
        assert current.number > stale.number

        assert not sides.worker.is_current(stale)
        assert not sides.worker.renew(stale)
        assert not sides.worker.progress(stale, "done", b"stale")
        assert not sides.worker.finish(stale, DONE, 100)
        assert not sides.worker.requeue(A, stale.number)
        assert await sides.api.look(A) == BuildRecord(
            state=State.RUNNING, step="init", body=BODIES.started
        )
        assert sides.worker.finish(current, DONE, 100)

    async def test_an_attempt_of_an_earlier_life_changes_nothing(self, sides: Sides) -> None:
        """A worker freezes, its build is given up and asked for again: what it does when it wakes
        up is of the other life.
        """
        frozen = await sides.begin(A)
        assert sides.worker.finish(
            frozen, BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault="infra"), 100
        )
        current = await sides.begin(A)

        assert (current.tries, current.number == frozen.number) == (1, False)
        assert not sides.worker.is_current(frozen)
        assert not sides.worker.renew(frozen)
        assert not sides.worker.progress(frozen, "done", b"stale")
        assert not sides.worker.finish(frozen, DONE, 100)
        assert not sides.worker.requeue(A, frozen.number)
        assert sides.worker.is_current(current)
        assert await sides.api.look(A) == BuildRecord(
            state=State.RUNNING, step="init", body=BODIES.started
        )

    async def test_a_slow_worker_may_still_finish_what_nobody_took_over(self, sides: Sides) -> None:
        """The lease has ended, yet the attempt is the current one: its image is as good as any."""
        attempt = await sides.begin(A)
        sides.let_pass(LEASE_SECONDS)

        assert sides.worker.finish(attempt, DONE, 100)
        assert sides.worker.abandoned() == []

    async def test_a_build_whose_worker_is_back_is_not_given_up(self, sides: Sides) -> None:
        """Its lease had ended when a sweep looked; then the worker renewed it, and may be
        publishing by now.
        """
        attempt = await sides.begin(A)
        sides.let_pass(LEASE_SECONDS)
        [abandoned] = sides.worker.abandoned()
        assert sides.worker.renew(attempt)

        assert not sides.worker.give_up(
            abandoned,
            BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault="infra"),
            100,
        )
        assert not sides.worker.requeue(A, abandoned.number)
        assert sides.worker.finish(attempt, DONE, 100)


class TestRedisRecords(ImitatedRedis, RecordsContract):
    """The Lua scripts, in an imitation of Redis."""

    @pytest.fixture
    async def sides(self, asynchronous: AsyncRedis, redis: Redis) -> Sides:
        """Return both sides of one imitated server."""
        return redis_sides(asynchronous, redis)


def test_a_failed_build_keeps_no_plan() -> None:
    """It may hold a first-boot script, and nothing would be built from it."""
    server = fakeredis.FakeServer()
    with fakeredis.FakeRedis(server=server) as redis:
        records = WorkerRecords(redis)
        redis.hset(
            f"asu:build:{A}",
            mapping={
                "state": "queued",
                "plan": '{"secret": 1}',
                "queued_body": "q",
                "started_body": "s",
            },
        )
        redis.zadd(WAITING, {A: 1})
        attempt = records.start_next()
        assert attempt is not None
        records.finish(
            attempt, BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault="user"), 100
        )

        assert "secret" not in str(redis.hgetall(f"asu:build:{A}"))


def test_a_note_of_a_running_build_without_a_record_is_removed() -> None:
    """A record that was removed by hand would otherwise be found abandoned for ever."""
    with fakeredis.FakeRedis() as redis:
        redis.sadd(RUNNING, A)

        assert WorkerRecords(redis).abandoned() == []
        assert redis.smembers(RUNNING) == set()


@pytest.mark.parametrize(
    "written",
    [None, {"state": "done"}, {"state": "running"}, {"nonsense": "x"}, "text"],
    ids=["nothing", "done", "running", "nonsense", "text"],
)
def test_a_key_in_line_that_does_not_wait_keeps_nobody_from_their_turn(
    written: dict[str, str] | str | None,
) -> None:
    """Somebody removed a record by hand, or wrote into it: the key goes, and the next build
    begins.
    """
    with fakeredis.FakeRedis() as redis:
        for key, score in ((A, 1 - RETURNING), (B, 2), (C, 3)):
            redis.zadd(WAITING, {key: score})
        for key in (A, B):
            if isinstance(written, str):
                redis.set(PREFIX + key, written)
            elif written:
                redis.hset(PREFIX + key, mapping=written)
        redis.hset(PREFIX + C, mapping={"state": "queued", "tries": "x", "due": "x", "plan": "{}"})

        attempt = WorkerRecords(redis).start_next()

        assert attempt is not None
        assert (attempt.key, attempt.tries) == (C, 1)
        assert redis.zrange(WAITING, 0, -1) == []
