"""What the pages for people say, made of the figures: text, tables and charts, all drawn by the server."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from asu.caching import TtlCache
from asu.statistics.figure_shapes import (
    DayChart,
    FailureCount,
    PackageCount,
    QueueFigures,
    Summary,
    WeekChart,
)
from asu.statistics.figures import KEPT_SECONDS, Figures

from .charts import Curve, bar, line_chart, stacked_chart
from .markup import Html, element, fill, joined

PACKAGES_LISTED = 25
STYLES = 8  # Colours that can be told apart; older branches or versions than that share one curve.
DAY_STYLES = {
    "Requests": "green",
    "Cache-Hits": "orange dash1",
    "Failures": "red dash2",
    "Builds": "blue dash3",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsFigures:
    """All that the page of statistics shows; `branch` is the one whose versions `weeks` tells of, None for all branches."""

    summary: Summary
    days: DayChart
    weeks: WeekChart
    branches: Sequence[str]
    branch: str | None
    packages: Sequence[PackageCount]
    failures: Sequence[FailureCount]


class StatsPages:
    """Draws the page of statistics, at most once in some seconds for each branch, whoever asks."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures
        # As many as there are branches that were built.
        self._contents = TtlCache[str | None, Html](KEPT_SECONDS)

    async def content(self, branch: str | None) -> Html:
        """Return the content of the page: of one branch its versions, where there is anything of it; raises QueueUnavailable."""
        wanted = branch if branch in await self._branches() else None
        return await self._contents.fetch(wanted, lambda: self._draw(wanted))

    async def _draw(self, branch: str | None) -> Html:
        figures = self._figures
        shown = StatsFigures(
            summary=await figures.summary(),
            days=await figures.builds_per_day(),
            weeks=await figures.builds_by_version(branch),
            branches=await self._branches(),
            branch=branch,
            packages=await figures.top_packages(PACKAGES_LISTED),
            failures=await figures.build_errors(),
        )
        # It takes tens of milliseconds, for which no poll has to wait.
        return await asyncio.to_thread(stats_content, shown)

    async def _branches(self) -> list[str]:
        return [series.label for series in (await self._figures.builds_by_version()).datasets]


def busy_section(now: QueueFigures) -> Html:
    """Say how busy the server is."""
    return fill(
        "busy.html",
        figures=cards(queue_cards(now.queue_length, now.builds_running, now.workers_alive)),
    )


def stats_content(figures: StatsFigures) -> Html:
    """Return the content of the page of statistics."""
    since = figures.summary.since
    return fill(
        "stats.html",
        since=f"Counted since {since}; {figures.summary.days_kept} days are kept."
        if since
        else "Nothing has been counted yet.",
        figures=cards(_total_cards(figures.summary)),
        days=_days(figures.days),
        series="version" if figures.branch else "branch",
        branches=_branch_links(figures.branches, figures.branch),
        weeks=_weeks(figures.weeks),
        packages=_packages(figures.packages),
        failures=_failures(figures.failures),
    )


def queue_cards(waiting: int, running: int, workers: int) -> Iterable[tuple[str, str, str]]:
    """Yield name, value and note of the cards that tell how busy the server is."""
    yield "Builds that wait", f"{waiting:,}", ""
    yield "Builds that run", f"{running:,}", ""
    yield "Workers alive", f"{workers:,}", "" if workers else "builds wait until one starts"


def _total_cards(summary: Summary) -> Iterable[tuple[str, str, str]]:
    failures, took = summary.failures, summary.build_seconds
    share = (
        f"{summary.cache_hit_ratio:.0%} of the requests"
        if summary.cache_hit_ratio is not None
        else ""
    )
    yield "Requests", f"{summary.requests:,}", ""
    yield "Image was there already", f"{summary.cache_hits:,}", share
    yield "Finished builds", f"{summary.builds:,}", ""
    # OpenWrt's, and those of feeds.
    upstream = f"{failures.upstream:,} by the servers that packages come from"
    by_fault = (
        f"{failures.user:,} by their selection, {upstream}, {failures.infra:,} by this server"
    )
    yield "Failed builds", f"{failures.user + failures.upstream + failures.infra:,}", by_fault
    if took.median is not None and took.mean is not None:
        yield "A build takes", duration(took.median), f"median; {duration(took.mean)} on average"
    yield from queue_cards(summary.queue_length, summary.builds_running, summary.workers_alive)


