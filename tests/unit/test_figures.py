"""The figures that are made of the counts: totals, days, weeks, packages, failures; and that many
readers cost one reading.
"""

import asyncio
import threading
from collections.abc import ItemsView, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from asu.catalogue.public_names import PublicNames
from asu.errors import QueueUnavailable
from asu.resolution import Gatherer
from asu.statistics.build_statistics import (
    KEPT_DAYS,
    DayCounts,
    Failure,
    FinishedBuild,
    Problem,
    days_up_to,
    duration_step,
    seconds_of,
    today,
)
from asu.statistics.figure_shapes import BuildSeconds, Failures, Forecasts, QueueFigures, WeekChart
from asu.statistics.figures import (
    DAYS_SHOWN,
    FAILURES_SHOWN,
    WEEKS_SHOWN,
    Figures,
    add_up,
    figures_of_days,
    newest,
    per_day,
    summarise,
    week_chart,
)
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.imitated_statistics import ImitatedStatistics
from tests.twins.memory_fleet import MemoryFleet
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import indexed

pytestmark = pytest.mark.anyio

NOW = QueueFigures(queue_length=3, builds_running=2, workers_alive=4)
FORESEEN = Forecasts(agrees=9, differs=1, false_problem=0, missed_problem=0, unknown=2)
WEDNESDAY = date(2026, 10, 28)
FAILURE = Failure(
    hour="2026-10-27T12:00:00Z",
    code="image-too-big",
    fault="user",
    version="24.10.4",
    target="ath79/generic",
    profile="a",
)


VIM = Problem(kind="conflict", package="vim")


class WatchedStatistics(ImitatedStatistics):
    """Statistics that count how often they are read, and that can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = 0
        self.is_away = False

    async def days(self, days: Sequence[date]) -> list[DayCounts]:
        """See RedisStatistics."""
        await self._note()
        return await super().days(days)

    async def packages(self, weeks: Sequence[date], branch: str | None = None) -> dict[str, int]:
        """See RedisStatistics."""
        await self._note()
        return await super().packages(weeks, branch)

    async def failures(self, days: Sequence[date]) -> list[tuple[Failure, int]]:
        """See RedisStatistics."""
        await self._note()
        return await super().failures(days)

    async def _note(self) -> None:
        self.readings += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise QueueUnavailable


class NotingStatistics(ImitatedStatistics):
    """Statistics whose counts note the threads in which somebody goes through them."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    async def days(self, days: Sequence[date]) -> list[DayCounts]:
        """See RedisStatistics."""
        return [DayCounts(versions=NotingCounts(self.threads, {"24.10.4": 1})) for _ in days]

    async def packages(self, weeks: Sequence[date], branch: str | None = None) -> dict[str, int]:  # noqa: ARG002
        """See RedisStatistics."""
        return NotingCounts(self.threads, {"vim": len(weeks)})

    async def failures(self, days: Sequence[date]) -> list[tuple[Failure, int]]:
        """See RedisStatistics."""
        return NotingList(self.threads, [(FAILURE, len(days))])


class NotingCounts(dict[str, int]):
    """Counts that note in which threads they are gone through."""

    def __init__(self, threads: set[int], counts: dict[str, int]) -> None:
        super().__init__(counts)
        self.threads = threads

    # dict's own view is a class that nobody can name.
    def items(self) -> ItemsView[str, int]:  # type: ignore[override]
        """Return the counts as dict does."""
        self.threads.add(threading.get_ident())
        return super().items()


class NotingList(list[tuple[Failure, int]]):
    """Failures that note in which threads they are gone through."""

    def __init__(self, threads: set[int], entries: list[tuple[Failure, int]]) -> None:
        super().__init__(entries)
        self.threads = threads

    def __iter__(self) -> Iterator[tuple[Failure, int]]:
        """Return the failures as list does."""
        self.threads.add(threading.get_ident())
        return super().__iter__()


