"""How the server does right now: the queue, the last hours, the last failure of each class."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from asu import __version__
from asu.caching import TtlCache
from asu.records.api_records import Records
from asu.statistics.build_statistics import HOURS_SHOWN, hours_up_to
from asu.statistics.figure_shapes import FailureCount
from asu.statistics.figures import Figures
from asu.upstream.downloads_server import Upstream

KEPT_SECONDS = 3.0  # A crowd that watches the page costs Redis one reading in this time.
FAULTS = ("user", "upstream", "infra")


@dataclass(frozen=True, slots=True, kw_only=True)
class HourCounts:
    """Builds that ended in the hour that begins at `time`: finished ones, and failed by fault."""

    time: str
    done: int
    user: int
    upstream: int
    infra: int

    @property
    def total(self) -> int:
        """All builds that ended."""
        return self.done + self.user + self.upstream + self.infra


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFailure:
    """The newest hour with a failure of this class, and the most frequent code in it."""

    fault: str
    time: str
    code: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """The server at a moment; `hours` are the last 24, the newest first.

    It `is_stuck` where builds have waited for minutes and none is being built.
    `last_failures` has at most one of each class, within the last 14 days.
    """

    version: str
    workers_alive: int
    queue_length: int
    queue_oldest_seconds: float
    builds_running: int
    is_stuck: bool
    metadata_age_seconds: float
    hours: list[HourCounts]
    last_failures: list[LastFailure]


class Status:
    """Reads the status, at most once in some seconds."""

    def __init__(self, figures: Figures, *, records: Records, upstream: Upstream) -> None:
        self._figures, self._records, self._upstream = figures, records, upstream
        self._kept = TtlCache[str, ServerStatus](KEPT_SECONDS)

    async def get(self) -> ServerStatus:
        """Return the status; raises QueueUnavailable."""
        return await self._kept.fetch("status", self._read)

    async def _read(self) -> ServerStatus:
        queue = await self._figures.queue()
        return ServerStatus(
            version=__version__,
            workers_alive=queue.workers_alive,
            queue_length=queue.queue_length,
            queue_oldest_seconds=round(await self._records.longest_wait()),
            builds_running=queue.builds_running,
            is_stuck=await self._records.is_stuck(),
            metadata_age_seconds=round(self._upstream.oldest()),
            hours=last_hours(await self._figures.hours(), datetime.now(UTC)),
            last_failures=newest_by_class(await self._figures.build_errors()),
        )


def last_hours(counts: Mapping[str, Mapping[str, int]], now: datetime) -> list[HourCounts]:
    """Return the hours up to `now`, the newest first; those in which nothing ended are zeros."""
    return [
        HourCounts(
            time=hour,
            **{outcome: counts.get(hour, {}).get(outcome, 0) for outcome in ("done", *FAULTS)},
        )
        for hour in hours_up_to(now, HOURS_SHOWN)
    ]


def newest_by_class(failures: Iterable[FailureCount]) -> list[LastFailure]:
    """Return the first failure of each class; the given failures are the newest first."""
    found: dict[str, LastFailure] = {}
    for failure in failures:
        found.setdefault(
            failure.fault,
            LastFailure(
                fault=failure.fault, time=failure.time, code=failure.code, count=failure.count
            ),
        )
    return [found[fault] for fault in FAULTS if fault in found]
