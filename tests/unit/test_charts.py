"""Charts: values lie where they belong, scales have room, and the letters have too."""

import re
from itertools import pairwise

import pytest

from asu.pages.charts import (
    BOTTOM,
    GRID_LINES,
    HEIGHT,
    TOP,
    Curve,
    Frame,
    line_chart,
    round_up,
    stacked_chart,
)
from asu.pages.stats_page import STYLES, StatsFigures, stats_content
from asu.statistics.figure_shapes import Series, WeekChart
from asu.statistics.figures import add_up, per_day, summarise
from tests.unit.test_figures import NOW, counted

LABELS = [f"2026-10-{day:02}Z" for day in range(1, 31)]


@pytest.mark.parametrize(
    ("value", "top"),
    [
        (0, 4),
        (3, 4),
        (4, 4),
        (5, 8),
        (9, 12),
        (11, 20),
        (21, 40),
        (100, 100),
        (101, 200),
        (945, 1000),
        (1387, 2000),
    ],
)
def test_a_scale_has_room_and_round_numbers(value: int, top: int) -> None:
    """The end of the scale is the next round number whose quarters are whole."""
    assert round_up(value) == top
    assert top % GRID_LINES == 0


def test_values_lie_between_floor_and_ceiling() -> None:
    """Nothing stands at the bottom, the most at the top, later ones further to the right."""
    frame = Frame(width=720, count=30, top=40)

    assert (frame.y(0), frame.y(40)) == (HEIGHT - BOTTOM, TOP)
    assert frame.x(0) < frame.x(1) < frame.x(29) < 720


def test_each_day_tells_its_values_to_whoever_points_at_it() -> None:
    """A title for each label, with those curves that have something there."""
    drawn = line_chart(
        "Days",
        LABELS,
        [
            Curve(label="A & B", data=[0] * 29 + [1500], style="s0"),
            Curve(label="C", data=[0] * 30, style="s1"),
        ],
    )

    assert drawn.count("<title>") == 2 * len(LABELS)
    assert drawn.count("<title>2026-10-30\nA &amp; B: 1,500</title>") == 2
    assert drawn.count("<title>2026-10-29\nnothing</title>") == 2


def test_columns_stand_on_each_other() -> None:
    """The second curve begins where the first one ends."""
    drawn = stacked_chart(
        "Weeks",
        LABELS[:1],
        [Curve(label="a", data=[1], style="s0"), Curve(label="b", data=[3], style="s1")],
    )
    boxes = re.findall(
        r'<rect x="[^"]+" width="[^"]+" y="([^"]+)" height="([^"]+)" class="fill (s.)">', drawn
    )

    ends = {style: (float(y), float(y) + float(height)) for y, height, style in boxes}
    assert ends["s1"][1] == pytest.approx(ends["s0"][0], abs=0.11)
    assert ends["s1"][0] == pytest.approx(TOP, abs=0.11)


@pytest.mark.parametrize("count", [1, 7, 26, 30])
def test_dates_do_not_touch(count: int) -> None:
    """However many labels there are, on a phone too; the last one is always named."""
    drawn = line_chart("Days", LABELS[:count], [Curve(label="a", data=[1] * count, style="s0")])

    for drawing in drawn.split("<svg")[2:]:
        places = sorted(float(x) for x in re.findall(r'<text x="([\d.]+)" y="214"', drawing))
        assert places
        assert all(later - earlier > 40 for earlier, later in pairwise(places))
        assert LABELS[count - 1][5:10] in drawing


@pytest.mark.parametrize("count", [STYLES - 1, STYLES, STYLES + 1, STYLES + 5])
def test_no_more_curves_than_colours(count: int) -> None:
    """The oldest versions share one curve, and none is lost from the sum."""
    weeks = WeekChart(
        labels=["2025-01-06Z", "2025-01-13Z"],
        datasets=[Series(label=f"24.10.{number}", data=[0, 1]) for number in range(count)],
    )
    figures = StatsFigures(
        summary=summarise(add_up(counted({})), NOW),
        days=per_day(counted({})),
        weeks=weeks,
        branches=["24.10"],
        branch="24.10",
        packages=[],
        failures=[],
    )
    [row] = re.findall(
        r'<tr><th scope="row">2025-01-13</th>(.*?)</tr>', stats_content(figures), re.DOTALL
    )
    numbers = [int(number) for number in re.findall(r">(\d+)<", row)]

    assert (sum(numbers), len(numbers)) == (count, min(count, STYLES))