def counted(days: dict[date, DayCounts], last: date = WEDNESDAY) -> dict[date, DayCounts]:
    """Return as many days as are kept, with counts in some."""
    return {day: days.get(day, DayCounts()) for day in days_up_to(last, KEPT_DAYS)}


def weeks_of(days: dict[date, DayCounts], branch: str | None = None) -> WeekChart:
    """Return the chart of the weeks up to the last day."""
    figures = figures_of_days(counted(days), {})
    return week_chart(figures.weeks, figures.versions, branch)


def figures_of(statistics: ImitatedStatistics) -> Figures:
    """Return the figures of an idle server."""
    upstream = MemoryUpstream(indexed("htop", "luci", "nano", "vim"))
    return Figures(
        statistics=statistics,
        records=ImitatedRecords(),
        fleet=MemoryFleet(workers=1),
        public_names=PublicNames(Gatherer(upstream)),
    )


def test_totals() -> None:
    """All days together; since when there is anything to count; how long builds take."""
    days = {
        date(2026, 9, 1): DayCounts(requests=10, cache_hits=2, failures={"infra": 1}),
        date(2026, 10, 28): DayCounts(
            requests=20,
            cache_hits=8,
            versions={"24.10.4": 3},
            milliseconds=93_000,
            failures={"user": 2, "infra": 1},
            durations={duration_step(30.0): 3},
        ),
    }

    totals = summarise(add_up(counted(days)), NOW, 7, FORESEEN)

    assert (totals.since, totals.days_kept) == (date(2026, 9, 1), KEPT_DAYS)
    assert (totals.requests, totals.cache_hits, totals.cache_hit_ratio, totals.builds) == (
        30,
        10,
        0.3333,
        3,
    )
    assert totals.failures == Failures(user=2, upstream=0, infra=2)
    assert totals.build_seconds.mean == 31.0
    assert (totals.queue_length, totals.builds_running, totals.workers_alive) == (3, 2, 4)
    assert totals.builds_24h == 7
    assert totals.forecasts == FORESEEN


def test_totals_of_nothing() -> None:
    """A new server has no ratio, no duration and no beginning, rather than a division by zero."""
    totals = summarise(add_up(counted({})), NOW, 0, FORESEEN)

    assert (totals.since, totals.cache_hit_ratio, totals.build_seconds) == (
        None,
        None,
        BuildSeconds(median=None, mean=None),
    )


@pytest.mark.parametrize("seconds", [0.4, 3.0, 61.5, 700.0])
def test_a_median_is_right_to_five_per_cent(seconds: float) -> None:
    """Durations are counted in steps, whose middles lie no further away."""
    assert seconds_of(duration_step(seconds)) == pytest.approx(seconds, rel=0.05)


def test_the_median_is_in_the_middle() -> None:
    """A few very long builds do not move it."""
    durations = {duration_step(10.0): 2, duration_step(30.0): 3, duration_step(900.0): 2}

    median = add_up(
        counted({WEDNESDAY: DayCounts(versions={"24.10.4": 7}, durations=durations)})
    ).build_seconds.median

    assert median == pytest.approx(30.0, rel=0.05)


def test_each_of_thirty_days() -> None:
    """Every day is there, today last, in the shape of the reference server; older days are not."""
    days = {
        WEDNESDAY: DayCounts(
            requests=7, cache_hits=3, versions={"24.10.4": 2}, failures={"user": 1, "upstream": 1}
        ),
        WEDNESDAY - timedelta(days=29): DayCounts(requests=1),
        WEDNESDAY - timedelta(days=30): DayCounts(requests=99),
    }

    chart = per_day(counted(days))

    assert (len(chart.labels), chart.labels[0], chart.labels[-1]) == (
        DAYS_SHOWN,
        "2026-09-29Z",
        "2026-10-28Z",
    )
    shown = {
        series.label: (series.data[0], sum(series.data[1:-1]), series.data[-1], series.color)
        for series in chart.datasets
    }
    assert shown == {
        "Requests": (1, 0, 7, "green"),
        "Cache-Hits": (0, 0, 3, "orange"),
        "Failures": (0, 0, 2, "red"),
        "Builds": (0, 0, 2, "blue"),
    }


