"""What is counted of builds, and how a failed build is written down without anything personal.

What is kept is bounded, so invented names cannot fill the memory of Redis (docs/decisions/0024).
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self

KEPT_DAYS = 200  # 182 are shown; the rest allows for a wrong clock and a week that has begun.
PACKAGES_KEPT = 2_000  # Names in a week; 5 MB of Redis for all weeks together.
BRANCH_PACKAGES_KEPT = 500  # Of each branch in a week besides; a megabyte for all weeks together.
PACKAGES_READ = 300  # The most frequent ones of a week; three times as many as are ever shown.
FAILURES_KEPT = 100  # Different ones of a day; two weeks of them are read in milliseconds.
HOURS_SHOWN = 24
HOURS_DAYS = 2  # In which they lie.
FAILURE_DAYS = 14  # Older failures describe software that has been mended since.
DURATION_STEP = 1.1  # A median is right to 5 %, with a hundred fields at most.
SHORTEST = 0.001  # Seconds; zero has no logarithm.


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCounts:
    """The counts of one day: `failures` by fault; all others are of finished builds.

    The keys of `durations` are steps (`duration_step`).
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

    def encoded(self) -> str:
        """Return the failure as JSON that begins with the hour.

        Where counts are equal, Redis sorts by the text, so trimming removes the oldest.
        """
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def decoded(cls, text: str | bytes) -> Self:
        """Read what `encoded` wrote, and skip fields of a later release; raises ValueError."""
        fields = json.loads(text)
        names = ("hour", "code", "fault", "version", "target", "profile")
        texts = _texts(fields, names)
        problems = fields.get("problems", [])
        if not isinstance(problems, list):
            raise ValueError("problems is not a list")  # noqa: TRY004 -- as in _texts.
        named = (_texts(problem, ("kind", "package")) for problem in problems)
        return cls(**texts, problems=tuple(Problem(**each) for each in named))


def failures_of(entries: Iterable[tuple[str | bytes, float]]) -> list[tuple[Failure, int]]:
    """Return each failure once with its count; entries that cannot be read are left out."""
    counts = Counter[Failure]()
    for text, count in entries:
        with suppress(ValueError, OverflowError):
            counts[Failure.decoded(text)] += int(count)
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


def _texts(fields: Any, names: Iterable[str]) -> dict[str, str]:
    """Return texts of a JSON object; raises ValueError."""
    try:
        texts: dict[str, str] = {name: fields[name] for name in names}
    except (KeyError, TypeError):
        texts = {}
    if not texts or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("a text is missing")
    return texts
