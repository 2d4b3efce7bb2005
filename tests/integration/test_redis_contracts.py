"""Records, queue and statistics keep their contracts on a real redis-server, too."""

import random
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.records.build_record import LEASE_SECONDS
from asu.statistics.redis_statistics import RedisBuildStatistics, RedisStatistics
from tests.contract.places import Crowd
from tests.contract.sides import DONE, A, B, Sides, redis_sides
from tests.contract.test_asked_twice import AskedTwiceContract, TokensContract
from tests.contract.test_fleet import FleetContract, FleetSides, fleet_sides
from tests.contract.test_line import LineContract
from tests.contract.test_poison_plans import PoisonContract
from tests.contract.test_queue import QueueContract
from tests.contract.test_queue_worker import WorkerContract
from tests.contract.test_records import RecordsContract
from tests.contract.test_second_lives import SecondLivesContract
from tests.contract.test_statistics import StatisticsContract, StatisticsSides


class RealSides:
    """The records where they are kept in production; to be inherited beside a contract."""

    @pytest.fixture
    async def sides(self, asynchronous: AsyncRedis, redis: Redis) -> Sides:
        """Return both sides of one server."""
        return redis_sides(asynchronous, redis)


class TestRealPoison(RealSides, PoisonContract):
    """What somebody wrote into a real Redis."""


class TestRealLine(RealSides, LineContract):
    """The Lua scripts, where they run in production."""


class TestRealSecondLives(RealSides, SecondLivesContract):
    """As above."""


class TestRealAskedTwice(RealSides, AskedTwiceContract, TokensContract):
    """As above."""


class TestRealRecords(RealSides, RecordsContract):
    """As above."""

    @pytest.mark.parametrize("seed", range(3))
    async def test_a_place_never_gets_worse(self, sides: Sides, seed: int) -> None:
        """Over random lives of many builds."""
        crowd = Crowd(sides, random.Random(seed))  # noqa: S311 - Chance, not secrecy.
        assert await crowd.live() > 0, "nobody has waited behind another"

    async def test_lifetimes_are_those_of_redis(self, sides: Sides, redis: Redis) -> None:
        """A lease ends by itself, and so does the record of a finished build; no other key does."""
        attempt = await sides.begin(A)
        await sides.claim(B)
        lease: Any = redis.ttl(f"asu:lease:{A}")
        builds = [redis.ttl(f"asu:build:{key}") for key in (A, B)]
        sides.worker.finish(attempt, DONE, 1000)
        finished: Any = redis.ttl(f"asu:build:{A}")

        assert (0 < lease <= LEASE_SECONDS, builds) == (True, [-1, -1])
        assert (redis.exists(f"asu:lease:{A}"), 0 < finished <= 1000) == (0, True)


class TestRealQueue(QueueContract):
    """RQ, where it runs in production."""


class TestRealWorker(WorkerContract):
    """RQ's worker, at the Redis of production."""


class TestRealStatistics(StatisticsContract):
    """The counts, where they are kept in production."""

    @pytest.fixture
    async def sides(self, asynchronous: AsyncRedis, redis: Redis) -> StatisticsSides:
        """Return both sides of one server."""
        return StatisticsSides(
            api=RedisStatistics(asynchronous), worker=RedisBuildStatistics(redis)
        )


class TestRealFleet(FleetContract):
    """The workers' notes, where they are kept in production."""

    @pytest.fixture
    async def sides(self, asynchronous: AsyncRedis, redis: Redis) -> FleetSides:
        """Return both sides of one server."""
        return fleet_sides(asynchronous, redis)
