"""The workers' notes: one set of rules, held by the in-memory twin and by Redis; the integration ring runs it on a real one."""

from dataclasses import dataclass

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.builds.fleet import NOTE_SECONDS, USAGE_SECONDS, Fleet, FleetNotes, MemoryFleet, WorkerNote
from asu.builds.redis_fleet import RedisFleet, RedisFleetNotes
from asu.stores.store import StoreUsage
from tests.contract.imitated_redis import ImitatedRedis
from tests.contract.redis_clock import let_pass

WELL, ILL = (
    WorkerNote(trouble="", disk_free=10),
    WorkerNote(trouble="podman does not answer", disk_free=5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSides:
    """Both sides of the same notes."""

    api: Fleet
    worker: FleetNotes


class FleetContract:
    """What every implementation does; a subclass brings the fixture `sides`."""

    pytestmark = pytest.mark.anyio

    async def test_nothing_is_known_at_first(self, sides: FleetSides) -> None:
        """Without workers there are no notes."""
        assert await sides.api.notes() == []
        assert await sides.api.store_usage() is None

    async def test_each_worker_has_its_last_note(self, sides: FleetSides) -> None:
        """A later note of a worker takes the place of the one before."""
        sides.worker.note_worker("a", ILL)
        sides.worker.note_worker("b", ILL)
        sides.worker.note_worker("a", WELL)

        assert sorted(await sides.api.notes(), key=lambda note: note.trouble) == [WELL, ILL]

    async def test_the_store_is_told_of(self, sides: FleetSides) -> None:
        """Whoever looked last is right."""
        sides.worker.note_store(StoreUsage(builds=1, bytes=10))
        sides.worker.note_store(StoreUsage(builds=2, bytes=30))

        assert await sides.api.store_usage() == StoreUsage(builds=2, bytes=30)


class RedisFleetContract(FleetContract):
    """What holds in Redis besides; a subclass brings `sides` and `redis`."""

    async def test_a_silent_worker_is_forgotten(self, sides: FleetSides, redis: Redis) -> None:
        """A note ends by itself, while those of others stay."""
        sides.worker.note_worker("a", ILL)
        let_pass(redis, NOTE_SECONDS - 10)
        sides.worker.note_worker("b", WELL)
        let_pass(redis, 10)

        assert await sides.api.notes() == [WELL]
        assert redis.smembers("asu:workers") == {b"b"}

    async def test_nothing_outlives_the_fleet(self, sides: FleetSides, redis: Redis) -> None:
        """Redis holds nothing of workers that are gone."""
        sides.worker.note_worker("a", WELL)
        sides.worker.note_store(StoreUsage(builds=1, bytes=10))
        let_pass(redis, USAGE_SECONDS)

        assert redis.dbsize() == 0
        assert await sides.api.store_usage() is None


class TestMemoryFleet(FleetContract):
    """The in-memory twin."""

    @pytest.fixture
    async def sides(self) -> FleetSides:
        """Return both sides, which are one object."""
        fleet = MemoryFleet()
        return FleetSides(api=fleet, worker=fleet)


class TestRedisFleet(ImitatedRedis, RedisFleetContract):
    """The commands, in an imitation of Redis."""

    @pytest.fixture
    async def sides(self, asynchronous: AsyncRedis, redis: Redis) -> FleetSides:
        """Return both sides of one imitated server."""
        return FleetSides(api=RedisFleet(asynchronous), worker=RedisFleetNotes(redis))
