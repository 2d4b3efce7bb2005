"""Sweeps that meet a Redis whose memory is full, or that do not hear what it did: each part is
done, and each end is written down once.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis import Redis

from asu.builds.build_queue import BuildQueue
from asu.builds.fleet import NAMES, STORE, FleetNotes
from asu.records import redis_scripts
from asu.records.api_records import Records
from asu.records.build_record import LEASE, PendingBodies, State
from asu.records.redis_connections import async_redis, sync_redis
from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from asu.statistics.redis_statistics import RedisBuildStatistics, RedisStatistics
from asu.worker.builder_image import BuilderImage
from asu.worker.outcome_statistics import OutcomeStatistics
from asu.worker.sweeping import GRACE, Sweep
from tests.contract.sides import A, B, C
from tests.lossy_redis import LossyRedis
from tests.redis_server import RedisServer
from tests.twins.memory_container import MemoryEngine
from tests.twins.memory_store import MemoryStore

IMAGE = BuilderImage(name="image", version="24.10.4", target="ath79/generic")


@dataclass
class World:
    """A worker that sweeps, with its Redis behind a lossy connection and twins of all else."""

    server: RedisServer
    lossy: LossyRedis
    directory: Path
    engine: MemoryEngine = field(default_factory=MemoryEngine)
    store: MemoryStore = field(default_factory=MemoryStore)

    def ask(self, key: str) -> None:
        """Put a build in line, without a ticket."""
        request = {"version": "24.10.4", "target": "x86/64", "profile": "generic"}
        plan = json.dumps(
            {
                "version": 1,
                "key": key,
                "request": request,
                "enqueued_at": "2026-03-01T12:00:00+00:00",
            }
        )

        async def claim() -> None:
            async with async_redis(self.server.url) as redis:
                await Records(redis).claim(
                    key, plan=plan, bodies=PendingBodies(b"{}", b"{}"), limit=9, renew=False
                )

        asyncio.run(claim())

    def lose(self, key: str) -> None:
        """Begin a build whose worker dies at once."""
        self.ask(key)
        with Redis.from_url(self.server.url) as redis:
            attempt = WorkerRecords(redis).start_next()
            assert attempt
            assert attempt.key == key
            redis.delete(LEASE + key)

    def sweep(self, redis: Redis, max_attempts: int) -> Sweep:
        """Return what tidies."""
        settings = Settings(
            store_path=Path("/"), audit_log=self.directory / "audit", max_attempts=max_attempts
        )
        records, queue, statistics = (
            WorkerRecords(redis),
            BuildQueue(redis, deadline=1),
            OutcomeStatistics(RedisBuildStatistics(redis)),
        )
        notes = FleetNotes(redis, "here")
        return Sweep(
            settings,
            live_workers=frozenset,
            records=records,
            queue=queue,
            store=self.store,
            engine=lambda: self.engine,
            statistics=statistics,
            notes=notes,
        )

    def written_down(self) -> tuple[list[str], int]:
        """Return the outcomes in the audit log, and how many ends by our fault were counted."""

        async def count() -> int:
            async with async_redis(self.server.url) as redis:
                return (await RedisStatistics(redis).totals()).outcomes.get("infra", 0)

        log = self.directory / "audit"
        return [
            json.loads(line)["outcome"] for line in log.read_text().splitlines()
        ] if log.exists() else [], asyncio.run(count())


@pytest.fixture
def world(own_redis: RedisServer, lossy: LossyRedis, tmp_path: Path) -> World:
    """Return a worker that sweeps."""
    return World(own_redis, lossy, tmp_path)


def test_a_full_redis_keeps_no_part_of_a_sweep_from_being_done(world: World) -> None:
    """What needs no memory is done, for one build as for another; of the rest it is told that it
    was not.
    """
    for key in (A, B):
        world.lose(key)
    world.ask(C)
    world.engine.start(IMAGE, key="e" * 64, attempt=1)
    world.store.publish("f" * 64, world.store.workplace("f" * 64), -GRACE - 60)
    with sync_redis(world.server.url) as redis:
        redis.config_set("maxmemory", 1)
        swept = world.sweep(redis, max_attempts=2)()

        assert sorted(swept.taken_back) == [A, B]
        assert (swept.containers, swept.files) == (["e" * 64], ["f" * 64])
        # They wait in line again, without tickets as yet. Notes of the fleet need no memory.
        assert [trouble.partition(":")[0] for trouble in swept.troubles] == ["tickets"]
        assert "not swept: tickets: " in swept.in_words()
        assert redis.scard(NAMES) == redis.exists(STORE) == 1


# The client library asks once more by itself; after that it is the next sweep that asks again.
@pytest.mark.parametrize("times", [1, 2, 4])
def test_a_build_whose_end_was_not_confirmed_is_written_down_once(world: World, times: int) -> None:
    """Redis gave it up, and no other sweep sees it any more; this one has not forgotten."""
    world.lose(A)
    world.lossy.lose_replies(redis_scripts.GIVE_UP, times)
    with sync_redis(world.lossy.url) as redis, sync_redis(world.server.url) as clear:
        sweep = world.sweep(redis, max_attempts=1)
        swept = [sweep() for _ in range(3)]
        others = world.sweep(clear, max_attempts=1)()
        record = redis.hget(f"asu:build:{A}", "state")

    assert world.lossy.still_to_lose() == 0
    assert [key for one in swept for key in one.given_up] == [A]
    assert (others.given_up, record, swept[-1].troubles) == ([], State.FAILED.encode(), [])
    assert world.written_down() == (["worker-lost"], 1)
