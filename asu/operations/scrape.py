"""What /metrics shows: counts of this process, workers' counts in Redis, and the present state."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from asu.builds.fleet import Fleet, WorkerNote, known_free
from asu.caching import TtlCache
from asu.disk_space import MIB, Disk
from asu.errors import QueueUnavailable
from asu.records.build_record import Records
from asu.records.redis_memory import MemoryUse
from asu.settings import Settings
from asu.statistics.build_totals import BOUNDS, WHOLE, BuildTotals, Durations
from asu.statistics.redis_statistics import RedisStatistics
from asu.stores.store import StoreUsage
from asu.upstream.downloads_server import Upstream

from . import metrics
from .exposition import Exposition
from .metrics import Counts, Metric, Readings

# Several scrapers at once, or somebody who reloads the page, cost Redis one reading; scrapes are
# seconds apart.
KEPT_SECONDS = 3.0
NOTHING = Durations(counts=(0,) * (len(BOUNDS) + 1), seconds=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all processes share in Redis."""

    waiting: int
    longest_wait: float
    running: int
    memory: MemoryUse | None
    notes: list[WorkerNote]
    store: StoreUsage | None
    totals: BuildTotals
    retries: Mapping[str, int]


class Scrape:
    """Answers scrapes, whether Redis answers or not."""

    def __init__(
        self,
        settings: Settings,
        *,
        counts: Counts,
        records: Records,
        statistics: RedisStatistics,
        fleet: Fleet,
        upstream: Upstream,
    ) -> None:
        self._settings, self._counts, self._upstream = settings, counts, upstream
        self._records, self._statistics, self._fleet = records, statistics, fleet
        self._shared = TtlCache[str, Shared | None](KEPT_SECONDS)
        self._exposition = Exposition()
        self._disk = Disk(settings.store_path)

    async def text(self) -> bytes:
        """Return all metrics as Prometheus' text; without Redis those that need it are absent."""
        shared, free = await asyncio.gather(
            self._shared.fetch("Redis", self._read_shared), self._disk.free()
        )
        readings: Readings = {
            **self._counts.readings(),
            **self._own(free),
            **(_shared(shared) if shared else {metrics.REDIS_UP: {(): 0}}),
        }
        return self._exposition.write(
            {metric: readings[metric] for metric in metrics.METRICS if metric in readings}
        )

    def _own(self, free: int | None) -> Readings:
        """Return what this process knows by itself."""
        readings: Readings = {
            metrics.METADATA_AGE: {(): self._upstream.oldest()},
            metrics.DISK_RESERVE: {(): self._settings.disk_reserve_mb * MIB},
            metrics.QUEUE_LIMIT: {(): self._settings.max_pending_jobs},
        }
        return readings if free is None else {**readings, metrics.DISK_FREE: {(): free}}

    async def _read_shared(self) -> Shared | None:
        """Return the state in Redis, None if it does not answer; None is kept for a while, too."""
        try:
            return Shared(
                waiting=await self._records.waiting(),
                longest_wait=await self._records.longest_wait(),
                running=await self._records.running(),
                memory=await self._records.memory(),
                notes=await self._fleet.notes(),
                store=await self._fleet.store_usage(),
                totals=await self._statistics.totals(),
                retries=await self._records.retries(),
            )
        except QueueUnavailable:
            return None


def _shared(shared: Shared) -> Readings:
    readings: Readings = {
        metrics.REDIS_UP: {(): 1},
        metrics.QUEUE_LENGTH: {(): shared.waiting},
        metrics.LONGEST_WAIT: {(): shared.longest_wait},
        metrics.BUILDS_RUNNING: {(): shared.running},
        metrics.WORKERS_ALIVE: {(): len(shared.notes)},
        metrics.WORKERS_WITHOUT_PODMAN: {(): sum(bool(note.trouble) for note in shared.notes)},
        metrics.BUILDS: _known(metrics.BUILDS, shared.totals.outcomes),
        metrics.BUILD_FAILURES: _known(metrics.BUILD_FAILURES, shared.totals.codes),
        metrics.BUILD_RETRIES: _known(metrics.BUILD_RETRIES, shared.retries),
        metrics.STEP_SECONDS: {
            (step,): shared.totals.durations.get(step, NOTHING) for step in metrics.STEPS
        },
        metrics.BUILD_SECONDS: {(): shared.totals.durations.get(WHOLE, NOTHING)},
    }
    least = min(known_free(shared.notes), default=None)
    if least is not None:
        readings[metrics.WORKER_DISK_FREE] = {(): least}
    if shared.memory:
        readings[metrics.REDIS_MEMORY] = {(): shared.memory.used}
        if shared.memory.limit:
            readings[metrics.REDIS_MEMORY_MAX] = {(): shared.memory.limit}
    if shared.store:
        readings |= {
            metrics.STORE_BUILDS: {(): shared.store.builds},
            metrics.STORE_BYTES: {(): shared.store.bytes},
        }
    return readings


def _known(metric: Metric, counts: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    """Return the counts of declared values; a worker of another release may count others."""
    [values] = metric.labels.values()
    return {(value,): counts.get(value, 0) for value in values}
