"""Fixtures that start real programs once for all integration tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.podman_world import PodmanWorld, podman_world
from tests.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


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
