"""Charts as geometry; a template draws them as SVG, without a script and in the page's colours.

A chart has a drawing for a desk and one for a phone, and a table of its numbers beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

HEIGHT = 220
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 24  # Space for the numbers at the side and the dates below.
GRID_LINES = 4
# In units that are about a pixel on a desk's column and on a phone.
WIDTHS = {"wide": 720, "narrow": 360}
DATE_WIDTH = 60  # Space for a date, so that two never touch.
COLUMN = 0.75  # Of a label's width.


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One series; `style` names classes of the style sheet."""

    label: str
    data: Sequence[int]
    style: str


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Where everything lies in a drawing of `labels` (dates) whose highest value is `top`."""

    style: str
    width: int
    labels: Sequence[str]
    top: int
    height: int = HEIGHT
    left: int = LEFT
    lines: list[tuple[str, str]] = field(default_factory=list)  # Points and style.
    columns: list[tuple[Box, str]] = field(default_factory=list)

    @property
    def right(self) -> int:
        """The right end of the grid."""
        return self.width - RIGHT

    @property
    def step(self) -> float:
        """The width of a label."""
        return (self.right - LEFT) / len(self.labels)

    def x(self, place: int) -> float:
        """Return the middle of a label."""
        return round(LEFT + self.step * (place + 0.5), 1)

    def y(self, value: float) -> float:
        """Return the height of a value."""
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top, 1)

    def box(self, place: int, high: float, low: float, part: float) -> Box:
        """Return a rectangle between two values that takes a part of a label's width."""
        left, width = LEFT + self.step * (place + (1 - part) / 2), self.step * part
        height = self.y(low) - self.y(high)
        return Box(round(left, 1), self.y(high), round(width, 1), round(height, 1))

    @property
    def scale(self) -> list[tuple[int, float]]:
        """The values beside the grid lines, and the height of each."""
        values = [self.top * number // GRID_LINES for number in range(GRID_LINES + 1)]
        return [(value, self.y(value)) for value in values]

    @property
    def dates(self) -> Iterator[tuple[str, float, str]]:
        """As many dates as have space; the last one is among them and ends with the drawing."""
        every = int(DATE_WIDTH // self.step) + 1
        last = len(self.labels) - 1
        for place in range(last, -1, -every):
            x, anchor = (self.right, "end") if place == last else (self.x(place), "middle")
            yield self.labels[place][5:10], x, anchor

    @property
    def strips(self) -> list[Box]:
        """A strip over each label, which shows its values as a title."""
        return [self.box(place, self.top, 0, 1) for place in range(len(self.labels))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines, or columns that are stacked on each other; `labels` are dates."""

    labels: Sequence[str]
    curves: Sequence[Curve]
    is_stacked: bool
    drawings: Sequence[Drawing] = ()

    @property
    def headings(self) -> list[str]:
        """The heading of each curve in a table, marked as one over numbers."""
        return [f"#{curve.label}" for curve in self.curves]

    @property
    def readings(self) -> list[str]:
        """The values of each label as text."""
        return [
            f"{label.rstrip('Z')}\n{self._values(place) or 'nothing'}"
            for place, label in enumerate(self.labels)
        ]

    def _values(self, place: int) -> str:
        shown = [curve for curve in self.curves if curve.data[place]]
        return "\n".join(f"{curve.label}: {curve.data[place]:,}" for curve in shown)


def line_chart(labels: Sequence[str], curves: Sequence[Curve]) -> Chart:
    """Draw a line for each curve."""
    drawings = _drawings(labels, max((max(curve.data) for curve in curves), default=0))
    for drawing in drawings:
        for curve in curves:
            points = (f"{drawing.x(at)},{drawing.y(value)}" for at, value in enumerate(curve.data))
            drawing.lines.append((" ".join(points), curve.style))
    return Chart(labels=labels, curves=curves, is_stacked=False, drawings=drawings)


def column_chart(labels: Sequence[str], curves: Sequence[Curve]) -> Chart:
    """Draw a column for each label, made of the values of all curves."""
    sums = [sum(values) for values in zip(*(curve.data for curve in curves), strict=True)]
    drawings = _drawings(labels, max(sums, default=0))
    for drawing in drawings:
        below = [0] * len(labels)
        for curve in curves:
            for place, value in enumerate(curve.data):
                if value:
                    box = drawing.box(place, below[place] + value, below[place], COLUMN)
                    drawing.columns.append((box, curve.style))
                below[place] += value
    return Chart(labels=labels, curves=curves, is_stacked=True, drawings=drawings)


def round_up(value: int) -> int:
    """Return a round number at or above a value, whose quarters are round where it is not small."""
    if value <= GRID_LINES:
        return GRID_LINES
    power = 1
    while power * 10 < value:
        power *= 10
    # Quarters of less than twenty would be fractions.
    steps = (2, 4, 6, 8, 10) if power > 1 else (4, 8, 12)
    return next(step * power for step in steps if step * power >= value)


def _drawings(labels: Sequence[str], top: int) -> list[Drawing]:
    return [
        Drawing(style=style, width=width, labels=labels, top=round_up(top))
        for style, width in WIDTHS.items()
    ]
