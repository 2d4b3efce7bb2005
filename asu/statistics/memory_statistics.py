"""The statistics' in-memory twin: both sides in one object.

The same contract tests run against it and against Redis. It trims as Redis does, but forgets
nothing by itself.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

from .build_statistics import (
    FAILURES_KEPT,
    PACKAGES_KEPT,
    PACKAGES_READ,
    DayCounts,
    Failure,
    FinishedBuild,
    duration_step,
    failures_of,
    hour_of,
    week_of,
)
from .build_totals import WHOLE, BuildTotals, increments, read_totals


class MemoryStatistics:
    """The in-memory twin of the API's side and the worker's side in one."""

    def __init__(self) -> None:
        self._totals: defaultdict[date, Counter[str]] = defaultdict(Counter)
        self._faults: defaultdict[date, Counter[str]] = defaultdict(Counter)
        self._versions: defaultdict[date, Counter[str]] = defaultdict(Counter)
        self._durations: defaultdict[date, Counter[int]] = defaultdict(Counter)
        self._packages: defaultdict[date, Counter[str]] = defaultdict(Counter)
        self._failures: defaultdict[date, Counter[str]] = defaultdict(Counter)
        self._ended: Counter[str] = Counter()
        self._hours: defaultdict[str, Counter[str]] = defaultdict(Counter)

    async def add_requests(self, day: date, *, requests: int, cache_hits: int) -> None:
        """See Statistics."""
        self._totals[day].update(requests=requests, cache_hits=cache_hits)

    async def days(self, days: Sequence[date]) -> list[DayCounts]:
        """See Statistics."""
        return [self._counts(day) for day in days]

    async def packages(self, weeks: Sequence[date]) -> dict[str, int]:
        """See Statistics."""
        found: Counter[str] = Counter()
        for week in weeks:
            found.update(dict(_ascending(self._packages[week])[-PACKAGES_READ:]))
        return dict(found)

    async def failures(self, days: Sequence[date]) -> list[tuple[Failure, int]]:
        """See Statistics."""
        return failures_of(entry for day in days for entry in self._failures[day].items())

    async def totals(self) -> BuildTotals:
        """See Statistics."""
        return read_totals(self._ended)

    async def hours(self, days: Sequence[date]) -> dict[str, dict[str, int]]:
        """See Statistics."""
        return {
            hour: dict(counts)
            for hour, counts in self._hours.items()
            if date.fromisoformat(hour[:10]) in days
        }

    def add_finished(self, build: FinishedBuild) -> None:
        """See BuildStatistics."""
        day = build.at.date()
        self._totals[day].update(builds=1, milliseconds=round(build.seconds * 1000))
        self._versions[day][build.version] += 1
        self._durations[day][duration_step(build.seconds)] += 1
        week = week_of(day)
        self._packages[week].update(build.packages)
        self._packages[week] = _trimmed(self._packages[week], PACKAGES_KEPT)
        self._count_ended(hour_of(build.at), "done", None, {**build.steps, WHOLE: build.seconds})

    def add_failure(self, failure: Failure, steps: Mapping[str, float]) -> None:
        """See BuildStatistics."""
        day = failure.day
        self._faults[day][failure.fault] += 1
        self._failures[day][failure.encoded()] += 1
        self._failures[day] = _trimmed(self._failures[day], FAILURES_KEPT)
        self._count_ended(failure.hour, failure.fault, failure.code, steps)

    def _count_ended(
        self, hour: str, outcome: str, code: str | None, seconds: Mapping[str, float]
    ) -> None:
        self._ended.update(dict(increments(outcome, code, seconds)))
        self._hours[hour][outcome] += 1

    def _counts(self, day: date) -> DayCounts:
        return DayCounts(
            **{
                name: self._totals[day][name]
                for name in ("requests", "cache_hits", "builds", "milliseconds")
            },
            failures=dict(self._faults[day]),
            versions=dict(self._versions[day]),
            durations=dict(self._durations[day]),
        )


def _ascending(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return names and counts in the order of a sorted set: by count, then by name."""
    return sorted(counts.items(), key=lambda entry: (entry[1], entry[0]))


def _trimmed(counts: Counter[str], most: int) -> Counter[str]:
    return Counter(dict(_ascending(counts)[-most:]))
