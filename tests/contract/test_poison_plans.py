"""What becomes of builds in whose records somebody wrote: they end truthfully, and stand in
nobody's way.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.records.build_record import LEASE_SECONDS, PREFIX, RUNNING, State
from asu.settings import Settings
from asu.statistics.build_statistics import days_up_to, today
from asu.worker.job import Builder
from asu.worker.outcome_statistics import OutcomeStatistics
from asu.worker.sweeping import Sweep
from tests.contract.imitated_redis import ImitatedRedis
from tests.contract.sides import BODIES, A, B, C, Sides, redis_sides
from tests.twins.imitated_statistics import ImitatedStatistics
from tests.twins.memory_container import MemoryEngine
from tests.twins.memory_fleet import MemoryBuildQueue
from tests.twins.memory_store import MemoryStore

POISON = [
    f'{{"key": "{A}", "request": null}}',
    f'{{"key": "{A}", "request": [], "enqueued_at": {{}}, "request_id": []}}',
    f'{{"key": "{A}", "request": {{"version": [], "profile": NaN}}, "enqueued_at": null}}',
    f'{{"key": "{A}", "request": {{"version": null, "target": {{}}, "profile": 1e999}}}}',
    "{}",
    "null",
    "[]",
    "no JSON",
    "",
    "[" * 200_000,
]
NAMES = [
    "null",
    "list",
    "NaN",
    "infinite",
    "empty",
    "nothing",
    "no-object",
    "no-json",
    "no-text",
    "deep",
]


class Worker:
    """Builds and sweeps with real records; its containers, queue, store and statistics are
    twins.
    """

    def __init__(self, sides: Sides, directory: Path) -> None:
        self.queue, self.engine, self.statistics = (
            MemoryBuildQueue(),
            MemoryEngine(),
            ImitatedStatistics(),
        )
        self.audit, store = directory / "audit", MemoryStore()
        settings = Settings(
            store_path=directory,
            audit_log=self.audit,
            max_attempts=1,
            disk_reserve_mb=0,
            retry_delays=(1.0,),
        )
        statistics = OutcomeStatistics(self.statistics)
        self.builder = Builder(
            settings,
            records=sides.worker,
            store=store,
            engine=lambda: self.engine,
            statistics=statistics,
        )
        self.sweep = Sweep(
            settings,
            live_workers=frozenset,
            records=sides.worker,
            queue=self.queue,
            store=store,
            engine=lambda: self.engine,
            statistics=statistics,
        )
        patient = settings.model_copy(update={"max_attempts": 2})
        self.patient_sweep = Sweep(
            patient,
            live_workers=frozenset,
            records=sides.worker,
            queue=self.queue,
            store=store,
            engine=lambda: self.engine,
            statistics=statistics,
        )

    async def told(self) -> tuple[list[str], list[str]]:
        """Return the outcomes that stand in the audit log, and the codes that were counted."""
        audited = (
            [json.loads(line)["outcome"] for line in self.audit.read_text().splitlines()]
            if self.audit.exists()
            else []
        )
        return audited, [
            failure.code for failure, _ in await self.statistics.failures(days_up_to(today(), 2))
        ]


async def failure(sides: Sides, key: str) -> dict[str, Any]:
    """Return the answer to those who poll a failed build, read as strictly as clients do."""
    record = await sides.api.look(key)
    assert record is not None
    assert (record.state, record.fault) == (State.FAILED, "infra")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    body: dict[str, Any] = json.loads(record.body, parse_constant=refuse)
    return body


@pytest.mark.parametrize("plan", POISON, ids=NAMES)
class PoisonContract:
    """What a plan that nobody can build leads to; a subclass brings the fixture `sides`."""

    pytestmark = pytest.mark.anyio

    async def test_it_fails_once_and_truthfully(
        self, sides: Sides, tmp_path: Path, plan: str
    ) -> None:
        """As our fault, under its own key, in the audit log and in the statistics; no container is
        started.
        """
        worker = Worker(sides, tmp_path)
        await sides.api.claim(A, plan=plan, bodies=BODIES, limit=1, renew=False)

        for _ in range(2):
            await asyncio.to_thread(worker.builder.run)

        body = await failure(sides, A)
        assert (body["code"], body["status"], body["request_hash"], body["enqueued_at"]) == (
            "plan-unusable",
            500,
            A,
            "",
        )
        assert body["request"]["defaults"] is None
        assert await sides.tried(A) == [(1, "failed", "plan-unusable")]
        assert await worker.told() == (["plan-unusable"], ["plan-unusable"])
        assert (worker.engine.containers, sides.worker.abandoned()) == ([], [])

    async def test_it_stands_in_no_other_builds_way(
        self, sides: Sides, tmp_path: Path, plan: str
    ) -> None:
        """Its worker was lost for the last time: it is given up, another that was lost is, too, and
        one that waits gets its ticket.
        """
        worker = Worker(sides, tmp_path)
        for key, its_plan in ((A, plan), (B, "{}")):
            await sides.api.claim(key, plan=its_plan, bodies=BODIES, limit=9, renew=False)
            sides.worker.start_next()
        await sides.claim(C)
        sides.let_pass(LEASE_SECONDS)

        swept = worker.sweep()

        assert (sorted(swept.given_up), swept.troubles, worker.queue.tickets) == ([A, B], [], 1)
        assert ((await failure(sides, A))["code"], (await failure(sides, A))["request_hash"]) == (
            "worker-lost",
            A,
        )
        assert await worker.told() == (["worker-lost"] * 2, ["worker-lost"])

    async def test_it_is_taken_back_as_others_are(
        self, sides: Sides, tmp_path: Path, plan: str
    ) -> None:
        """As long as it has another try."""
        worker = Worker(sides, tmp_path)
        await sides.api.claim(A, plan=plan, bodies=BODIES, limit=9, renew=False)
        sides.worker.start_next()
        sides.let_pass(LEASE_SECONDS)

        assert worker.patient_sweep().taken_back == [A]
        assert sides.start(A).tries == 2


class TestRedisPoison(ImitatedRedis, PoisonContract):
    """The Lua scripts, in an imitated server."""

    @pytest.fixture
    def sides(self, asynchronous: AsyncRedis, redis: Redis) -> Sides:
        """Return both sides of one server."""
        return redis_sides(asynchronous, redis)


class TestOddRecords(ImitatedRedis):
    """What else somebody may write where records stand."""

    pytestmark = pytest.mark.anyio

    @pytest.mark.parametrize("fields", [{"attempt": "x"}, {"tries": "x"}, {"order": "x"}])
    async def test_a_record_that_somebody_overwrote_is_taken_back(
        self,
        redis: Redis,
        asynchronous: AsyncRedis,
        tmp_path: Path,
        fields: dict[bytes | bytearray | memoryview | str | int | float, Any],
    ) -> None:
        """It is taken back like others, whatever else is noted as running."""
        sides = redis_sides(asynchronous, redis)
        worker = Worker(sides, tmp_path)
        for key in (A, B):
            await sides.begin(key)
        sides.let_pass(LEASE_SECONDS)
        redis.hset(PREFIX + A, mapping=fields)
        redis.sadd(RUNNING, b"\xff")

        swept = worker.patient_sweep()

        assert sorted(swept.taken_back) == [A, B]
        assert (await sides.live(B)).tried
