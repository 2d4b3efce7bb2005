"""A place in line never gets worse, whatever happens to others, in the twin and in Redis' scripts."""

from __future__ import annotations

import random

import fakeredis
import pytest

from tests.contract.places import Crowd
from tests.contract.sides import memory_sides, redis_sides

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seed", range(12))
async def test_in_memory(seed: int) -> None:
    """Over random lives of many builds."""
    await Crowd(memory_sides(), random.Random(seed)).live()  # noqa: S311 - Chance, not secrecy.


@pytest.mark.parametrize("seed", range(12))
async def test_in_redis(seed: int) -> None:
    """As above."""
    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as asynchronous:
        with fakeredis.FakeRedis(server=server) as redis:
            await Crowd(redis_sides(asynchronous, redis), random.Random(seed)).live()  # noqa: S311 - Chance, not secrecy.
