"""An imitation of Redis for the tests of contracts; the integration ring runs the same tests on a
real one.
"""

from collections.abc import AsyncIterator

import fakeredis
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis


class ImitatedRedis:
    """A server of each test's own, and its clients; to be inherited beside a contract."""

    @pytest.fixture
    def server(self) -> fakeredis.FakeServer:
        """Return an imitated server."""
        return fakeredis.FakeServer()

    @pytest.fixture
    def redis(self, server: fakeredis.FakeServer) -> Redis:
        """Return a client of it."""
        return fakeredis.FakeRedis(server=server)

    @pytest.fixture
    async def asynchronous(
        self, server: fakeredis.FakeServer, redis: Redis
    ) -> AsyncIterator[AsyncRedis]:
        """Return an asynchronous client of it; both are closed."""
        asynchronous = fakeredis.FakeAsyncRedis(server=server)
        yield asynchronous
        await asynchronous.aclose()
        redis.close()
