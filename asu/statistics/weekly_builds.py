"""The finished builds of each version, week by week, and the chart of them."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date

from asu.resolution import InvalidVersionError, Version

from .build_statistics import DayCounts, week_of
from .figure_shapes import Series, WeekChart


def builds_by_week(
    days: Mapping[date, DayCounts], weeks: Sequence[date]
) -> dict[Version, list[int]]:
    """Return how many builds of each version were finished in each week (its Monday).

    Skip a name that is no version: a worker of a later release may build what this one cannot name.
    """
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