VERSIONS = {
    WEDNESDAY: DayCounts(versions={"24.10.4": 2, "24.10.10": 1, "SNAPSHOT": 1}),
    date(2026, 10, 26): DayCounts(versions={"24.10.4": 1, "25.12.0": 5}),
    date(2026, 10, 25): DayCounts(versions={"24.10.4": 1}),  # The Sunday before.
    date(2026, 4, 30): DayCounts(versions={"23.05.5": 9}),  # More than 26 weeks ago.
}


def test_weeks_by_branch() -> None:
    """One dataset for each branch that was built, oldest first, in weeks that begin on Monday."""
    chart = weeks_of(VERSIONS)

    assert (len(chart.labels), chart.labels[-2:]) == (WEEKS_SHOWN, ["2026-10-19Z", "2026-10-26Z"])
    assert [
        (series.label, series.data[-2:], sum(series.data[:-2])) for series in chart.datasets
    ] == [
        ("24.10", [1, 4], 0),
        ("25.12", [0, 5], 0),
        ("SNAPSHOT", [0, 1], 0),
    ]


def test_weeks_by_version_of_a_branch() -> None:
    """Versions sort as numbers; other branches stay away, and a branch that nobody builds has
    none.
    """
    chart = weeks_of(VERSIONS, "24.10")

    assert [(series.label, series.data[-2:]) for series in chart.datasets] == [
        ("24.10.4", [1, 3]),
        ("24.10.10", [0, 1]),
    ]
    assert weeks_of(VERSIONS, "19.07").datasets == []


def test_what_is_no_version_is_passed_over() -> None:
    """A worker of a later release may build what this one cannot name."""
    chart = weeks_of({WEDNESDAY: DayCounts(versions={"next": 1, "24.10.4": 2})})

    assert [(series.label, series.data[-1]) for series in chart.datasets] == [("24.10", 2)]


def test_failures_newest_first() -> None:
    """The hour decides, then how often; only the last hundred are told."""
    older = replace(FAILURE, hour="2026-10-26T23:00:00Z")
    frequent = replace(FAILURE, profile="b")

    assert [
        (entry.time, entry.profile, entry.count)
        for entry in newest([(older, 9), (FAILURE, 1), (frequent, 2)], ())
    ] == [
        ("2026-10-27T12:00:00Z", "b", 2),
        ("2026-10-27T12:00:00Z", "a", 1),
        ("2026-10-26T23:00:00Z", "a", 9),
    ]
    assert (
        len(
            newest(
                [
                    (replace(FAILURE, profile=str(number)), 1)
                    for number in range(FAILURES_SHOWN + 1)
                ],
                (),
            )
        )
        == FAILURES_SHOWN
    )


def test_a_package_that_is_not_public_is_left_out_of_a_failure() -> None:
    """Failures that differ only in such names are one."""
    failures = [
        replace(FAILURE, problems=(Problem(kind="missing", package=package), VIM))
        for package in ("my-vpn-of-client-x", "x" * 128)
    ]

    [entry] = newest([(failure, 2) for failure in failures], {"vim"})

    assert (entry.problems, entry.count) == ([VIM], 4)


async def test_a_package_that_no_official_index_holds_is_not_shown() -> None:
    """Neither among the most frequent ones nor in a failure; without an index none is public."""
    statistics = ImitatedStatistics()
    statistics.add_finished(
        FinishedBuild(
            at=datetime.now(UTC),
            version="24.10.4",
            seconds=1.0,
            packages=frozenset({"vim", "my-vpn-of-client-x"}),
        )
    )
    lost = PublicNames(Gatherer(MemoryUpstream({})))

    assert [entry.name for entry in await figures_of(statistics).top_packages(9)] == ["vim"]
    assert await lost.among({"vim"}) == frozenset()


