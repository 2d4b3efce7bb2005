"""The figures that people see, computed from the counts in a thread.

Each reading of Redis is kept for some seconds, so a thousand readers cost Redis as much as one.
"""

import asyncio
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime

from asu.builds.fleet import Fleet
from asu.caching import SingleFlight, TtlCache
from asu.catalogue.public_names import PublicNames
from asu.records.api_records import Records
from asu.resolution import InvalidVersionError, Version

from .build_statistics import (
    FAILURE_DAYS,
    HOURS_DAYS,
    HOURS_SHOWN,
    KEPT_DAYS,
    DayCounts,
    Failure,
    days_up_to,
    hours_up_to,
    seconds_of,
    today,
    week_of,
    weeks_up_to,
)
from .build_totals import FORECASTS
from .figure_shapes import (
    BuildSeconds,
    ColouredSeries,
    DayChart,
    FailureCount,
    Failures,
    Forecasts,
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
    hours: Mapping[str, Mapping[str, int]]  # As RedisStatistics has them.


class Figures:
    """All figures; each call raises QueueUnavailable when Redis does not answer."""

    def __init__(
        self,
        *,
        statistics: RedisStatistics,
        records: Records,
        fleet: Fleet,
        public_names: PublicNames,
    ) -> None:
        self._statistics, self._records, self._fleet = statistics, records, fleet
        self._public_names = public_names
        # The queue is shared by simultaneous readers, but not kept: clients may compare it.
        self._now = SingleFlight[str, QueueFigures]()
        self._days = TtlCache[str, DayFigures](KEPT_SECONDS)
        self._packages = TtlCache[str | None, list[PackageCount]](KEPT_SECONDS)
        self._failures = TtlCache[str, list[FailureCount]](KEPT_SECONDS)

    async def queue(self) -> QueueFigures:
        """Return how busy the server is."""
        return await self._now.run("queue", self._read_queue)

    async def summary(self) -> Summary:
        """Return the totals."""
        days = await self._day_figures()
        done = (days.hours.get(hour, {}) for hour in hours_up_to(datetime.now(UTC), HOURS_SHOWN))
        builds_24h = sum(hour.get("done", 0) for hour in done)
        counted = (await self._statistics.totals()).forecasts
        forecasts = Forecasts(**{result: counted.get(result, 0) for result in FORECASTS})
        return summarise(days.totals, await self.queue(), builds_24h, forecasts)

    async def hours(self) -> Mapping[str, Mapping[str, int]]:
        """Return the builds that ended in each hour of the last two days, by outcome."""
        return (await self._day_figures()).hours

    async def builds_per_day(self) -> DayChart:
        """Return what happened in each of the last 30 days."""
        return (await self._day_figures()).by_day

    async def builds_by_version(self, branch: str | None = None) -> WeekChart:
        """Return the finished builds of 26 weeks: by branch, or by version of one branch."""
        days = await self._day_figures()
        return week_chart(days.weeks, days.versions, branch)

    async def top_packages(self, limit: int, branch: str | None = None) -> list[PackageCount]:
        """Return the packages that were requested most, of all branches or one."""
        built = {version.branch for version in (await self._day_figures()).versions}
        if branch not in {None, *built}:
            return []
        return (await self._packages.fetch(branch, lambda: self._read_packages(branch)))[:limit]

    async def build_errors(self, limit: int = FAILURES_SHOWN) -> list[FailureCount]:
        """Return the last failures, the newest first."""
        return (await self._failures.fetch("failures", self._read_failures))[:limit]

    async def _day_figures(self) -> DayFigures:
        return await self._days.fetch("days", self._read_days)

    async def _read_queue(self) -> QueueFigures:
        return QueueFigures(
            queue_length=await self._records.waiting(),
            builds_running=await self._records.running(),
            workers_alive=len(await self._fleet.notes()),
        )

    async def _read_days(self) -> DayFigures:
        names = days_up_to(today(), KEPT_DAYS)
        days = dict(zip(names, await self._statistics.days(names), strict=True))
        hours = await self._statistics.hours(names[-HOURS_DAYS:])
        return await asyncio.to_thread(figures_of_days, days, hours)

    async def _read_packages(self, branch: str | None) -> list[PackageCount]:
        counts = await self._statistics.packages(weeks_up_to(today(), WEEKS_SHOWN), branch)
        public = await self._public_names.among(counts)
        return await asyncio.to_thread(most_frequent, counts, public)

    async def _read_failures(self) -> list[FailureCount]:
        failures = await self._statistics.failures(days_up_to(today(), FAILURE_DAYS))
        named = await asyncio.to_thread(
            lambda: {problem.package for failure, _ in failures for problem in failure.problems}
        )
        return await asyncio.to_thread(newest, failures, await self._public_names.among(named))


def figures_of_days(
    days: Mapping[date, DayCounts], hours: Mapping[str, Mapping[str, int]]
) -> DayFigures:
    """Compute what the counts of the days show."""
    weeks = weeks_up_to(max(days), WEEKS_SHOWN)
    return DayFigures(
        totals=add_up(days),
        by_day=per_day(days),
        weeks=weeks,
        versions=builds_by_week(days, weeks),
        hours=hours,
    )


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


def summarise(totals: Totals, now: QueueFigures, builds_24h: int, forecasts: Forecasts) -> Summary:
    """Return all of them as one."""
    of_totals = {name: getattr(totals, name) for name in Totals.__dataclass_fields__}
    return Summary(**of_totals, **asdict(now), builds_24h=builds_24h, forecasts=forecasts)


def per_day(days: Mapping[date, DayCounts]) -> DayChart:
    """Return the last 30 of the days; the datasets that the reference server has come first."""
    labels = sorted(days)[-DAYS_SHOWN:]
    shown = [days[day] for day in labels]
    series = [
        ("Requests", "green", [day.requests for day in shown]),
        ("Cache-Hits", "orange", [day.cache_hits for day in shown]),
        ("Failures", "red", [sum(day.failures.values()) for day in shown]),
        ("Builds", "blue", [day.builds for day in shown]),
    ]
    datasets = [ColouredSeries(label=name, data=data, color=color) for name, color, data in series]
    return DayChart(labels=day_labels(labels), datasets=datasets)


def builds_by_week(
    days: Mapping[date, DayCounts], weeks: Sequence[date]
) -> dict[Version, list[int]]:
    """Return the finished builds of each version in each week; a name that is none is skipped."""
    named: dict[str, list[int]] = {}  # By name at first, so each is parsed only once.
    for day, counted in days.items():
        if week_of(day) in weeks:
            place = weeks.index(week_of(day))
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
    return WeekChart(labels=day_labels(weeks), datasets=series)


def day_labels(days: Iterable[date]) -> list[str]:
    """Return days as charts label them: YYYY-MM-DDZ."""
    return [f"{day}Z" for day in days]


def most_frequent(counts: Mapping[str, int], public: Container[str]) -> list[PackageCount]:
    """Return the public packages, the most frequent first, equal ones by name."""
    shown = (entry for entry in counts.items() if entry[0] in public)
    ranked = sorted(shown, key=lambda entry: (-entry[1], entry[0]))
    return [PackageCount(name=name, count=count) for name, count in ranked[:PACKAGES_SHOWN]]


def newest(counted: Iterable[tuple[Failure, int]], public: Container[str]) -> list[FailureCount]:
    """Return the last failures, the newest hour first, and within it the most frequent.

    A package that is not public is left out, and failures that are equal without it are one.
    """
    counts = Counter[Failure]()
    for failure, count in counted:
        problems = tuple(each for each in failure.problems if each.package in public)
        counts[replace(failure, problems=problems)] += count
    by_count = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0].encoded()))
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
