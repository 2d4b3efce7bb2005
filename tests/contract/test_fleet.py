"""The workers' notes in Redis; the integration ring runs the same tests on a real one."""

from dataclasses import dataclass

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.builds.fleet import (
    GONE_SECONDS,
    NAMES,
    NOTE_SECONDS,
    USAGE_SECONDS,
    Fleet,
    FleetNotes,
    WorkerNote,
    has_live_worker,
    live_workers,
)
from asu.stores.store import StoreUsage
from tests.contract.imitated_redis import ImitatedRedis
from tests.contract.redis_clock import let_pass

WELL, ILL = (
    WorkerNote(trouble="", disk_free=10),
    WorkerNote(trouble="podman does not answer", disk_free=5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSides:
    """The API's side of the notes, and two workers."""

    api: Fleet
    worker: FleetNotes
    other: FleetNotes


class FleetContract:
    """What the notes do; a subclass brings the fixtures `sides` and `redis`."""

    pytestmark = pytest.mark.anyio

    async def test_nothing_is_known_at_first(self, sides: FleetSides) -> None:
        """Without workers there are no notes."""
        assert await sides.api.notes() == []
        assert await sides.api.store_usage() is None

    async def test_each_worker_has_its_last_note(self, sides: FleetSides) -> None:
        """A later note of a worker takes the place of the one before."""
        sides.worker.note_worker(ILL)
        sides.other.note_worker(ILL)
        sides.worker.note_worker(WELL)

        assert sorted(await sides.api.notes(), key=lambda note: note.trouble) == [WELL, ILL]

    async def test_the_store_is_told_of(self, sides: FleetSides) -> None:
        """Whoever looked last is right."""
        sides.worker.note_store(StoreUsage(builds=1, bytes=10))
        sides.worker.note_store(StoreUsage(builds=2, bytes=30))

        assert await sides.api.store_usage() == StoreUsage(builds=2, bytes=30)

    async def test_a_silent_worker_is_forgotten(self, sides: FleetSides, redis: Redis) -> None:
        """A note ends by itself, while those of others stay."""
        sides.worker.note_worker(ILL)
        let_pass(redis, NOTE_SECONDS - 10)
        sides.other.note_worker(WELL)
        let_pass(redis, 10)

        assert await sides.api.notes() == [WELL]
        assert live_workers(redis) == ["there"]
        assert redis.scard(NAMES) == 1

    async def test_a_worker_that_ends_withdraws_its_note(
        self, sides: FleetSides, redis: Redis
    ) -> None:
        """It is not counted for another minute, nor found by its container's health check."""
        sides.worker.note_worker(WELL)
        sides.other.note_worker(WELL)
        before = [has_live_worker(redis, host) for host in ("here", "there", "elsewhere")]
        sides.worker.withdraw()

        assert before == [True, True, False]
        assert [has_live_worker(redis, host) for host in ("here", "there")] == [False, True]
        assert await sides.api.notes() == [WELL]

    async def test_a_worker_that_redis_forgot_is_counted_again(
        self, sides: FleetSides, redis: Redis
    ) -> None:
        """With its next note, whatever was lost."""
        sides.worker.note_worker(WELL)
        redis.flushall()
        assert await sides.api.notes() == []

        sides.worker.note_worker(ILL)

        assert await sides.api.notes() == [ILL]
        assert live_workers(redis) == ["here"]

    async def test_the_last_worker_is_remembered_for_minutes(
        self, sides: FleetSides, redis: Redis
    ) -> None:
        """An update or a restart of its machine is no reason to refuse builds."""
        before = await sides.api.is_deserted()
        sides.worker.note_worker(WELL)
        sides.worker.withdraw()
        let_pass(redis, GONE_SECONDS - 10)
        soon = await sides.api.is_deserted()
        let_pass(redis, 10)

        assert [before, soon, await sides.api.is_deserted()] == [True, False, True]

    async def test_nothing_outlives_the_fleet(self, sides: FleetSides, redis: Redis) -> None:
        """Redis holds nothing of workers that are gone."""
        sides.worker.note_worker(WELL)
        sides.worker.note_store(StoreUsage(builds=1, bytes=10))
        let_pass(redis, USAGE_SECONDS)

        assert redis.dbsize() == 0
        assert await sides.api.store_usage() is None


def fleet_sides(asynchronous: AsyncRedis, redis: Redis) -> FleetSides:
    """Return the sides of one server, with workers on two hosts."""
    return FleetSides(
        api=Fleet(asynchronous),
        worker=FleetNotes(redis, "here"),
        other=FleetNotes(redis, "there"),
    )


class TestImitatedFleet(ImitatedRedis, FleetContract):
    """The commands, in an imitation of Redis."""

    @pytest.fixture
    async def sides(self, asynchronous: AsyncRedis, redis: Redis) -> FleetSides:
        """Return all sides of one imitated server."""
        return fleet_sides(asynchronous, redis)
