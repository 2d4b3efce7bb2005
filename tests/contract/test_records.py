"""The build records: one set of rules, held by the in-memory twin and by Redis; the integration ring runs it on a real one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import fakeredis
import pytest

from asu.build_record import (
    HISTORY,
    HOLDER,
    LEASE_SECONDS,
    OVERTAKINGS,
    PACE,
    REVIVALS,
    RUNNING,
    Attempt,
    BuildRecord,
    Claimed,
    Holder,
    PendingBodies,
    Records,
    Revived,
    Standing,
    State,
    WorkerRecords,
)
from asu.memory_records import MemoryRecords
from asu.redis_records import RedisRecords, RedisWorkerRecords
from tests.contract.redis_clock import let_pass

BODIES = PendingBodies(queued=b'{"state": "queued"}', started=b'{"state": "started"}')
DONE = BuildRecord(state=State.DONE, step="done", body=b'{"state": "done"}')
ONE, OTHER = Holder("5.9.0.1", 2), Holder("5.9.0.2", 2)
A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both sides of the same records; `another_api` is a second API process, `let_pass` moves the time on by seconds."""

    api: Records
    worker: WorkerRecords
    another_api: Callable[[], Records]
    let_pass: Callable[[int], None]

    async def claim(self, key: str, *, limit: int = 100, renew: bool = False, holder: Holder | None = None) -> Claimed:
        """Claim a build whose plan is its key."""
        return await self.api.claim(key, plan=f'{{"key": "{key}"}}', bodies=BODIES, limit=limit, renew=renew, holder=holder)

    async def begin(self, key: str, *, renew: bool = False) -> Attempt:
        """Claim a build and start it."""
        assert await self.claim(key, renew=renew) is Claimed.NEW
        attempt = self.worker.start(key)
        assert attempt is not None
        return attempt

    async def standing(self, key: str) -> Standing:
        """Return where a known build stands."""
        record = await self.api.look(key)
        assert record is not None
        return record.standing

    async def position(self, key: str) -> int:
        """Return the place of a known build."""
        return (await self.standing(key)).position

    async def tried(self, key: str) -> list[tuple[int, str, str]]:
        """Return number, outcome and code of each attempt of a known build that has ended."""
        return [(one["number"], one["outcome"], one["code"]) for one in json.loads((await self.standing(key)).tried)]

    async def fail(self, key: str, fault: str) -> None:
        """Claim a build and let it fail."""
        assert self.worker.finish(await self.begin(key), BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault=fault), 100)


