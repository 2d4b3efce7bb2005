"""The figures that people see, made of the counts: totals, days, weeks, packages, failures.

Days are those of UTC, and weeks begin on Monday. Whatever the statistics are asked for is kept for
some seconds and read by one reader at a time, so a thousand people who open the page cost Redis as
much as one.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date

from asu.builds.fleet import Fleet
from asu.kept import Kept
from asu.records.build_record import Records
from asu.resolution import Version

from .build_statistics import (
    FAILURE_DAYS,
    KEPT_DAYS,
    DayCounts,
    Failure,
    Problem,
    Statistics,
    days_up_to,
    seconds_of,
    today,
    weeks_up_to,
)
from .weekly_builds import builds_by_week

KEPT_SECONDS = 3.0  # Nobody watches a figure of half a year more closely.
DAYS_SHOWN = 30
WEEKS_SHOWN = 26
PACKAGES_SHOWN = 100
FAILURES_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """How busy the server is at this moment."""

    queue_length: int
    builds_running: int
    workers_alive: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """How many builds failed, by whose fault it was."""

    user: int
    upstream: int
    infra: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSeconds:
    """How long a finished build took, from its start by a worker; None while there was none. The median is right to 5 %."""

    median: float | None
    mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Totals of all days that are kept; `since` is the first of them with anything to count, None before that.

    `cache_hits` are requests whose image was there already, `cache_hit_ratio` is their part of the
    requests (0 to 1).
    """

    since: date | None
    days_kept: int
    requests: int
    cache_hits: int
    cache_hit_ratio: float | None
    builds: int
    failures: Failures
    build_seconds: BuildSeconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Totals):
    """The totals, and how busy the server is."""

    queue_length: int
    builds_running: int
    workers_alive: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One value for each label."""

    label: str
    data: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColouredSeries(Series):
    """One value for each label, and the colour that the reference server draws them in."""

    color: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayChart:
    """The last 30 days, each as YYYY-MM-DDZ."""

    labels: list[str]
    datasets: list[ColouredSeries]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekChart:
    """The last 26 weeks, each as its Monday, YYYY-MM-DDZ."""

    labels: list[str]
    datasets: list[Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageCount:
    """How many finished builds asked for a package that the device does not have by itself."""

    name: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """How often builds failed in the same way within an hour; `time` is its beginning."""

    time: str
    code: str
    fault: str
    version: str
    target: str
    profile: str
    problems: list[Problem]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What every reader of the days wants to know: it is worked out once, in a thread, and then only looked up."""

    totals: Totals
    by_day: DayChart
    by_branch: WeekChart
    by_version: Mapping[str, WeekChart]  # By branch; as many as were built.


class Figures:
    """All figures; each call raises QueueUnavailable when Redis does not answer."""

    def __init__(self, *, statistics: Statistics, records: Records, fleet: Fleet) -> None:
        self._statistics, self._records, self._fleet = statistics, records, fleet
        # The present is not kept: three counts, which Redis has at hand.
        self._now = Kept(self._read_queue, 0)
        self._counts = Kept(self._read_days, KEPT_SECONDS)
        self._packages = Kept(self._read_packages, KEPT_SECONDS)
        self._failures = Kept(self._read_failures, KEPT_SECONDS)

    async def queue(self) -> QueueFigures:
        """Return how busy the server is."""
        return await self._now.get()

    async def summary(self) -> Summary:
        """Return the totals."""
        return summarise((await self._counts.get()).totals, await self._now.get())

    async def builds_per_day(self) -> DayChart:
        """Return what happened in each of the last 30 days."""
        return (await self._counts.get()).by_day

    async def builds_by_version(self, branch: str | None = None) -> WeekChart:
        """Return the finished builds of the last 26 weeks: by branch, or by version of one branch."""
        counts = await self._counts.get()
        return (
            counts.by_version.get(branch, replace(counts.by_branch, datasets=[]))
            if branch
            else counts.by_branch
        )

    async def top_packages(self, limit: int) -> list[PackageCount]:
        """Return the packages that were asked for most, the most frequent first."""
        return (await self._packages.get())[:limit]

    async def build_errors(self) -> list[FailureCount]:
        """Return the last failures, the newest first."""
        return await self._failures.get()

    async def _read_days(self) -> Counts:
        names = days_up_to(today(), KEPT_DAYS)
        days = dict(zip(names, await self._statistics.days(names), strict=True))
        return await asyncio.to_thread(work_out, days)

    async def _read_packages(self) -> list[PackageCount]:
        counts = await self._statistics.packages(weeks_up_to(today(), WEEKS_SHOWN))
        return await asyncio.to_thread(most_frequent, counts)

    async def _read_failures(self) -> list[FailureCount]:
        return await asyncio.to_thread(
            newest, await self._statistics.failures(days_up_to(today(), FAILURE_DAYS))
        )

    async def _read_queue(self) -> QueueFigures:
        waiting, running = await self._records.waiting(), await self._records.running()
        return QueueFigures(
            queue_length=waiting,
            builds_running=running,
            workers_alive=len(await self._fleet.notes()),
        )


