"""A place in line never gets worse, whatever happens to others."""

from __future__ import annotations

import random

import fakeredis
import pytest

from tests.contract.places import Crowd
from tests.contract.sides import redis_sides

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seed", range(12))
async def test_no_place_gets_worse(seed: int) -> None:
    """Over random lives of many builds."""
    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as asynchronous:
        with fakeredis.FakeRedis(server=server) as redis:
            # Chance, not secrecy.
            crowd = Crowd(redis_sides(asynchronous, redis), random.Random(seed))  # noqa: S311
            assert await crowd.live() > 0, "nobody has waited behind another"
