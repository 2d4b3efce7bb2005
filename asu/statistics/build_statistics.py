"""What is counted of builds, and how a failed build is written down without anything personal.

`redis_statistics` keeps the counts and `figures` makes of them what people see. What is kept is
bounded: versions are those that were built, packages those of finished builds, and the two sorted
sets are trimmed. So invented names cannot fill the memory of Redis.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self

# Half a year of weeks is shown, 182 days; the rest allows for a clock that is wrong and a week that
# has begun.
KEPT_DAYS = 200
# Names in a week: a quarter of all that OpenWrt has, and 5 MB of Redis for all weeks together.
PACKAGES_KEPT = 2_000
BRANCH_PACKAGES_KEPT = 500  # Of each branch in a week besides; a megabyte for all weeks together.
PACKAGES_READ = 300  # The most frequent ones of a week; three times as many as are ever shown.
# Different ones of a day: as many as are shown, and few enough to read two weeks in milliseconds.
FAILURES_KEPT = 100
HOURS_SHOWN = 24
HOURS_DAYS = 2  # In which they lie.
FAILURE_DAYS = 14  # Older failures describe software that has been mended since.
# Durations are counted in steps of a tenth: a median is right to 5 % with a hundred fields at most.
DURATION_STEP = 1.1
SHORTEST = 0.001  # Seconds; zero has no logarithm.


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCounts:
    """The counts of one day: `failures` by fault, `versions` and `durations` of finished builds.

    `milliseconds` are of all finished builds; the keys of `durations` are steps (`duration_step`).
    """

    requests: int = 0
    cache_hits: int = 0
    milliseconds: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)
    durations: Mapping[int, int] = field(default_factory=dict)

    @property
    def builds(self) -> int:
        """The finished builds of all versions."""
        return sum(self.versions.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedBuild:
    """A build that succeeded at `at` (UTC) after `seconds`.

    `packages` are the names that were requested beyond the device's defaults; `steps` the seconds
    that each of make's commands took.
    """

    at: datetime
    version: str
    seconds: float
    packages: frozenset[str]
    steps: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Problem:
    """Why a selection of packages is impossible: the kind of the problem, and the package."""

    kind: str
    package: str

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Return the problem in a JSON object, without other keys; raises ValueError."""
        return cls(kind=_text(fields, "kind"), package=_text(fields, "package"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed build, without anything personal.

    `hour` is the time, rounded down: 2026-10-26T13:00:00Z.
    """

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
        """Return the failure as JSON that begins with the hour.

        Where counts are equal, Redis sorts by the text, so trimming removes the oldest.
        """
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def decoded(cls, text: str | bytes) -> Self:
        """Read what `encoded` wrote, and skip fields of a later release; raises ValueError."""
        fields = json.loads(text)
        problems = fields.get("problems", []) if isinstance(fields, dict) else None
        if not isinstance(problems, list):
            raise ValueError("not a failure")  # noqa: TRY004 -- as in _text.
        names = ("hour", "code", "fault", "version", "target", "profile")
        return cls(
            **{name: _text(fields, name) for name in names},
            problems=tuple(Problem.of(problem) for problem in problems),
        )


def failures_of(entries: Iterable[tuple[str | bytes, float]]) -> list[tuple[Failure, int]]:
    """Return each failure once with its count.

    Entries that differ only in fields of a later release are one failure. Entries that cannot be
    read are left out, so that one odd record does not hide the others.
    """
    counts: dict[Failure, int] = {}
    for text, count in entries:
        try:
            failure = Failure.decoded(text)
            counts[failure] = counts.get(failure, 0) + int(count)
        except (ValueError, OverflowError):
            continue
    return list(counts.items())


def today() -> date:
    """Return the current day in UTC."""
    return datetime.now(UTC).date()


def days_up_to(day: date, count: int) -> list[date]:
    """Return `count` days, of which `day` is the last."""
    return [day - timedelta(days=back) for back in reversed(range(count))]


def week_of(day: date) -> date:
    """Return the Monday of a day's week."""
    return day - timedelta(days=day.weekday())


def weeks_up_to(day: date, count: int) -> list[date]:
    """Return the Mondays of `count` weeks, of which `day` lies in the last."""
    return [week_of(day) - timedelta(weeks=back) for back in reversed(range(count))]


def hour_of(at: datetime) -> str:
    """Return a time (UTC), rounded down to its hour."""
    return at.strftime("%Y-%m-%dT%H:00:00Z")


def hours_up_to(at: datetime, count: int) -> list[str]:
    """Return `count` hours, the newest first, of which `at` lies in the first."""
    return [hour_of(at - timedelta(hours=back)) for back in range(count)]


def duration_step(seconds: float) -> int:
    """Return the step that a duration is counted in."""
    return round(math.log(max(seconds, SHORTEST), DURATION_STEP))


def seconds_of(step: int) -> float:
    """Return the middle of a step, in seconds."""
    return DURATION_STEP**step


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name) if isinstance(fields, dict) else None
    if not isinstance(value, str):
        raise ValueError(f"no {name}")  # noqa: TRY004 -- JSON with a wrong value, not a wrong call.
    return value
