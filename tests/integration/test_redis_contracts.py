"""Records, queue and statistics keep their contracts on a real redis-server, too."""

import random
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from asu.build_record import LEASE_SECONDS
from asu.redis_connections import async_redis, sync_redis
from asu.redis_fleet import RedisFleet, RedisFleetNotes
from asu.redis_records import RedisRecords, RedisWorkerRecords
from asu.redis_statistics import RedisBuildStatistics, RedisStatistics
from tests.contract.places import Crowd
from tests.contract.redis_clock import let_pass
from tests.contract.test_fleet import FleetSides, RedisFleetContract
from tests.contract.test_queue import Line, RqContract, rq_line
from tests.contract.test_records import DONE, A, B, RecordsContract, Sides
from tests.contract.test_statistics import RedisStatisticsContract, StatisticsSides
from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one server for all tests of this module."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(server: RedisServer) -> Iterator[Redis]:
    """Return a client of the server, which is empty."""
    with sync_redis(server.url) as redis:
        redis.flushall()
        yield redis


class TestRealRecords(RecordsContract):
    """The Lua scripts, where they run in production."""

    @pytest.fixture
    async def sides(self, server: RedisServer, redis: Redis) -> AsyncIterator[Sides]:
        """Return both sides of one server."""
        asynchronous = async_redis(server.url)
        yield Sides(
            api=RedisRecords(asynchronous),
            worker=RedisWorkerRecords(redis),
            another_api=lambda: RedisRecords(asynchronous),
            let_pass=lambda seconds: let_pass(redis, seconds),
        )
        await asynchronous.aclose()

    @pytest.mark.parametrize("seed", range(3))
    async def test_a_place_never_gets_worse(self, sides: Sides, seed: int) -> None:
        """Over random lives of many builds."""
        await Crowd(sides, random.Random(seed)).live()  # noqa: S311 - Chance, not secrecy.

    async def test_lifetimes_are_those_of_redis(self, sides: Sides, redis: Redis) -> None:
        """A lease ends by itself, and so does the record of a finished build; no other key does."""
        attempt = await sides.begin(A)
        await sides.claim(B)
        leases = [redis.ttl(f"asu:lease:{A}"), redis.ttl(f"asu:build:{A}"), redis.ttl(f"asu:build:{B}")]
        sides.worker.finish(attempt, DONE, 100)

        assert leases == [LEASE_SECONDS, -1, -1]
        assert (redis.exists(f"asu:lease:{A}"), redis.ttl(f"asu:build:{A}")) == (0, 100)


class TestRealQueue(RqContract):
    """RQ, where it runs in production."""

    @pytest.fixture
    def line(self, redis: Redis) -> Line:
        """Return a queue and its keys."""
        return rq_line(redis)


class TestRealStatistics(RedisStatisticsContract):
    """The counts, where they are kept in production."""

    @pytest.fixture
    async def sides(self, server: RedisServer, redis: Redis) -> AsyncIterator[StatisticsSides]:
        """Return both sides of one server."""
        asynchronous = async_redis(server.url)
        yield StatisticsSides(api=RedisStatistics(asynchronous), worker=RedisBuildStatistics(redis))
        await asynchronous.aclose()


class TestRealFleet(RedisFleetContract):
    """The workers' notes, where they are kept in production."""

    @pytest.fixture
    async def sides(self, server: RedisServer, redis: Redis) -> AsyncIterator[FleetSides]:
        """Return both sides of one server."""
        asynchronous = async_redis(server.url)
        yield FleetSides(api=RedisFleet(asynchronous), worker=RedisFleetNotes(redis))
        await asynchronous.aclose()