def work_out(days: Mapping[date, DayCounts]) -> Counts:
    """Return what is told of the days."""
    weeks = weeks_up_to(max(days), WEEKS_SHOWN)
    versions = builds_by_week(days, weeks)
    branches: dict[str, dict[Version, list[int]]] = {}
    for version, builds in versions.items():
        branches.setdefault(version.branch, {})[version] = builds
    sums = {
        Version.parse(branch): [sum(week) for week in zip(*of_it.values(), strict=True)]
        for branch, of_it in branches.items()
    }
    return Counts(
        totals=add_up(days),
        by_day=per_day(days),
        by_branch=_week_chart(weeks, sums),
        by_version={branch: _week_chart(weeks, of_it) for branch, of_it in branches.items()},
    )


def add_up(days: Mapping[date, DayCounts]) -> Totals:
    """Return the totals of all days."""
    counts = list(days.values())
    requests, cache_hits, builds = (
        sum(getattr(day, name) for day in counts) for name in ("requests", "cache_hits", "builds")
    )
    failures = {
        fault: sum(day.failures.get(fault, 0) for day in counts)
        for fault in ("user", "upstream", "infra")
    }
    return Totals(
        since=min((day for day, counted in days.items() if counted != DayCounts()), default=None),
        days_kept=len(counts),
        requests=requests,
        cache_hits=cache_hits,
        cache_hit_ratio=round(cache_hits / requests, 4) if requests else None,
        builds=builds,
        failures=Failures(**failures),
        build_seconds=BuildSeconds(median=_median(counts), mean=_mean(counts)),
    )


def summarise(totals: Totals, now: QueueFigures) -> Summary:
    """Return totals and queue as one."""
    both = {
        field.name: getattr(value, field.name) for value in (totals, now) for field in fields(value)
    }
    return Summary(**both)


def per_day(days: Mapping[date, DayCounts]) -> DayChart:
    """Return the last 30 of the days, in the reference server's shape; the datasets that it has come first."""
    labels = sorted(days)[-DAYS_SHOWN:]
    shown = [days[day] for day in labels]
    return DayChart(
        labels=_labels(labels),
        datasets=[
            ColouredSeries(label="Requests", data=[day.requests for day in shown], color="green"),
            ColouredSeries(
                label="Cache-Hits", data=[day.cache_hits for day in shown], color="orange"
            ),
            ColouredSeries(
                label="Failures", data=[sum(day.failures.values()) for day in shown], color="red"
            ),
            ColouredSeries(label="Builds", data=[day.builds for day in shown], color="blue"),
        ],
    )


def most_frequent(counts: Mapping[str, int]) -> list[PackageCount]:
    """Return the packages that were asked for most, the most frequent first, equal ones by name."""
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return [PackageCount(name=name, count=count) for name, count in ranked[:PACKAGES_SHOWN]]


def newest(counted: Iterable[tuple[Failure, int]]) -> list[FailureCount]:
    """Return the last failures, the newest hour first, and within it the most frequent."""
    by_count = sorted(
        counted,
        key=lambda entry: (
            -entry[1],
            entry[0].code,
            entry[0].version,
            entry[0].target,
            entry[0].profile,
        ),
    )
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


def _mean(counts: Sequence[DayCounts]) -> float | None:
    builds = sum(day.builds for day in counts)
    return round(sum(day.milliseconds for day in counts) / builds / 1000, 1) if builds else None


def _median(counts: Sequence[DayCounts]) -> float | None:
    durations: dict[int, int] = {}
    for day in counts:
        for step, count in day.durations.items():
            durations[step] = durations.get(step, 0) + count
    before, half = 0, sum(durations.values()) / 2
    for step, count in sorted(durations.items()):
        before += count
        if before >= half:
            return round(seconds_of(step), 1)
    return None


def _week_chart(weeks: Sequence[date], builds: Mapping[Version, list[int]]) -> WeekChart:
    return WeekChart(
        labels=_labels(weeks),
        datasets=[Series(label=version.text, data=builds[version]) for version in sorted(builds)],
    )


def _labels(days: Iterable[date]) -> list[str]:
    return [f"{day}Z" for day in days]
