"""The figures that people see, computed from the counts.

Each reading of Redis is kept for some seconds and done by one reader at a time, so a thousand
people who open the page cost Redis as much as one. Computing happens in a thread.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date

from asu.builds.build_queue import BuildQueue
from asu.caching import SingleFlight, TtlCache
from asu.records.build_record import Records
from asu.resolution import InvalidVersionError, Version

from .build_statistics import (
    FAILURE_DAYS,
    KEPT_DAYS,
    DayCounts,
    Failure,
    days_up_to,
    seconds_of,
    today,
    week_of,
    weeks_up_to,
)
from .figure_shapes import (
    BuildSeconds,
    ColouredSeries,
    DayChart,
    FailureCount,
    Failures,
    PackageCount,
    QueueFigures,
    Series,
    Summary,
    Totals,
    WeekChart,
)
from .redis_statistics import RedisStatistics

KEPT_SECONDS = 3.0  # Nobody watches a figure of half a year more closely.
DAYS_SHOWN = 30
WEEKS_SHOWN = 26
PACKAGES_SHOWN = 100
FAILURES_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFigures:
    """What is computed from the counts of the days; `versions` has the finished builds by week."""

    totals: Totals
    by_day: DayChart
    weeks: Sequence[date]
    versions: Mapping[Version, list[int]]


class Figures:
    """All figures; each call raises QueueUnavailable when Redis does not answer."""

    def __init__(self, *, statistics: RedisStatistics, records: Records, queue: BuildQueue) -> None:
        self._statistics, self._records, self._queue = statistics, records, queue
        # The queue is shared by simultaneous readers, but not kept: clients may compare it.
        self._now = SingleFlight[str, QueueFigures]()
        self._days = TtlCache[str, DayFigures](KEPT_SECONDS)
        self._packages = TtlCache[str, list[PackageCount]](KEPT_SECONDS)
        self._failures = TtlCache[str, list[FailureCount]](KEPT_SECONDS)

    async def queue(self) -> QueueFigures:
        """Return how busy the server is."""
        return await self._now.run("queue", self._read_queue)

    async def summary(self) -> Summary:
        """Return the totals."""
        return summarise(
            (await self._days.fetch("days", self._read_days)).totals, await self.queue()
        )

    async def builds_per_day(self) -> DayChart:
        """Return what happened in each of the last 30 days."""
        return (await self._days.fetch("days", self._read_days)).by_day

    async def builds_by_version(self, branch: str | None = None) -> WeekChart:
        """Return the finished builds of 26 weeks: by branch, or by version of one branch."""
        days = await self._days.fetch("days", self._read_days)
        return week_chart(days.weeks, days.versions, branch)

    async def top_packages(self, limit: int) -> list[PackageCount]:
        """Return the packages that were requested most, the most frequent first."""
        return (await self._packages.fetch("packages", self._read_packages))[:limit]

    async def build_errors(self) -> list[FailureCount]:
        """Return the last failures, the newest first."""
        return await self._failures.fetch("failures", self._read_failures)

    async def _read_queue(self) -> QueueFigures:
        waiting, running = await self._records.waiting(), await self._records.running()
        return QueueFigures(
            queue_length=waiting,
            builds_running=running,
            workers_alive=await asyncio.to_thread(self._queue.live_workers),
        )

    async def _read_days(self) -> DayFigures:
        names = days_up_to(today(), KEPT_DAYS)
        days = dict(zip(names, await self._statistics.days(names), strict=True))
        return await asyncio.to_thread(figures_of_days, days)

    async def _read_packages(self) -> list[PackageCount]:
        counts = await self._statistics.packages(weeks_up_to(today(), WEEKS_SHOWN))
        return await asyncio.to_thread(most_frequent, counts)

    async def _read_failures(self) -> list[FailureCount]:
        failures = await self._statistics.failures(days_up_to(today(), FAILURE_DAYS))
        return await asyncio.to_thread(newest, failures)


def figures_of_days(days: Mapping[date, DayCounts]) -> DayFigures:
    """Compute everything that the counts of the days show."""
    weeks = weeks_up_to(max(days), WEEKS_SHOWN)
    return DayFigures(
        totals=add_up(days),
        by_day=per_day(days),
        weeks=weeks,
        versions=builds_by_week(days, weeks),
    )


def builds_by_week(
    days: Mapping[date, DayCounts], weeks: Sequence[date]
) -> dict[Version, list[int]]:
    """Return how many builds of each version were finished in each week (its Monday).

    Skip a name that is no version: a worker of a later release may build what this one cannot name.
    """
    places = {week: place for place, week in enumerate(weeks)}
    # By name at first, so that each is parsed once and not on every day.
    named: dict[str, list[int]] = {}
    for day, counted in days.items():
        place = places.get(week_of(day))
        if place is None:
            continue
        for name, builds in counted.versions.items():
            named.setdefault(name, [0] * len(weeks))[place] += builds
    found: dict[Version, list[int]] = {}
    for name, weekly in named.items():
        with suppress(InvalidVersionError):
            found[Version.parse(name)] = weekly
    return found


def week_chart(
    weeks: Sequence[date], versions: Mapping[Version, list[int]], branch: str | None
) -> WeekChart:
    """Return one series for each version of a branch; for each branch where `branch` is None."""
    shown: dict[Version, list[int]] = {}
    for version, builds in versions.items():
        if branch is None:
            name = Version.parse(version.branch)
            shown[name] = [
                a + b for a, b in zip(shown.get(name, [0] * len(weeks)), builds, strict=True)
            ]
        elif version.branch == branch:
            shown[version] = builds
    series = [Series(label=version.text, data=shown[version]) for version in sorted(shown)]
    return WeekChart(labels=_labels(weeks), datasets=series)


def add_up(days: Mapping[date, DayCounts]) -> Totals:
    """Return the totals of all days."""
    counts = list(days.values())
    requests = sum(day.requests for day in counts)
    cache_hits = sum(day.cache_hits for day in counts)
    failures = Counter[str]()
    for day in counts:
        failures.update(day.failures)
    return Totals(
        since=min((day for day, counted in days.items() if counted != DayCounts()), default=None),
        days_kept=len(counts),
        requests=requests,
        cache_hits=cache_hits,
        cache_hit_ratio=round(cache_hits / requests, 4) if requests else None,
        builds=sum(day.builds for day in counts),
        failures=Failures(**{fault: failures[fault] for fault in ("user", "upstream", "infra")}),
        build_seconds=_build_seconds(counts),
    )


def summarise(totals: Totals, now: QueueFigures) -> Summary:
    """Return totals and queue as one."""
    return Summary(
        **{name: getattr(totals, name) for name in Totals.__dataclass_fields__}, **asdict(now)
    )


def per_day(days: Mapping[date, DayCounts]) -> DayChart:
    """Return the last 30 of the days; the datasets that the reference server has come first."""
    labels = sorted(days)[-DAYS_SHOWN:]
    shown = [days[day] for day in labels]
    data = {
        ("Requests", "green"): [day.requests for day in shown],
        ("Cache-Hits", "orange"): [day.cache_hits for day in shown],
        ("Failures", "red"): [sum(day.failures.values()) for day in shown],
        ("Builds", "blue"): [day.builds for day in shown],
    }
    return DayChart(
        labels=_labels(labels),
        datasets=[
            ColouredSeries(label=label, data=values, color=colour)
            for (label, colour), values in data.items()
        ],
    )


def most_frequent(counts: Mapping[str, int]) -> list[PackageCount]:
    """Return the packages that were requested most, the most frequent first, equal ones by name."""
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return [PackageCount(name=name, count=count) for name, count in ranked[:PACKAGES_SHOWN]]


def newest(counted: Iterable[tuple[Failure, int]]) -> list[FailureCount]:
    """Return the last failures, the newest hour first, and within it the most frequent."""
    by_count = sorted(counted, key=lambda entry: (-entry[1], entry[0].encoded()))
    ranked = sorted(by_count, key=lambda entry: entry[0].hour, reverse=True)
    return [
        FailureCount(
            time=failure.hour,
            code=failure.code,
            fault=failure.fault,
            version=failure.version,
            target=failure.target,
            profile=failure.profile,
            problems=list(failure.problems),
            count=count,
        )
        for failure, count in ranked[:FAILURES_SHOWN]
    ]


def _build_seconds(counts: Sequence[DayCounts]) -> BuildSeconds:
    durations = Counter[int]()
    for day in counts:
        durations.update(day.durations)
    builds = durations.total()
    if not builds:
        return BuildSeconds(median=None, mean=None)
    middle, before = 0, 0
    for middle, count in sorted(durations.items()):  # noqa: B007  # The step where it ends.
        before += count
        if before >= builds / 2:
            break
    milliseconds = sum(day.milliseconds for day in counts)
    return BuildSeconds(
        median=round(seconds_of(middle), 1), mean=round(milliseconds / builds / 1000, 1)
    )


def _labels(days: Iterable[date]) -> list[str]:
    return [f"{day}Z" for day in days]
