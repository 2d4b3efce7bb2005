"""Builds between record, queue and store, without HTTP."""

import json
from typing import Any

import pytest

from asu.builds.build_requests import Builds
from asu.builds.capacity import Capacity
from asu.builds.fleet import GONE_SECONDS
from asu.catalogue.resolver import ResolvedRequest
from asu.errors import (
    InternalError,
    NoWorker,
    Overloaded,
    ShareExceeded,
    StoreFailed,
    UnknownBuild,
)
from asu.records.build_record import (
    REVIVALS,
    BuildRecord,
    Claimed,
    Holder,
    PendingBodies,
    Revived,
    State,
)
from asu.settings import Settings
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.memory_fleet import MemoryBuildQueue, MemoryFleet
from tests.twins.memory_store import MemoryStore

pytestmark = pytest.mark.anyio

FIELDS: dict[str, Any] = {"version": "24.10.4", "defaults": "passwd secret"}
A, B, C = (ResolvedRequest(FIELDS, digit * 64) for digit in "abc")


class ForgetfulRecords(ImitatedRecords):
    """Records that always know a build when it is claimed and never when it is looked at."""

    async def look(self, key: str) -> BuildRecord | None:
        """See Records."""
        assert key
        return None

    async def claim(
        self,
        key: str,
        *,
        plan: str,
        bodies: PendingBodies,
        limit: int,
        renew: bool,
        holder: Holder | None = None,
    ) -> Claimed:
        """See Records."""
        assert all((key, plan, bodies, limit)), (renew, holder)
        return Claimed.KNOWN


