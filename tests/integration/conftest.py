"""Fixtures that start real programs once for all integration tests."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.integration.podman_world import PodmanWorld, podman_world
from tests.integration.worker_world import WorkerWorld
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanWorld]:
    """Start a podman service with stand-in ImageBuilders."""
    with podman_world(tmp_path_factory.mktemp("podman")) as world:
        yield world


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Start one Redis server for the tests that do not disturb it."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def worker(podman: PodmanWorld, shared_redis: RedisServer, tmp_path: Path) -> Iterator[WorkerWorld]:
    """Return a worker's world on the shared Redis and podman, with a store of its own."""
    with ExitStack() as stack:
        yield WorkerWorld(podman, shared_redis, tmp_path, stack)


@pytest.fixture
def lone_worker(podman: PodmanWorld, tmp_path: Path) -> Iterator[WorkerWorld]:
    """Return a worker's world with a Redis of its own, which a test may stop."""
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server, ExitStack() as stack:
        yield WorkerWorld(podman, server, tmp_path, stack)