class RecordsContract:
    """What every implementation does; a subclass brings the fixture `sides`."""

    pytestmark = pytest.mark.anyio

    async def test_nothing_is_known_at_first(self, sides: Sides) -> None:
        """No record, nobody waits, nothing to start."""
        assert await sides.api.look(A) is None
        assert await sides.api.waiting() == 0
        assert sides.worker.start(A) is None
        assert sides.worker.waiting_keys() == []
        assert sides.worker.abandoned() == []

    async def test_a_claim_puts_a_new_build_in_line(self, sides: Sides) -> None:
        """Those who poll see it at once."""
        assert await sides.claim(A) is Claimed.NEW
        assert await sides.api.look(A) == BuildRecord(state=State.QUEUED, step="init", body=BODIES.queued)
        assert await sides.api.waiting() == 1

    async def test_a_plan_is_known_as_long_as_it_may_be_needed(self, sides: Sides) -> None:
        """While the build waits and runs, and when it is done; a failed one begins anew with the next request."""
        await sides.claim(A)
        await sides.fail(B, "user")
        known = [sides.worker.plan(A)]
        attempt = sides.worker.start(A)
        assert attempt is not None
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
        assert sides.worker.waiting_keys() == [B]

    async def test_many_claims_at_once_make_one_build(self, sides: Sides) -> None:
        """On release day everybody asks for the same image in the same second."""
        outcomes = await asyncio.gather(*(sides.claim(A) for _ in range(50)))

        assert sorted(outcomes) == [Claimed.KNOWN] * 49 + [Claimed.NEW]
        assert sides.worker.waiting_keys() == [A]

    async def test_above_the_limit_only_new_builds_are_refused(self, sides: Sides) -> None:
        """A refused one leaves no trace; as soon as one begins, there is room again."""
        await sides.claim(A, limit=1)
        outcomes = [await sides.claim(A, limit=1), await sides.claim(B, limit=1)]
        assert outcomes == [Claimed.KNOWN, Claimed.FULL]
        assert await sides.api.look(B) is None

        sides.worker.start(A)
        assert await sides.claim(B, limit=1) is Claimed.NEW

    async def test_the_limit_is_exact_however_many_claim_at_once(self, sides: Sides) -> None:
        """A hundred different builds, thirty places: thirty get one, and nobody more."""
        keys = [f"{number:064x}" for number in range(100)]
        outcomes = await asyncio.gather(*(sides.claim(key, limit=30) for key in keys))

        assert sorted(outcomes) == [Claimed.FULL] * 70 + [Claimed.NEW] * 30
        assert await sides.api.waiting() == len(sides.worker.waiting_keys()) == 30

    async def test_a_share_is_exact_however_many_claim_at_once(self, sides: Sides) -> None:
        """One client asks for a hundred at once and gets its places; there is room for all others."""
        keys = [f"{number:064x}" for number in range(100)]
        outcomes = await asyncio.gather(*(sides.claim(key, limit=30, holder=ONE) for key in keys))

        assert sorted(outcomes) == [Claimed.NEW] * 2 + [Claimed.SHARE] * 98
        assert await sides.claim(A, limit=30, holder=OTHER) is Claimed.NEW
        assert await sides.claim(B, limit=30) is Claimed.NEW

    async def test_a_refused_share_leaves_no_trace(self, sides: Sides) -> None:
        """What others know by then is everybody's, and a known build takes no place."""
        for key in (A, B):
            assert await sides.claim(key, holder=ONE) is Claimed.NEW
        assert [await sides.claim(key, holder=ONE) for key in (A, C)] == [Claimed.KNOWN, Claimed.SHARE]
        assert await sides.api.look(C) is None

        assert await sides.claim(C, holder=OTHER) is Claimed.NEW
        assert await sides.claim(C, holder=ONE) is Claimed.KNOWN

    async def test_a_place_is_given_back_when_the_build_begins(self, sides: Sides) -> None:
        """And is not taken again when the build comes back into the line."""
        for key in (A, B):
            await sides.claim(key, holder=ONE)
        attempt = sides.worker.start(A)
        assert attempt
        assert await sides.claim(C, holder=ONE) is Claimed.NEW
        assert await sides.claim(D, holder=ONE) is Claimed.SHARE
        assert sides.worker.start(B)
        sides.worker.retry(attempt, "download-failed", 0)

        assert await sides.claim(D, holder=ONE) is Claimed.NEW

    async def test_a_build_is_held_by_who_asked_for_it_last(self, sides: Sides) -> None:
        """A failed build that another client asks for anew is the other's."""
        for key in (A, B):
            await sides.claim(key, holder=ONE)
        attempt = sides.worker.start(A)
        assert attempt
        sides.worker.finish(attempt, BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault="infra"), 100)
        await sides.claim(A, holder=OTHER)

        assert await sides.claim(C, holder=ONE) is Claimed.NEW

    async def test_positions_follow_the_order_of_claims(self, sides: Sides) -> None:
        """Counted from 0, only among those who wait, and as they are at the moment of the look, whichever process is asked."""
        for key in (C, A, B):
            await sides.claim(key)
        assert [await sides.position(key) for key in (C, A, B)] == [0, 1, 2]

        sides.worker.start(C)
        assert [await sides.position(key) for key in (A, B)] == [0, 1]
        later = await sides.another_api().look(B)
        assert later is not None
        assert later.standing.position == 1
        assert sides.worker.waiting_keys() == [A, B]

    async def test_who_comes_back_makes_nobodys_place_worse(self, sides: Sides) -> None:
        """A build that was begun before begins before all others, and is not counted in their places."""
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
        assert sides.worker.waiting_keys() == [A, B, C, D]
        assert await sides.api.waiting() == 4

    async def test_a_retried_build_waits_until_its_time(self, sides: Sides) -> None:
        """It is in line, and no worker may begin it before; those who poll see a build that waits."""
        attempt = await sides.begin(A)
        assert sides.worker.retry(attempt, "download-failed", 3600)

        assert await sides.api.look(A) == BuildRecord(state=State.QUEUED, step="init", body=BODIES.queued)
        assert 3500 < (await sides.standing(A)).seconds <= 3600
        assert (sides.worker.waiting_keys(), sides.worker.start(A), await sides.api.running()) == ([], None, 0)
        assert not sides.worker.is_current(attempt)
        assert sides.worker.abandoned() == []

    async def test_a_retried_build_begins_again(self, sides: Sides) -> None:
        """With its plan, as its second try; what the first one still does changes nothing."""
        stale = await sides.begin(A)
        assert sides.worker.retry(stale, "download-failed", 0)
        current = sides.worker.start(A)

        assert current is not None
        assert (current.tries, dict(current.plan), current.number > stale.number) == (2, {"key": A}, True)
        assert not sides.worker.retry(stale, "download-failed", 0)
        assert not sides.worker.finish(stale, DONE, 100)
        assert sides.worker.is_current(current)

    async def test_each_attempt_is_told(self, sides: Sides) -> None:
        """How it ended: with an error, lost with its worker, well; a new life begins a new list."""
        failed = await sides.begin(A)
        assert await sides.tried(A) == []
        sides.worker.retry(failed, "download-failed", 0)
        lost = sides.worker.start(A)
        assert lost
        sides.let_pass(LEASE_SECONDS)
        sides.worker.requeue(A, lost.number)
        last = sides.worker.start(A)
        assert last
        before = [(1, "failed", "download-failed"), (2, "lost", "worker-lost")]
        assert await sides.tried(A) == before

        sides.worker.finish(last, DONE, 100)
        assert await sides.tried(A) == [*before, (3, "done", "")]
        assert all(one["begun"] <= one["ended"] for one in json.loads((await sides.standing(A)).tried))
        assert await sides.api.revive(A) is Revived.QUEUED
        assert await sides.tried(A) == []

    async def test_no_more_than_the_last_attempts_are_told(self, sides: Sides) -> None:
        """Whatever an operator has set, a record does not grow without end."""
        attempt = await sides.begin(A)
        for _ in range(HISTORY + 2):
            sides.worker.retry(attempt, "download-failed", 0)
            following = sides.worker.start(A)
            assert following
            attempt = following

        assert [number for number, _, _ in await sides.tried(A)] == list(range(3, HISTORY + 3))

    async def test_a_failure_is_told_as_the_last_attempt(self, sides: Sides) -> None:
        """With its code."""
        attempt = await sides.begin(A)
        failure = BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault="user", code="build-failed")
        sides.worker.finish(attempt, failure, 100)

        assert await sides.tried(A) == [(1, "failed", "build-failed")]

    async def test_the_first_in_line_are_called_up(self, sides: Sides) -> None:
        """Those who come back before all others, and none before its time."""
        later, again = await sides.begin(A), await sides.begin(B)
        for key in (C, D):
            await sides.claim(key)
        sides.worker.retry(later, "download-failed", 3600)
        sides.worker.retry(again, "download-failed", 0)

        first = sides.worker.first(2)
        assert [(one.key, dict(one.plan), one.is_returning) for one in first] == [(B, {"key": B}, True), (C, {"key": C}, False)]
        assert [one.key for one in sides.worker.first(8)] == [B, C, D]

    async def test_nobody_is_overtaken_too_often(self, sides: Sides) -> None:
        """When one of several has been passed often enough, none of them is any more; a new life counts anew."""
        for key in (A, B):
            await sides.claim(key)
        outcomes = [sides.worker.overtake([A]), *(sides.worker.overtake([A, B]) for _ in range(OVERTAKINGS))]
        assert outcomes == [True] * OVERTAKINGS + [False]
        assert [one.overtaken for one in sides.worker.first(2)] == [OVERTAKINGS, OVERTAKINGS - 1]

        await sides.fail(C, "infra")
        attempt = sides.worker.start(A)
        assert attempt
        sides.worker.finish(attempt, DONE, 100)
        await sides.api.revive(A)
        assert [(one.key, one.overtaken) for one in sides.worker.first(2)] == [(B, OVERTAKINGS - 1), (A, 0)]

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

    async def test_a_lost_record_is_restored(self, sides: Sides) -> None:
        """As it was, for what is left of its life; and it can be revived, from its plan."""
        assert sides.worker.restore(A, DONE, plan=f'{{"key": "{A}"}}', bodies=BODIES, ttl=100)
        assert await sides.api.look(A) == DONE
        assert await sides.claim(A) is Claimed.KNOWN
        assert await sides.api.revive(A) is Revived.QUEUED
        attempt = sides.worker.start(A)
        assert attempt
        assert (attempt.tries, dict(attempt.plan)) == (1, {"key": A})

    async def test_a_restored_record_ends_with_its_lifetime(self, sides: Sides) -> None:
        """Which is what was left of it."""
        sides.worker.restore(A, DONE, plan=None, bodies=None, ttl=100)
        sides.let_pass(99)
        assert sides.worker.is_known(A)
        sides.let_pass(2)

        assert not sides.worker.is_known(A)

    async def test_a_record_that_is_there_is_never_restored(self, sides: Sides) -> None:
        """Whether it waits, runs or is done: it is newer."""
        await sides.claim(A)
        assert not sides.worker.restore(A, DONE, plan=None, bodies=None, ttl=100)
        attempt = sides.worker.start(A)
        assert attempt
        assert not sides.worker.restore(A, DONE, plan=None, bodies=None, ttl=100)

        assert sides.worker.is_current(attempt)

    async def test_a_record_that_was_restored_without_a_plan_is_not_revived(self, sides: Sides) -> None:
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
        sides.let_pass(70)
        assert list(sides.worker.idle([A, B, C, D])) == [A]
        assert 69 <= sides.worker.idle([A])[A] <= 71
        await sides.api.note_use(A)

        assert sides.worker.idle([A])[A] <= 1
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
        attempt = sides.worker.start(A)
        assert attempt
        assert not sides.worker.forget(A, 0)

        assert sides.worker.is_current(attempt)

    async def test_a_failure_stays_when_its_files_go(self, sides: Sides) -> None:
        """It never promised any."""
        await sides.fail(A, "user")

        assert sides.worker.forget(A, 0)
        assert sides.worker.is_known(A)

    async def test_a_start_takes_a_waiting_build_once(self, sides: Sides) -> None:
        """One worker gets it, with its plan; the second gets nothing."""
        attempt = await sides.begin(A)

        assert (attempt.key, attempt.tries, dict(attempt.plan)) == (A, 1, {"key": A})
        assert sides.worker.start(A) is None
        assert await sides.api.look(A) == BuildRecord(state=State.RUNNING, step="init", body=BODIES.started)
        assert (await sides.api.waiting(), await sides.api.running(), sides.worker.is_current(attempt)) == (0, 1, True)

    async def test_progress_is_seen(self, sides: Sides) -> None:
        """Each step replaces the last."""
        attempt = await sides.begin(A)

        assert sides.worker.progress(attempt, "building_image", b'{"x": 1}')
        assert await sides.api.look(A) == BuildRecord(state=State.RUNNING, step="building_image", body=b'{"x": 1}')

    async def test_an_outcome_stays_for_its_time(self, sides: Sides) -> None:
        """Then the build is as new as one that nobody ever asked for."""
        attempt = await sides.begin(A)
        assert sides.worker.finish(attempt, DONE, 100)
        assert await sides.api.look(A) == DONE

        sides.let_pass(99)
        assert (await sides.api.look(A), sides.worker.is_known(A)) == (DONE, True)
        sides.let_pass(1)
        assert (await sides.api.look(A), sides.worker.is_known(A)) == (None, False)
        assert await sides.claim(A) is Claimed.NEW

    async def test_what_waits_or_runs_is_never_forgotten(self, sides: Sides) -> None:
        """However long it takes: a 404 on a poll would end it for the client."""
        await sides.claim(A)
        await sides.begin(B)
        sides.let_pass(1_000_000)

        assert [record.state for record in [await sides.api.look(A), await sides.api.look(B)] if record] == [State.QUEUED, State.RUNNING]

    async def test_a_finished_attempt_is_over(self, sides: Sides) -> None:
        """Nothing comes after the outcome, not even another one."""
        attempt = await sides.begin(A)
        sides.worker.finish(attempt, DONE, 100)

        assert not sides.worker.is_current(attempt)
        assert not sides.worker.renew(attempt)
        assert not sides.worker.progress(attempt, "init", b"{}")
        assert not sides.worker.finish(attempt, BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault="user"), 100)
        assert await sides.api.look(A) == DONE
        assert sides.worker.abandoned() == []

    @pytest.mark.parametrize(("fault", "outcome"), [("user", Claimed.KNOWN), ("infra", Claimed.NEW), ("upstream", Claimed.NEW)])
    async def test_only_failures_of_the_users_making_are_kept(self, sides: Sides, fault: str, outcome: Claimed) -> None:
        """Any other is tried again by the next request, and seen by pollers until then."""
        await sides.fail(A, fault)
        record = await sides.api.look(A)
        assert record is not None
        assert (record.state, record.fault, record.is_retried) == (State.FAILED, fault, outcome is Claimed.NEW)

        assert await sides.claim(A) is outcome

    async def test_a_retried_build_outlives_the_failure_before_it(self, sides: Sides) -> None:
        """The lifetime of the failure does not end the new build."""
        await sides.fail(A, "infra")
        await sides.claim(A)
        sides.let_pass(1000)

        record = await sides.api.look(A)
        assert record is not None
        assert (record.state, record.fault) == (State.QUEUED, "")

    async def test_a_finished_build_is_renewed_on_demand(self, sides: Sides) -> None:
        """Its files are gone; one that still waits is not disturbed by that."""
        sides.worker.finish(await sides.begin(A), DONE, 100)
        assert await sides.claim(A, renew=True) is Claimed.NEW
        assert await sides.claim(A, renew=True) is Claimed.KNOWN

    async def test_a_finished_build_is_revived(self, sides: Sides) -> None:
        """Its files are gone, and a poll puts it back in line: at the end, as a new life of the same plan."""
        stale = await sides.begin(A)
        sides.worker.finish(stale, DONE, 100)
        await sides.claim(B)
        assert await sides.api.revive(A) is Revived.QUEUED

        assert await sides.api.look(A) == BuildRecord(state=State.QUEUED, step="init", body=BODIES.queued)
        assert sides.worker.waiting_keys() == [B, A]
        attempt = sides.worker.start(A)
        assert attempt is not None
        assert (attempt.tries, dict(attempt.plan), attempt.number > stale.number) == (1, {"key": A}, True)
        assert await sides.api.look(A) == BuildRecord(state=State.RUNNING, step="init", body=BODIES.started)
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

        assert sorted(await asyncio.gather(*(sides.api.revive(A) for _ in range(20)))) == [Revived.NOT_DONE] * 19 + [Revived.QUEUED]
        assert sides.worker.waiting_keys() == [A]

    async def test_only_a_finished_build_is_revived(self, sides: Sides) -> None:
        """Not one that nobody knows, that waits, runs or has failed."""
        await sides.claim(B)
        await sides.begin(C)
        await sides.fail(D, "user")

        assert [await sides.api.revive(key) for key in (A, B, C, D)] == [Revived.NOT_DONE] * 4
        assert sides.worker.waiting_keys() == [B]

    async def test_a_build_is_revived_only_so_often(self, sides: Sides) -> None:
        """Its files go each time: it stays as it is until somebody asks for it anew, and then all is as at first."""
        for _ in range(2):
            sides.worker.finish(await sides.begin(A, renew=True), DONE, 100)
            for _ in range(REVIVALS):
                assert await sides.api.revive(A) is Revived.QUEUED
                attempt = sides.worker.start(A)
                assert attempt is not None
                assert sides.worker.finish(attempt, DONE, 100)

            assert await sides.api.revive(A) is Revived.TOO_OFTEN
            assert await sides.api.look(A) == DONE
            assert sides.worker.waiting_keys() == []

    async def test_a_renewed_lease_keeps_the_build(self, sides: Sides) -> None:
        """A living worker is never taken for dead."""
        attempt = await sides.begin(A)
        for _ in range(3):
            sides.let_pass(LEASE_SECONDS - 1)
            assert sides.worker.abandoned() == []
            assert sides.worker.renew(attempt)
        assert not sides.worker.requeue(A, attempt.number)

    async def test_a_build_without_lease_is_abandoned(self, sides: Sides) -> None:
        """Its worker has died: the build goes back to its old place, before those who came later."""
        attempt = await sides.begin(A)
        await sides.claim(B)
        sides.let_pass(LEASE_SECONDS)
        assert sides.worker.abandoned() == [attempt], "with its plan, which its failure will repeat"

        assert sides.worker.requeue(A, attempt.number)
        assert sides.worker.waiting_keys() == [A, B]
        assert await sides.api.look(A) == BuildRecord(state=State.QUEUED, step="init", body=BODIES.queued)
        assert sides.worker.abandoned() == []
        assert not sides.worker.requeue(A, attempt.number), "two sweepers at once put it back once"

    async def test_a_stale_attempt_changes_nothing(self, sides: Sides) -> None:
        """A worker that was only slow comes back while another builds: nothing of it is seen."""
        stale = await sides.begin(A)
        sides.let_pass(LEASE_SECONDS)
        sides.worker.requeue(A, stale.number)
        assert not sides.worker.progress(stale, "done", b"stale"), "not even while the build waits"
        assert not sides.worker.finish(stale, DONE, 100)
        current = sides.worker.start(A)
        assert current is not None
        assert (current.tries, dict(current.plan)) == (2, {"key": A})
        assert current.number > stale.number

        assert not sides.worker.is_current(stale)
        assert not sides.worker.renew(stale)
        assert not sides.worker.progress(stale, "done", b"stale")
        assert not sides.worker.finish(stale, DONE, 100)
        assert not sides.worker.requeue(A, stale.number)
        assert await sides.api.look(A) == BuildRecord(state=State.RUNNING, step="init", body=BODIES.started)
        assert sides.worker.finish(current, DONE, 100)

    async def test_an_attempt_of_an_earlier_life_changes_nothing(self, sides: Sides) -> None:
        """A worker freezes, its build is given up and asked for again: what it does when it wakes up is of the other life."""
        frozen = await sides.begin(A)
        assert sides.worker.finish(frozen, BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault="infra"), 100)
        current = await sides.begin(A)

        assert (current.tries, current.number == frozen.number) == (1, False)
        assert not sides.worker.is_current(frozen)
        assert not sides.worker.renew(frozen)
        assert not sides.worker.progress(frozen, "done", b"stale")
        assert not sides.worker.finish(frozen, DONE, 100)
        assert not sides.worker.requeue(A, frozen.number)
        assert sides.worker.is_current(current)
        assert await sides.api.look(A) == BuildRecord(state=State.RUNNING, step="init", body=BODIES.started)

    async def test_a_slow_worker_may_still_finish_what_nobody_took_over(self, sides: Sides) -> None:
        """The lease has ended, yet the attempt is the current one: its image is as good as any."""
        attempt = await sides.begin(A)
        sides.let_pass(LEASE_SECONDS)

        assert sides.worker.finish(attempt, DONE, 100)
        assert sides.worker.abandoned() == []


