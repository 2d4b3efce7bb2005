"""The finished builds of each version, week by week."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date

from asu.resolution import InvalidVersionError, Version

from .build_statistics import DayCounts, week_of


def builds_by_week(
    days: Mapping[date, DayCounts], weeks: Sequence[date]
) -> dict[Version, list[int]]:
    """Return how many builds of each version were finished in each of the weeks, which are told by their Mondays.

    A name that is no version is passed over: a worker of a later release may build what this one
    cannot name.
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
