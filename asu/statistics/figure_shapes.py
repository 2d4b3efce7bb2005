"""The shapes of the figures as the API and the pages show them; the field names are the contract.

Days are those of UTC, written YYYY-MM-DDZ, and weeks begin on Monday.
"""

from dataclasses import dataclass
from datetime import date

from .build_statistics import Problem


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
    """How long a finished build took, from its start by a worker; None while there was none.

    The median is right to 5 %.
    """

    median: float | None
    mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Totals of all days that are kept; `since` is the first of them with a count.

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
class Forecasts:
    """How many forecasts of asu-prepare the builds agreed with.

    `differs`: other packages were installed. `false_problem`: the build succeeded nevertheless.
    `missed_problem`: its packages could not be installed. `unknown`: there was no forecast.
    """

    agrees: int
    differs: int
    false_problem: int
    missed_problem: int
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Totals):
    """The totals, and how busy the server is; `builds_24h` were finished in the last 24 hours."""

    builds_24h: int
    forecasts: Forecasts
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
    """How many finished builds requested a package that the device does not have by default."""

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