async def test_the_most_frequent_packages_of_a_branch() -> None:
    """Builds of other branches do not count, and a branch that nobody builds has none."""
    statistics = ImitatedStatistics()
    for version, packages in (("24.10.4", {"vim", "luci"}), ("25.12.0", {"nano", "vim"})):
        statistics.add_finished(
            FinishedBuild(
                at=datetime.now(UTC), version=version, seconds=1.0, packages=frozenset(packages)
            )
        )
    figures = figures_of(statistics)

    assert [entry.name for entry in await figures.top_packages(9, "25.12")] == ["nano", "vim"]
    assert await figures.top_packages(9, "19.07") == []


async def test_the_most_frequent_packages_come_first() -> None:
    """Equal ones by name, and not more than were asked for."""
    statistics = ImitatedStatistics()
    for packages in ({"vim", "luci", "nano"}, {"vim", "htop"}, {"luci", "vim"}):
        statistics.add_finished(
            FinishedBuild(
                at=datetime.now(UTC), version="24.10.4", seconds=1.0, packages=frozenset(packages)
            )
        )

    ranked = await figures_of(statistics).top_packages(3)

    assert [(entry.name, entry.count) for entry in ranked] == [("vim", 3), ("luci", 2), ("htop", 1)]


async def test_many_readers_cost_one_reading() -> None:
    """Those who come at once share it, and those who come within seconds get what it brought."""
    statistics = WatchedStatistics()
    figures = figures_of(statistics)
    await statistics.add_requests(today(), requests=5, cache_hits=0)

    asked: list[Any] = [
        read()
        for _ in range(50)
        for read in (figures.summary, figures.builds_per_day, figures.builds_by_version)
    ]
    await asyncio.gather(*asked)
    await statistics.add_requests(today(), requests=5, cache_hits=0)

    assert ((await figures.summary()).requests, statistics.readings) == (5, 1)


async def test_a_reading_that_failed_is_not_kept() -> None:
    """Everybody who waited is told; as soon as Redis is back, so are the figures."""
    statistics = WatchedStatistics()
    figures = figures_of(statistics)
    statistics.is_away = True
    failed = await asyncio.gather(
        *(figures.builds_per_day() for _ in range(3)), return_exceptions=True
    )
    statistics.is_away = False

    assert [type(error) for error in failed] == [QueueUnavailable] * 3
    assert len((await figures.builds_per_day()).labels) == DAYS_SHOWN


async def test_whoever_hangs_up_does_not_end_the_reading() -> None:
    """A browser that is closed costs the others nothing."""
    figures = figures_of(WatchedStatistics())
    first = asyncio.create_task(figures.summary())
    second = asyncio.create_task(figures.summary())
    await asyncio.sleep(0)
    first.cancel()

    assert (await second).requests == 0


@pytest.mark.parametrize(
    "figure", ["summary", "builds_per_day", "builds_by_version", "packages", "build_errors"]
)
async def test_counts_are_gone_through_beside_the_event_loop(figure: str) -> None:
    """Half a year takes tens of milliseconds, for which no poll has to wait."""
    statistics = NotingStatistics()
    figures = figures_of(statistics)

    await (figures.top_packages(1) if figure == "packages" else getattr(figures, figure)())

    assert statistics.threads
    assert threading.get_ident() not in statistics.threads


async def test_versions_of_a_branch_are_kept_with_the_days() -> None:
    """Whoever asks for a branch, even one that nobody builds, goes through no count again."""
    statistics = NotingStatistics()
    figures = figures_of(statistics)
    await figures.builds_by_version()
    statistics.threads.clear()

    charts = [await figures.builds_by_version(branch) for branch in ("24.10", "19.07")]

    assert [[series.label for series in chart.datasets] for chart in charts] == [["24.10.4"], []]
    assert [len(chart.labels) for chart in charts] == [WEEKS_SHOWN, WEEKS_SHOWN]
    assert statistics.threads == set()
