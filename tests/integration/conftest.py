"""Fixtures that start real programs once for all integration tests."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from asu.records.redis_connections import async_redis, sync_redis
from tests.integration.podman_world import PodmanWorld, podman_world
from tests.integration.worker_world import WorkerWorld
from tests.lossy_redis import LossyRedis
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis


@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory that all test processes of this run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def podman(
    tmp_path_factory: pytest.TempPathFactory, shared_directory: Path
) -> Iterator[PodmanWorld]:
    """Start a podman service with stand-in ImageBuilders."""
    with podman_world(tmp_path_factory.mktemp("podman"), shared_directory) as world:
        yield world


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Start one Redis server for the tests that do not disturb it."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def module_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Start one Redis server for the tests of a module that empty or fill it."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(module_redis: RedisServer) -> Iterator[Redis]:
    """Return a client of the module's server, which is empty and may use all the memory there
    is.
    """
    with sync_redis(module_redis.url) as redis:
        redis.config_set("maxmemory", 0)
        redis.flushall()
        yield redis


@pytest.fixture
async def asynchronous(module_redis: RedisServer) -> AsyncIterator[AsyncRedis]:
    """Return an asynchronous client of the module's server."""
    asynchronous = async_redis(module_redis.url)
    yield asynchronous
    await asynchronous.aclose()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Start a Redis server of the test's own, which it may kill."""
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def lossy(own_redis: RedisServer) -> Iterator[LossyRedis]:
    """Return a way to the test's own server on which replies get lost."""
    with LossyRedis(own_redis.url) as lossy:
        yield lossy


@pytest.fixture
def worker(podman: PodmanWorld, shared_redis: RedisServer, tmp_path: Path) -> Iterator[WorkerWorld]:
    """Return a worker's world on the shared Redis and podman, with a store of its own."""
    with ExitStack() as stack:
        yield WorkerWorld(podman, shared_redis, tmp_path, stack)


@pytest.fixture
def lone_worker(
    podman: PodmanWorld, own_redis: RedisServer, tmp_path: Path
) -> Iterator[WorkerWorld]:
    """Return a worker's world with a Redis of its own, which a test may stop."""
    with ExitStack() as stack:
        yield WorkerWorld(podman, own_redis, tmp_path, stack)
