"""What is counted, and what the counts are kept as; the figures that people see are made of them in `figures`.

    asu:statistics:day:2026-10-26        hash of a UTC day: `requests`, `cache_hits`, `builds`, `milliseconds` (all builds together),
                                         `fault:NAME`, `version:NAME` (builds), `took:STEP` (builds
                                         by their duration)
    asu:statistics:packages:2026-10-26   sorted set of the week that begins on this Monday: package → finished builds that asked for it
    asu:statistics:failures:2026-10-26   sorted set of a day: a failure without anything personal, as JSON → how often it was seen
    asu:statistics:counted:NONCE         that an event was counted, for a minute: who did not hear of it asks again, and nothing is counted twice

Beside these stand the hashes of `build_totals`. Every key but the totals ends by itself, and what
stands in one is bounded: versions are those that were built, packages those of finished builds, and
the two sorted sets are trimmed. So nobody can fill the memory of Redis with invented names.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol, Self

from .build_totals import BuildTotals

PREFIX = "asu:statistics:"
# Half a year of weeks is shown, 182 days; the rest is for a clock that is wrong and a week that has
# begun.
KEPT_DAYS = 200
# Names of a week; a quarter of all that OpenWrt has, and 5 MB of Redis for all weeks together.
PACKAGES_KEPT = 2_000
PACKAGES_READ = 300  # The most frequent ones of a week; three times as many as are ever told.
# Different ones of a day; as many as are told, and few enough to read two weeks of them in
# milliseconds.
FAILURES_KEPT = 100
HOURS_DAYS = 2  # Hours are shown of the last day, which lies in two of them.
FAILURE_DAYS = 14  # Older failures tell of software that has been mended since.
# Durations are counted in steps of a tenth, so a median is right to 5 %, in a hundred fields at
# most.
DURATION_STEP = 1.1
SHORTEST = 0.001  # Seconds; a duration has a logarithm only above nothing.


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCounts:
    """What happened in one day; `failures` by fault, `versions` and `durations` (by step, see `duration_step`) of finished builds."""

    requests: int = 0
    cache_hits: int = 0
    builds: int = 0
    milliseconds: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    durations: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedBuild:
    """A build that ended well at `at` (UTC) after `seconds`; `packages` are the names that were asked for beyond the device's own.

    `steps` are the seconds that each of make's commands took.
    """

    at: datetime
    version: str
    seconds: float
    packages: frozenset[str]
    steps: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """Why a selection of packages cannot be: the kind of the problem, and the package that has it."""

    kind: str
    package: str

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Return the problem that a JSON object tells of, whatever else stands there; raises ValueError if it tells of none."""
        return cls(kind=_text(fields, "kind"), package=_text(fields, "package"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed build without anything that tells whose it was: `hour` is the time, rounded down (2026-10-26T13:00:00Z)."""

    hour: str
    code: str
    fault: str
    version: str
    target: str
    profile: str
    problems: tuple[Problem, ...] = ()

    @property
    def day(self) -> date:
        """The day of the failure."""
        return date.fromisoformat(self.hour[:10])

    def encoded(self) -> str:
        """Return the failure as JSON that begins with the hour: where counts are equal, Redis sorts by it, and trims the oldest."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def decoded(cls, text: str | bytes) -> Self:
        """Read what `encoded` wrote, in this release or a later one, whose further fields are passed over; raises ValueError for all else."""
        fields = json.loads(text)
        problems = fields.get("problems", []) if isinstance(fields, dict) else None
        if not isinstance(problems, list):
            raise ValueError("not a failure")  # noqa: TRY004 -- as in _text.
        names = ("hour", "code", "fault", "version", "target", "profile")
        return cls(
            **{name: _text(fields, name) for name in names},
            problems=tuple(Problem.of(problem) for problem in problems),
        )


class Statistics(Protocol):
    """The API's side: it counts requests and reads everything; each call is one round trip and raises QueueUnavailable."""

    async def add_requests(self, day: date, *, requests: int, cache_hits: int) -> None:
        """Add to the counts of a day."""

    async def days(self, days: Sequence[date]) -> list[DayCounts]:
        """Return what happened in each of the days."""

    async def packages(self, weeks: Sequence[date]) -> dict[str, int]:
        """Return the most frequent packages of the weeks that begin on these days, in no order; counts of a name are summed."""

    async def failures(self, days: Sequence[date]) -> list[tuple[Failure, int]]:
        """Return the failures of the days in no order, each once with how often it was seen."""

    async def totals(self) -> BuildTotals:
        """Return what workers have counted since counting began."""

    async def hours(self, days: Sequence[date]) -> dict[str, dict[str, int]]:
        """Return how many builds ended in each hour of the days, by outcome; an hour in which none did is left out."""


class BuildStatistics(Protocol):
    """The worker's side: it counts outcomes; each call is one round trip and raises QueueUnavailable."""

    def add_finished(self, build: FinishedBuild) -> None:
        """Count a build that ended well."""

    def add_failure(self, failure: Failure, steps: Mapping[str, float]) -> None:
        """Count a build that failed, and the seconds that each of make's commands took until then."""


def failures_of(entries: Iterable[tuple[str | bytes, float]]) -> list[tuple[Failure, int]]:
    """Return each failure once with how often it was seen; those that are equal but for what a later release adds are one.

    What cannot be read is left out: one odd record of a worker in another release must not cost
    people all the others.
    """
    counts: dict[Failure, int] = {}
    for text, count in entries:
        try:
            failure = Failure.decoded(text)
        except ValueError:
            continue
        counts[failure] = counts.get(failure, 0) + int(count)
    return list(counts.items())


def today() -> date:
    """Return the day that it is in UTC."""
    return datetime.now(UTC).date()


def days_up_to(day: date, count: int) -> list[date]:
    """Return as many days, of which `day` is the last."""
    return [day - timedelta(days=back) for back in reversed(range(count))]


def week_of(day: date) -> date:
    """Return the Monday of a day's week."""
    return day - timedelta(days=day.weekday())


def weeks_up_to(day: date, count: int) -> list[date]:
    """Return the Mondays of as many weeks, of which `day` lies in the last."""
    return [week_of(day) - timedelta(weeks=back) for back in reversed(range(count))]


def hour_of(at: datetime) -> str:
    """Return a time (UTC), rounded down to its hour."""
    return at.strftime("%Y-%m-%dT%H:00:00Z")


def duration_step(seconds: float) -> int:
    """Return the step that a duration is counted in."""
    return round(math.log(max(seconds, SHORTEST), DURATION_STEP))


def seconds_of(step: int) -> float:
    """Return the middle of a step, in seconds."""
    return DURATION_STEP**step


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name) if isinstance(fields, dict) else None
    if not isinstance(value, str):
        raise ValueError(f"no {name}")  # noqa: TRY004 -- it came from JSON, so its value is wrong, not the caller's type.
    return value