class WatchedStore(MemoryStore):
    """A store that counts how often it is asked for a build, and that can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.away = 0, False

    def has(self, key: str) -> bool:
        """See Store."""
        self.asked += 1
        if self.away:
            raise StoreFailed(reason="away")
        return super().has(key)


class PlanlessRecords(ImitatedRecords):
    """Records of finished builds as an earlier version left them."""

    async def revive(self, key: str) -> Revived:
        """See Records."""
        assert key
        return Revived.NOT_DONE


class Parts:
    """Builds over in-memory parts."""

    def __init__(
        self,
        records: ImitatedRecords | None = None,
        limit: int = 2,
        share: float = 1.0,
    ) -> None:
        self.fleet, self.now = MemoryFleet(), 0.0
        self.records, self.queue, self.store = (
            records or ImitatedRecords(),
            MemoryBuildQueue(),
            WatchedStore(),
        )
        capacity = Capacity(Settings(disk_reserve_mb=0), self.fleet, self.records, lambda: self.now)
        self.builds = Builds(
            records=self.records,
            queue=self.queue,
            store=self.store,
            capacity=capacity,
            limit=limit,
            share=share,
        )

    def finish(self, key: str, *, state: State = State.DONE, fault: str = "") -> None:
        """End a waiting build; a good one is in the store."""
        attempt = self.records.start_next()
        assert attempt
        assert attempt.key == key
        if state is State.DONE:
            self.store.publish(key, self.store.workplace(key), 100)
        self.records.finish(
            attempt, BuildRecord(state=state, step=state.value, body=b"{}", fault=fault), 100
        )


async def test_the_plan_is_complete_and_the_answers_keep_the_script_to_themselves() -> None:
    """The worker gets the first-boot script, nobody else does."""
    parts = Parts()
    await parts.builds.request(A, "r1")

    attempt = parts.records.start_next()

    assert attempt
    assert attempt.plan["request"] == FIELDS
    assert "secret" not in (await parts.builds.look(A.key)).body.decode()


async def test_a_new_build_wakes_one_worker() -> None:
    """Asking again wakes none: some old clients poll in this way."""
    parts = Parts()
    for _ in range(3):
        assert (await parts.builds.request(A, "r1")).status == 202

    assert parts.queue.tickets == 1


async def test_a_build_is_in_line_although_its_ticket_could_not_be_added() -> None:
    """The next sweep adds one, so its client has nothing to do but wait."""
    parts = Parts()
    parts.queue.away = True

    assert (await parts.builds.request(A, "r1")).status == 202
    assert parts.records.due_keys() == [A.key]


async def test_a_failure_of_the_users_making_is_kept() -> None:
    """The same request would fail again, so nobody builds it again while the failure is
    remembered.
    """
    parts = Parts()
    await parts.builds.request(A, "r1")
    parts.finish(A.key, state=State.FAILED, fault="user")

    assert (await parts.builds.request(A, "r1")).status == 500
    parts.records.let_pass(100)
    assert (await parts.builds.request(A, "r1")).status == 202


@pytest.mark.parametrize("fault", ["infra", "upstream"])
async def test_any_other_failure_is_tried_again(fault: str) -> None:
    """Pollers see it, and the next request begins anew."""
    parts = Parts()
    await parts.builds.request(A, "r1")
    parts.finish(A.key, state=State.FAILED, fault=fault)

    assert (await parts.builds.look(A.key)).status == 500
    assert (await parts.builds.request(A, "r1")).status == 202


async def test_a_finished_build_whose_files_are_gone_is_built_again() -> None:
    """A record alone is no image."""
    parts = Parts()
    await parts.builds.request(A, "r1")
    attempt = parts.records.start_next()
    assert attempt
    parts.records.finish(attempt, BuildRecord(state=State.DONE, step="done", body=b"{}"), 100)

    assert not await parts.builds.is_cached(A.key)
    assert (await parts.builds.request(A, "r1")).status == 202


async def finished_and_gone(parts: Parts) -> None:
    """Finish a build whose files vanish."""
    await parts.builds.request(A, "r1")
    parts.finish(A.key)
    parts.queue.tickets = 0
    del parts.store.published[A.key]


async def test_a_poll_of_a_build_whose_files_are_gone_puts_it_back_in_line() -> None:
    """Its client is told that it waits, instead of being sent to files that are not there; and it
    is built from the same plan.
    """
    parts = Parts()
    await finished_and_gone(parts)

    answer = await parts.builds.look(A.key)

    assert (
        answer.status,
        answer.headers["X-Imagebuilder-Status"],
        json.loads(answer.body)["detail"],
    ) == (202, "queued", "queued")
    assert parts.queue.tickets == 1
    assert (await parts.builds.look(A.key)).status == 202
    attempt = parts.records.start_next()
    assert attempt
    assert attempt.plan["request"] == FIELDS


async def test_a_poll_is_never_refused_for_the_length_of_the_line() -> None:
    """Its client takes 529 for the end of its build."""
    parts = Parts(limit=1)
    await finished_and_gone(parts)
    await parts.builds.request(B, "r1")

    assert (await parts.builds.look(A.key)).headers["X-Queue-Position"] == "1"


async def test_a_poll_that_cannot_add_a_ticket_is_answered_all_the_same() -> None:
    """The build waits, and the next sweep adds one."""
    parts = Parts()
    await finished_and_gone(parts)
    parts.queue.away = True

    assert (await parts.builds.look(A.key)).status == 202


async def test_a_finished_build_that_nobody_could_build_again_is_unknown() -> None:
    """Its client asks anew, which is better than a link that leads nowhere."""
    parts = Parts(records=PlanlessRecords())
    await finished_and_gone(parts)

    with pytest.raises(UnknownBuild):
        await parts.builds.look(A.key)


async def vanish(parts: Parts) -> None:
    """Finish the build that waits, at once without its files."""
    parts.finish(A.key)
    del parts.store.published[A.key]


async def test_a_build_whose_files_vanish_each_time_is_not_built_without_end() -> None:
    """API and workers see different stores: those who poll learn it, and nothing is put in line for
    them.
    """
    parts = Parts()
    await finished_and_gone(parts)
    for _ in range(REVIVALS):
        assert (await parts.builds.look(A.key)).status == 202
        await vanish(parts)
    parts.queue.tickets = 0

    with pytest.raises(
        StoreFailed, match="vanish again and again; API and workers may see different stores"
    ) as caught:
        await parts.builds.look(A.key)
    assert (caught.value.fault, caught.value.status, parts.queue.tickets) == ("infra", 500, 0)


async def test_a_request_builds_again_what_has_vanished_too_often_for_polls() -> None:
    """Somebody wants it; by then the store may have been mended."""
    parts = Parts()
    await finished_and_gone(parts)
    for _ in range(REVIVALS):
        await parts.builds.look(A.key)
        await vanish(parts)

    assert (await parts.builds.request(A, "r1")).status == 202
    parts.finish(A.key)
    assert (await parts.builds.look(A.key)).status == 200


async def test_a_store_that_cannot_be_asked_takes_nothing_away() -> None:
    """Neither from those who poll nor from those who ask again: an error would end their build, and
    another build would not help.
    """
    parts = Parts()
    await parts.builds.request(A, "r1")
    parts.finish(A.key)
    parts.store.away = True

    assert [
        (await parts.builds.look(A.key)).status,
        (await parts.builds.request(A, "r1")).status,
    ] == [200, 200]
    assert await parts.builds.is_cached(A.key)


async def test_the_store_is_not_asked_for_what_waits_or_runs() -> None:
    """Such a poll is one round trip to Redis and nothing else."""
    parts = Parts()
    await parts.builds.request(A, "r1")
    await parts.builds.look(A.key)
    parts.records.start_next()
    await parts.builds.look(A.key)

    assert parts.store.asked == 0


async def test_only_new_builds_are_refused() -> None:
    """Above the limit a new one is told to come back, whatever is known still gets its answer."""
    parts = Parts(limit=1)
    await parts.builds.request(A, "r1")
    parts.finish(A.key)
    await parts.builds.request(B, "r1")

    with pytest.raises(Overloaded, match="requests: 1"):
        await parts.builds.request(C, "r1")
    assert [(await parts.builds.request(known, "r1")).status for known in (A, B)] == [200, 202]
    assert parts.queue.tickets == 2


async def test_a_position_belongs_to_those_who_wait() -> None:
    """The first in line has position 0; who runs has none."""
    parts = Parts()
    answers = [await parts.builds.request(build, "r1") for build in (A, B)]

    assert [json.loads(answer.body)["queue_position"] for answer in answers] == [0, 1]
    assert [answer.headers["X-Queue-Position"] for answer in answers] == ["0", "1"]
    parts.records.start_next()
    assert "queue_position" not in json.loads((await parts.builds.look(A.key)).body)


async def test_only_a_finished_and_stored_build_is_cached() -> None:
    """The preview promises an image only if it is there."""
    parts = Parts()
    assert not await parts.builds.is_cached(A.key)
    await parts.builds.request(A, "r1")
    assert not await parts.builds.is_cached(A.key)
    parts.finish(A.key)

    assert await parts.builds.is_cached(A.key)


async def test_an_unknown_build_is_unknown() -> None:
    """Nothing is made up about it."""
    with pytest.raises(UnknownBuild):
        await Parts().builds.look(A.key)


async def test_records_that_contradict_themselves_end_in_an_error() -> None:
    """A request never goes round in circles."""
    with pytest.raises(InternalError):
        await Parts(records=ForgetfulRecords()).builds.request(A, "r1")


async def test_one_client_holds_no_more_than_its_share() -> None:
    """It is told how many that are and when to come again; others, and those of whom nobody knows
    who they are, are served.
    """
    builds = Parts(limit=4, share=0.25).builds
    await builds.request(A, "r1", "5.9.0.1")
    with pytest.raises(
        ShareExceeded, match="1 builds that were asked for from your address"
    ) as refusal:
        await builds.request(B, "r2", "5.9.0.1")

    assert (refusal.value.status, refusal.value.retry_after) == (429, 60)
    assert (await builds.request(B, "r3", "5.9.0.2")).status == 202
    assert (await builds.request(B, "r4", "5.9.0.1")).status == 202, "a known build is everybody's"
    assert (await builds.request(C, "r5")).status == 202


async def test_without_a_worker_for_minutes_only_new_builds_are_refused() -> None:
    """A place in a line that nobody works off never moves, and clients show it for ever."""
    parts = Parts()
    known = await parts.builds.request(A, "r1")
    parts.now = GONE_SECONDS

    again = await parts.builds.request(A, "r2")
    with pytest.raises(NoWorker) as raised:
        await parts.builds.request(B, "r3")

    assert (known.status, again.status) == (202, 202)
    assert (raised.value.status, raised.value.body()["status"]) == (529, 529)
    assert raised.value.detail.startswith("server overload, nothing here has built images")


@pytest.mark.parametrize(("seconds", "workers"), [(GONE_SECONDS - 1, 0), (10 * GONE_SECONDS, 1)])
async def test_a_worker_or_a_fresh_start_lets_builds_wait(seconds: float, workers: int) -> None:
    """Workers may start after the API, and one of them is enough."""
    parts = Parts()
    parts.fleet.workers = MemoryFleet(workers).workers
    parts.now = seconds

    assert (await parts.builds.request(A, "r1")).status == 202
