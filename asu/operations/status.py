"""How the server does right now, for everybody: the queue, what ended in the last hours, the last failures of each class."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from asu import __version__
from asu.caching import TtlCache
from asu.records.build_record import Records
from asu.statistics.build_statistics import HOURS_DAYS, days_up_to, hour_of
from asu.statistics.figure_shapes import FailureCount
from asu.statistics.figures import Figures
from asu.statistics.redis_statistics import RedisStatistics
from asu.upstream.downloads_server import Upstream

# Whoever watches an upgrade reloads the page; a crowd of them costs Redis one reading in this time.
KEPT_SECONDS = 3.0
HOURS_SHOWN = 24
FAULTS = ("user", "upstream", "infra")


@dataclass(frozen=True, slots=True, kw_only=True)
class HourCounts:
    """What ended in the hour that begins at `time`: builds that went well, and failures by whose fault they were."""

    time: str
    done: int
    user: int
    upstream: int
    infra: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFailure:
    """The newest hour with a failure of a class, and the most frequent code in it; nothing tells whose it was."""

    fault: str
    time: str
    code: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """The server at a moment; `hours` are the last 24, the newest first, and `last_failures` those of the last 14 days, one per class."""

    version: str
    workers_alive: int
    queue_length: int
    queue_oldest_seconds: float
    builds_running: int
    metadata_age_seconds: float
    hours: list[HourCounts]
    last_failures: list[LastFailure]


class Status:
    """Reads the status, at most once in some seconds."""

    def __init__(
        self, figures: Figures, *, records: Records, statistics: RedisStatistics, upstream: Upstream
    ) -> None:
        self._figures, self._records, self._statistics, self._upstream = (
            figures,
            records,
            statistics,
            upstream,
        )
        self._kept = TtlCache[str, ServerStatus](KEPT_SECONDS)

    async def get(self) -> ServerStatus:
        """Return the status; raises QueueUnavailable."""
        return await self._kept.fetch("status", self._read)

    async def _read(self) -> ServerStatus:
        now = datetime.now(UTC)
        queue = await self._figures.queue()
        return ServerStatus(
            version=__version__,
            workers_alive=queue.workers_alive,
            queue_length=queue.queue_length,
            queue_oldest_seconds=round(await self._records.longest_wait()),
            builds_running=queue.builds_running,
            metadata_age_seconds=round(self._upstream.oldest()),
            hours=last_hours(await self._statistics.hours(days_up_to(now.date(), HOURS_DAYS)), now),
            last_failures=newest_by_class(await self._figures.build_errors()),
        )


def last_hours(counts: Mapping[str, Mapping[str, int]], now: datetime) -> list[HourCounts]:
    """Return the hours up to `now`, the newest first; those in which nothing ended are zeros."""
    hours = [hour_of(now - timedelta(hours=back)) for back in range(HOURS_SHOWN)]
    return [
        HourCounts(
            time=hour,
            **{outcome: counts.get(hour, {}).get(outcome, 0) for outcome in ("done", *FAULTS)},
        )
        for hour in hours
    ]


def newest_by_class(failures: Iterable[FailureCount]) -> list[LastFailure]:
    """Return the first of each class, in the order of the classes, of failures that come newest first."""
    found: dict[str, LastFailure] = {}
    for failure in failures:
        found.setdefault(
            failure.fault,
            LastFailure(
                fault=failure.fault, time=failure.time, code=failure.code, count=failure.count
            ),
        )
    return [found[fault] for fault in FAULTS if fault in found]