class TestMemoryRecords(RecordsContract):
    """The in-memory twin."""

    @pytest.fixture
    async def sides(self) -> Sides:
        """Return both sides, which are one object."""
        records = MemoryRecords()

        def pass_by(seconds: int) -> None:
            records.now += seconds

        return Sides(api=records, worker=records, another_api=lambda: records, let_pass=pass_by)


class TestRedisRecords(RecordsContract):
    """The Lua scripts, in an imitation of Redis."""

    @pytest.fixture
    async def sides(self) -> AsyncIterator[Sides]:
        """Return both sides of one imitated server."""
        server = fakeredis.FakeServer()
        async_redis, redis = fakeredis.FakeAsyncRedis(server=server), fakeredis.FakeRedis(server=server)
        yield Sides(
            api=RedisRecords(async_redis),
            worker=RedisWorkerRecords(redis),
            another_api=lambda: RedisRecords(async_redis),
            let_pass=lambda seconds: let_pass(redis, seconds),
        )
        await async_redis.aclose()
        redis.close()


@pytest.mark.anyio
async def test_the_longest_wait_is_told_in_seconds() -> None:
    """Redis' own clock tells, whichever process put the build in line; a build of an earlier release does not say."""
    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as redis:
        records = RedisRecords(redis)
        await records.claim(A, plan="{}", bodies=BODIES, limit=1, renew=False)
        before: Any = await redis.hget(f"asu:build:{A}", "since")
        await redis.hset(f"asu:build:{A}", "since", int(before) - 3600)
        assert await records.longest_wait() >= 3600
        await redis.hdel(f"asu:build:{A}", "since")

        assert await records.longest_wait() == 0


