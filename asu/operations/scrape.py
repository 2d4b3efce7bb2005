"""What /metrics shows: counts of this process, workers' counts in Redis, and the present state."""

import asyncio
from collections.abc import Mapping

from asu.builds.fleet import Fleet, known_free
from asu.caching import TtlCache
from asu.disk_space import MIB, Disk
from asu.errors import QueueUnavailable
from asu.records.api_records import Records
from asu.settings import Settings
from asu.statistics.build_totals import BOUNDS, WHOLE, Durations
from asu.statistics.redis_statistics import RedisStatistics
from asu.upstream.downloads_server import Upstream

from . import metrics
from .exposition import Exposition
from .metrics import Counts, Metric, Readings

KEPT_SECONDS = 3.0  # Several scrapers at once cost Redis one reading.
NOTHING = Durations(counts=(0,) * (len(BOUNDS) + 1), seconds=0.0)


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
        self._shared = TtlCache[str, Readings](KEPT_SECONDS)
        self._exposition = Exposition()
        self._disk = Disk(settings.store_path)

    async def text(self) -> bytes:
        """Return all metrics as Prometheus' text; without Redis those that need it are absent."""
        shared, free = await asyncio.gather(
            self._shared.fetch("Redis", self._read_shared), self._disk.free()
        )
        readings = {**self._counts.readings(), **self._own(free), **shared}
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

    async def _read_shared(self) -> Readings:
        """Return the state that all processes share in Redis; it is also kept if there is none."""
        try:
            return {**await self._records_and_totals(), **await self._fleet_readings()}
        except QueueUnavailable:
            return {metrics.REDIS_UP: {(): 0}}

    async def _records_and_totals(self) -> Readings:
        records, totals = self._records, await self._statistics.totals()
        retries, memory = await records.retries(), await records.memory()
        readings: Readings = {
            metrics.REDIS_UP: {(): 1},
            metrics.QUEUE_LENGTH: {(): await records.waiting()},
            metrics.LONGEST_WAIT: {(): await records.longest_wait()},
            metrics.BUILDS_RUNNING: {(): await records.running()},
            metrics.BUILDS: _known(metrics.BUILDS, totals.outcomes),
            metrics.BUILD_FAILURES: _known(metrics.BUILD_FAILURES, totals.codes),
            metrics.FORECASTS_COMPARED: _known(metrics.FORECASTS_COMPARED, totals.forecasts),
            metrics.BUILD_RETRIES: _known(metrics.BUILD_RETRIES, retries),
            metrics.STEP_SECONDS: {
                (step,): totals.durations.get(step, NOTHING) for step in metrics.STEPS
            },
            metrics.BUILD_SECONDS: {(): totals.durations.get(WHOLE, NOTHING)},
        }
        if memory:
            readings[metrics.REDIS_MEMORY] = {(): memory.used}
            if memory.limit:
                readings[metrics.REDIS_MEMORY_MAX] = {(): memory.limit}
        return readings

    async def _fleet_readings(self) -> Readings:
        notes, store = await self._fleet.notes(), await self._fleet.store_usage()
        readings: Readings = {
            metrics.WORKERS_ALIVE: {(): len(notes)},
            metrics.WORKERS_WITHOUT_PODMAN: {(): sum(bool(note.trouble) for note in notes)},
        }
        free = known_free(notes)
        if free:
            readings[metrics.WORKER_DISK_FREE] = {(): min(free)}
        if store:
            readings[metrics.STORE_BUILDS] = {(): store.builds}
            readings[metrics.STORE_BYTES] = {(): store.bytes}
        return readings


def _known(metric: Metric, counts: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    """Return the counts of declared values; a worker of another release may count others."""
    [values] = metric.labels.values()
    return {(value,): counts.get(value, 0) for value in values}
