"""Charts: values lie where they belong, and scales and dates have space."""

from itertools import pairwise

import pytest

from asu.pages.charts import (
    BOTTOM,
    GRID_LINES,
    HEIGHT,
    TOP,
    Curve,
    Drawing,
    column_chart,
    line_chart,
    round_up,
)
from asu.pages.stats_page import STYLES, week_columns
from asu.statistics.figure_shapes import Series, WeekChart

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
    frame = Drawing(style="wide", width=720, labels=LABELS, top=40)

    assert (frame.y(0), frame.y(40)) == (HEIGHT - BOTTOM, TOP)
    assert frame.x(0) < frame.x(1) < frame.x(29) < 720


def test_each_day_shows_its_values_to_a_pointer() -> None:
    """A title for each label, with those curves that have something there."""
    drawn = line_chart(
        LABELS,
        [
            Curve(label="A & B", data=[0] * 29 + [1500], style="s0"),
            Curve(label="C", data=[0] * 30, style="s1"),
        ],
    )

    assert [len(drawing.strips) for drawing in drawn.drawings] == [len(LABELS)] * 2
    assert drawn.readings[-2:] == ["2026-10-29\nnothing", "2026-10-30\nA & B: 1,500"]


def test_columns_stand_on_each_other() -> None:
    """The second curve begins where the first one ends."""
    drawn = column_chart(
        LABELS[:1],
        [Curve(label="a", data=[1], style="s0"), Curve(label="b", data=[3], style="s1")],
    )
    (lower, first), (upper, second) = drawn.drawings[0].columns

    assert (first, second) == ("s0", "s1")
    assert upper.y + upper.height == pytest.approx(lower.y, abs=0.11)
    assert upper.y == pytest.approx(TOP, abs=0.11)


@pytest.mark.parametrize("count", [1, 7, 26, 30])
def test_dates_do_not_touch(count: int) -> None:
    """However many labels there are, on a phone too; the last one is always named."""
    drawn = line_chart(LABELS[:count], [Curve(label="a", data=[1] * count, style="s0")])

    for drawing in drawn.drawings:
        dates = list(drawing.dates)
        assert all(later - earlier > 40 for (_, later, _), (_, earlier, _) in pairwise(dates))
        assert dates[0][0] == LABELS[count - 1][5:10]


@pytest.mark.parametrize("count", [STYLES - 1, STYLES, STYLES + 1, STYLES + 5])
def test_no_more_curves_than_colours(count: int) -> None:
    """The oldest versions share one curve, and none is lost from the sum."""
    weeks = WeekChart(
        labels=["2025-01-06Z", "2025-01-13Z"],
        datasets=[Series(label=f"24.10.{number}", data=[0, 1]) for number in range(count)],
    )

    curves = week_columns(weeks).curves

    assert (sum(curve.data[1] for curve in curves), len(curves)) == (count, min(count, STYLES))