@pytest.mark.anyio
async def test_a_record_without_a_plan_is_not_revived() -> None:
    """An earlier version finished it, and threw the plan away: nobody could build it."""
    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as redis:
        await redis.hset(f"asu:build:{A}", mapping={"state": "done", "step": "done", "body": "{}", "fault": ""})

        assert await RedisRecords(redis).revive(A) is Revived.NOT_DONE
        assert await redis.zcard("asu:waiting") == 0


def test_a_failed_build_keeps_no_plan() -> None:
    """It may hold a first-boot script, and nothing would be built from it."""
    server = fakeredis.FakeServer()
    with fakeredis.FakeRedis(server=server) as redis:
        records = RedisWorkerRecords(redis)
        redis.hset(f"asu:build:{A}", mapping={"state": "queued", "plan": '{"secret": 1}', "queued_body": "q", "started_body": "s"})
        attempt = records.start(A)
        assert attempt is not None
        records.finish(attempt, BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault="user"), 100)

        assert "secret" not in str(redis.hgetall(f"asu:build:{A}"))


def test_a_note_of_a_running_build_without_a_record_is_removed() -> None:
    """A record that was removed by hand would otherwise be found abandoned for ever."""
    with fakeredis.FakeRedis() as redis:
        redis.sadd(RUNNING, A)

        assert RedisWorkerRecords(redis).abandoned() == []
        assert redis.smembers(RUNNING) == set()