def cards(shown: Iterable[tuple[str, str, str]]) -> Html:
    """Return cards with a name, a value and a note."""
    return joined(
        element(
            "div",
            joined(
                [
                    element("dt", name),
                    element("dd", joined([value, element("small", note)] if note else [value])),
                ]
            ),
        )
        for name, value, note in shown
    )


def _days(chart: DayChart) -> Html:
    curves = [
        Curve(label=series.label, data=series.data, style=DAY_STYLES[series.label])
        for series in chart.datasets
    ]
    return joined(
        [
            line_chart("Line chart; the table below has the numbers", chart.labels, curves),
            _numbers("Day", chart.labels, curves),
        ]
    )


def _weeks(chart: WeekChart) -> Html:
    if not chart.datasets:
        return element("p", "None was finished.")
    series = [(entry.label, entry.data) for entry in chart.datasets]
    older, shown = series[: -STYLES + 1], series[-STYLES + 1 :]
    if len(series) <= STYLES:
        older, shown = [], series
    elif older:
        shown = [
            ("older", [sum(values) for values in zip(*(data for _, data in older), strict=True)]),
            *shown,
        ]
    curves = [
        Curve(label=label, data=data, style=f"s{place}")
        for place, (label, data) in enumerate(shown)
    ]
    return joined(
        [
            stacked_chart("Column chart; the table below has the numbers", chart.labels, curves),
            _numbers("Week", chart.labels, curves),
        ]
    )


def _branch_links(branches: Sequence[str], current: str | None) -> Html:
    if not branches:
        return Html()
    links = [_branch_link("All branches", "/stats", is_current=current is None)]
    links += [
        _branch_link(branch, f"/stats?branch={branch}#weeks", is_current=branch == current)
        for branch in branches
    ]
    return element("nav", joined(links), class_="branches", aria_label="Branches")


def _branch_link(name: str, address: str, *, is_current: bool) -> Html:
    return (
        element("a", name, href=address, aria_current="page")
        if is_current
        else element("a", name, href=address)
    )


def _packages(packages: Sequence[PackageCount]) -> Html:
    if not packages:
        return element("p", "None was asked for.")
    longest = packages[0].count
    rows = [
        [
            head(entry.name),
            number(entry.count),
            element("td", bar(entry.count, longest), class_="bar"),
        ]
        for entry in packages
    ]
    return table("Packages", ["Package", "#Builds", ""], rows)


def _failures(failures: Sequence[FailureCount]) -> Html:
    if not failures:
        return element("p", "None failed.")
    rows = (
        [
            element("td", entry.time.replace("T", " ")[:16], class_="time"),
            element("td", joined([element("code", entry.code), f" ({entry.fault})"])),
            element("td", f"{entry.version}, {entry.target}, {entry.profile}"),
            element(
                "td", ", ".join(f"{problem.package} ({problem.kind})" for problem in entry.problems)
            ),
            number(entry.count),
        ]
        for entry in failures
    )
    return table("Failed builds", ["Hour", "Reason", "Device", "Packages", "#Count"], rows)


def _numbers(what: str, labels: Sequence[str], curves: Sequence[Curve]) -> Html:
    """Return the numbers of a chart as a table that can be opened, newest first."""
    rows = [
        [head(label.rstrip("Z")), *(number(curve.data[place]) for curve in curves)]
        for place, label in reversed(list(enumerate(labels)))
    ]
    numbers = table(
        f"The numbers of the chart, by {what.lower()}",
        [what, *(f"#{curve.label}" for curve in curves)],
        rows,
    )
    return element("details", joined([element("summary", "As a table"), numbers]))


def table(name: str, heads: Sequence[str], rows: Iterable[Sequence[Html]]) -> Html:
    """Return a table in a region of its own that keyboards can scroll; a head that begins with # stands over numbers."""
    cells = (
        element(
            "th",
            head.removeprefix("#"),
            scope="col",
            class_="number" if head.startswith("#") else "text",
        )
        for head in heads
    )
    head = element("thead", element("tr", joined(cells)))
    body = element("tbody", joined(element("tr", joined(row)) for row in rows))
    return element(
        "div",
        element("table", joined([head, body])),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=name,
    )


def head(text: str) -> Html:
    """Return the head of a row."""
    return element("th", text, scope="row")


def number(value: int) -> Html:
    """Return a cell with a number."""
    return element("td", f"{value:,}", class_="number")


def duration(seconds: float) -> str:
    """Return a duration in words."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
