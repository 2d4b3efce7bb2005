"""A place in line never gets worse, whatever happens to others, in the twin and in Redis' scripts."""

from __future__ import annotations

import random

import fakeredis
import pytest

from asu.memory_records import MemoryRecords
from asu.redis_records import RedisRecords, RedisWorkerRecords
from tests.contract.places import Crowd
from tests.contract.redis_clock import let_pass
from tests.contract.test_records import Sides

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("seed", range(12))
async def test_in_memory(seed: int) -> None:
    """Over random lives of many builds."""
    records = MemoryRecords()

    def pass_by(seconds: int) -> None:
        records.now += seconds

    sides = Sides(api=records, worker=records, another_api=lambda: records, let_pass=pass_by)
    await Crowd(sides, random.Random(seed)).live()  # noqa: S311 - Chance, not secrecy.


@pytest.mark.parametrize("seed", range(12))
async def test_in_redis(seed: int) -> None:
    """As above."""
    server = fakeredis.FakeServer()
    async with fakeredis.FakeAsyncRedis(server=server) as asynchronous:
        with fakeredis.FakeRedis(server=server) as redis:
            sides = Sides(
                api=RedisRecords(asynchronous),
                worker=RedisWorkerRecords(redis),
                another_api=lambda: RedisRecords(asynchronous),
                let_pass=lambda seconds: let_pass(redis, seconds),
            )
            await Crowd(sides, random.Random(seed)).live()  # noqa: S311 - Chance, not secrecy.
