"""Redis does what it is asked, and the connection breaks before its reply: nothing is lost by that,
and nothing counted twice.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from redis import Redis

from asu.build_request import BuildRequest
from asu.builds.build_queue import QUEUE, BuildQueue
from asu.errors import ContainerFailed
from asu.records import redis_scripts
from asu.records.api_records import Records
from asu.records.build_record import LEASE, PREFIX, RETRIES, PendingBodies, State
from asu.records.redis_connections import async_redis, sync_redis
from asu.records.worker_records import WorkerRecords
from asu.resolution import request_hash
from asu.settings import Settings
from asu.statistics.build_totals import BuildTotals
from asu.statistics.redis_statistics import RedisBuildStatistics, RedisStatistics
from asu.stores.local import LocalStore
from asu.worker.job import Builder
from asu.worker.outcome_statistics import OutcomeStatistics
from tests.documents import write_documents
from tests.integration.test_api_redis import running_api
from tests.lossy_redis import LossyRedis
from tests.redis_server import RedisServer
from tests.twins.memory_container import MemoryEngine, Script
from tests.unit.worlds import REQUEST, metadata
from tests.upstream.serve import UpstreamServer

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = BuildRequest.model_validate(
    {"version": "24.10.4", "target": "ath79/generic", "profile": "tplink_archer-c7-v5"}
).normalised()
KEY = request_hash(DEVICE)
# The client library asks once more by itself; the third time it is the worker who asks again.
LOSSES = [1, 2, 3]


@dataclass
class World:
    """A worker whose Redis is real and whose containers are not."""

    server: RedisServer
    lossy: LossyRedis
    directory: Path

    def __post_init__(self) -> None:
        self.script = Script()
        self.settings = Settings(
            store_path=self.directory / "store",
            disk_reserve_mb=0,
            retry_delays=(3600,),
            audit_log=self.directory / "audit",
        )
        self.store = LocalStore(self.settings.store_path)
        self.store.open()

    def build(self) -> None:
        """Put a build in line, and let the worker take its job."""
        plan = json.dumps(
            {
                "version": 1,
                "key": KEY,
                "request": DEVICE,
                "enqueued_at": "2026-03-01T12:00:00+00:00",
            }
        )

        async def claim() -> None:
            async with async_redis(self.server.url) as redis:
                await Records(redis).claim(
                    KEY, plan=plan, bodies=PendingBodies(b"{}", b"{}"), limit=1, renew=False
                )

        asyncio.run(claim())
        engine = MemoryEngine(self.script)
        with sync_redis(self.lossy.url) as redis:
            records, statistics = (
                WorkerRecords(redis),
                OutcomeStatistics(RedisBuildStatistics(redis)),
            )
            builder = Builder(
                self.settings,
                records=records,
                store=self.store,
                engine=lambda: engine,
                statistics=statistics,
            )
            builder.run()

    def told(self) -> tuple[str, int, list[tuple[str, str]]]:
        """Return state, tries, and outcome and code of each attempt that has ended."""
        with Redis.from_url(self.server.url) as redis:
            state, tries, tried = (
                value.decode()
                for value in redis.hmget(PREFIX + KEY, ["state", "tries", "tried"])
                if value
            )
        return (
            state,
            int(tries),
            [(one["outcome"], one["code"]) for one in json.loads(f"[{tried}]")],
        )

    def totals(self) -> BuildTotals:
        """Return what workers have counted."""

        async def read() -> BuildTotals:
            async with async_redis(self.server.url) as redis:
                return await RedisStatistics(redis).totals()

        return asyncio.run(read())

    def audited(self) -> list[str]:
        """Return the outcomes that stand in the audit log."""
        log = self.directory / "audit"
        return (
            [json.loads(line)["outcome"] for line in log.read_text().splitlines() if line]
            if log.exists()
            else []
        )


@pytest.fixture
def world(own_redis: RedisServer, lossy: LossyRedis, tmp_path: Path) -> World:
    """Return a worker behind the lossy connection."""
    return World(own_redis, lossy, tmp_path)


@pytest.mark.parametrize("times", LOSSES)
@pytest.mark.parametrize("script", ["START", "FINISH"])
def test_a_build_is_begun_and_ended_once(world: World, script: str, times: int) -> None:
    """At its first try, with one line in the audit log and one in the statistics."""
    world.lossy.lose_replies(getattr(redis_scripts, script), times)
    world.build()

    assert world.lossy.still_to_lose() == 0
    assert world.told() == (State.DONE, 1, [("done", "")])
    assert (world.totals().outcomes, world.audited()) == ({"done": 1}, ["done"])
    assert world.store.has(KEY)


@pytest.mark.parametrize("times", LOSSES)
def test_a_failed_build_is_put_back_once(
    world: World, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits for its next attempt, is counted as one retry, and its worker does not think that
    another has taken over.
    """
    world.script.failures["manifest"] = ContainerFailed(reason="podman did not run make")
    world.lossy.lose_replies(redis_scripts.RETRY, times)
    world.build()
    with Redis.from_url(world.server.url) as redis:
        retries: Any = redis.hgetall(RETRIES)
        is_leased = redis.exists(LEASE + KEY)

    assert world.lossy.still_to_lose() == 0
    assert world.told() == (State.QUEUED, 1, [("failed", "container-failed")])
    assert (retries, is_leased, world.totals().outcomes, world.audited()) == (
        {b"container-failed": b"1"},
        0,
        {},
        [],
    )
    assert "superseded" not in caplog.text


def test_a_request_whose_claim_was_not_confirmed_is_in_line(
    own_redis: RedisServer, lossy: LossyRedis, tmp_path: Path
) -> None:
    """The API asks again itself, and finds the one build that waits; the client hears of
    nothing.
    """
    write_documents(tmp_path / "upstream", metadata())
    with UpstreamServer(tmp_path / "upstream") as upstream, Redis.from_url(own_redis.url) as redis:
        settings = Settings(
            redis_url=lossy.url,
            upstream_url=upstream.url,
            store_path=tmp_path / "store",
            prepare_service_url=None,
        )
        with (
            running_api(settings) as url,
            httpx2.Client(base_url=url, timeout=30, trust_env=False) as client,
        ):
            lossy.lose_replies(redis_scripts.CLAIM, 1)
            first = client.post("/api/v1/build", json=REQUEST)
            second = client.post("/api/v1/build", json=REQUEST)
            BuildQueue(redis, deadline=1).top_up(len(WorkerRecords(redis).due_keys()))
            tickets = redis.llen(f"rq:queue:{QUEUE}")

    assert lossy.still_to_lose() == 0
    assert (first.status_code, second.status_code) == (202, 202)
    assert (second.json()["queue_position"], tickets, redis.zcard("asu:waiting")) == (0, 1, 1)