@pytest.mark.anyio
async def test_the_mean_follows_the_newest_builds() -> None:
    """One long build among short ones moves it by a tenth of the difference; it ends when nothing was built for a week."""
    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as redis:
        records, worker = RedisRecords(redis), RedisWorkerRecords(fakeredis.FakeRedis(server=server))
        await redis.set(PACE, "30")
        await records.claim(A, plan="{}", bodies=BODIES, limit=1, renew=False)
        attempt = worker.start(A)
        assert attempt
        begun: Any = await redis.hget(f"asu:build:{A}", "begun")
        await redis.hset(f"asu:build:{A}", "begun", str(float(begun) - 130))
        running = await records.look(A)
        worker.finish(attempt, DONE, 100)

        assert running is not None
        assert running.standing.seconds == pytest.approx(130, abs=5)
        assert await records.build_seconds() == pytest.approx(40, abs=1)
        assert 0 < await redis.ttl(PACE) <= 7 * 86_400


@pytest.mark.anyio
async def test_who_asked_is_forgotten() -> None:
    """The address goes from the record when the build begins, and from Redis a day after it was last seen."""
    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as redis:
        await RedisRecords(redis).claim(A, plan="{}", bodies=BODIES, limit=1, renew=False, holder=ONE)
        before: Any = await redis.hget(f"asu:build:{A}", "client")
        assert RedisWorkerRecords(fakeredis.FakeRedis(server=server)).start(A)

        assert (before.decode(), await redis.hget(f"asu:build:{A}", "client")) == (ONE.name, None)
        assert 0 < await redis.ttl(f"{HOLDER}{ONE.name}") <= 86_400
