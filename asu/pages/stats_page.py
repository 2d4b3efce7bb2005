"""The page of statistics: what its template shows, drawn at most once in some seconds."""

import asyncio
from collections.abc import Sequence

from asu.caching import TtlCache
from asu.statistics.figure_shapes import Series, WeekChart
from asu.statistics.figures import KEPT_SECONDS, Figures

from .charts import Chart, Curve, column_chart, line_chart
from .templating import render

PACKAGES_LISTED = 25
STYLES = 8  # Colours that differ enough; older branches or versions share one curve.
DAY_STYLES = {
    "Requests": "green",
    "Cache-Hits": "orange dash1",
    "Failures": "red dash2",
    "Builds": "blue dash3",
}


class StatsPages:
    """Draws the page of statistics, at most once in some seconds for each branch."""

    def __init__(self, figures: Figures) -> None:
        self._figures, self._pages = figures, TtlCache[str | None, str](KEPT_SECONDS)

    async def page(self, branch: str | None) -> str:
        """Return the page with the versions of a branch, else with all; raises QueueUnavailable."""
        wanted = branch if branch in await self._branches() else None
        return await self._pages.fetch(wanted, lambda: self._draw(wanted))

    async def _draw(self, branch: str | None) -> str:
        figures = self._figures
        days, weeks = await figures.builds_per_day(), await figures.builds_by_version(branch)
        shown = {
            "summary": await figures.summary(),
            "branch": branch,
            "branches": await self._branches(),
            "packages": await figures.top_packages(PACKAGES_LISTED),
            "failures": await figures.build_errors(),
        }
        curves = [
            Curve(label=series.label, data=series.data, style=DAY_STYLES[series.label])
            for series in days.datasets
        ]

        def draw() -> str:
            charts = {"days": line_chart(days.labels, curves), "weeks": week_columns(weeks)}
            return render("stats.html", **shown, **charts)

        return await asyncio.to_thread(draw)  # It takes tens of milliseconds.

    async def _branches(self) -> list[str]:
        return [series.label for series in (await self._figures.builds_by_version()).datasets]


def week_columns(weeks: WeekChart) -> Chart:
    """Return the chart of the weeks; the oldest series share a curve where colours run out."""
    series: Sequence[Series] = weeks.datasets
    if len(series) > STYLES:
        older, series = series[: -STYLES + 1], series[-STYLES + 1 :]
        sums = [sum(values) for values in zip(*(each.data for each in older), strict=True)]
        series = [Series(label="older", data=sums), *series]
    curves = [
        Curve(label=each.label, data=each.data, style=f"s{place}")
        for place, each in enumerate(series)
    ]
    return column_chart(weeks.labels, curves)
