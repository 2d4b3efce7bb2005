"""Charts as SVG, drawn by the server: they need no script, follow the page's colours, and each has its table beside it.

Every chart is drawn twice, for a desk and for a phone, since letters shrink with a drawing; the
style sheet shows the one that fits.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .markup import Html, element, joined

HEIGHT = 220
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 24  # Room for the numbers at the side and the dates below.
GRID_LINES = 4
# In units that are about a pixel on a desk's column and on a phone.
WIDTHS = {"wide": 720, "narrow": 360}
DATE_WIDTH = 60  # Room for a date, so that two never touch.


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What is drawn of one series; `style` names classes of the style sheet."""

    label: str
    data: Sequence[int]
    style: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a value of `count` labels lies in a drawing that is `width` wide and whose highest value is `top`."""

    width: int
    count: int
    top: int

    @property
    def step(self) -> float:
        """The width that a label has."""
        return (self.width - LEFT - RIGHT) / self.count

    def x(self, place: int) -> float:
        """Return the middle of a label."""
        return LEFT + self.step * (place + 0.5)

    def y(self, value: float) -> float:
        """Return the height of a value."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top

    def box(self, place: int, high: float, low: float, part: float, style: str) -> Html:
        """Return a rectangle between two values that takes a part of a label's width."""
        left, right = self.x(place) - self.step * part / 2, self.x(place) + self.step * part / 2
        sides = {
            "x": f"{left:.1f}",
            "width": f"{right - left:.1f}",
            "y": f"{self.y(high):.1f}",
            "height": f"{self.y(low) - self.y(high):.1f}",
        }
        return element("rect", **sides, class_=style)


def line_chart(name: str, labels: Sequence[str], curves: Sequence[Curve]) -> Html:
    """Draw a line for each curve; `labels` are dates."""

    def draw(frame: Frame) -> Iterable[Html]:
        for curve in curves:
            points = " ".join(
                f"{frame.x(place):.1f},{frame.y(value):.1f}"
                for place, value in enumerate(curve.data)
            )
            yield element("polyline", points=points, class_=f"stroke {curve.style}")

    top = max((value for curve in curves for value in curve.data), default=0)
    lines = [
        element("line", x1=1, y1=5, x2=27, y2=5, class_=f"stroke {curve.style}") for curve in curves
    ]
    return joined([_legend(curves, lines), *_drawings(name, labels, curves, top, draw)])


def stacked_chart(name: str, labels: Sequence[str], curves: Sequence[Curve]) -> Html:
    """Draw a column for each label, made of what each curve has there."""

    def draw(frame: Frame) -> Iterable[Html]:
        below = [0] * len(labels)
        for curve in curves:
            for place, value in enumerate(curve.data):
                if value:
                    yield frame.box(
                        place, below[place] + value, below[place], 0.75, f"fill {curve.style}"
                    )
                below[place] += value

    top = max(
        (sum(values) for values in zip(*(curve.data for curve in curves), strict=True)), default=0
    )
    boxes = [element("rect", width=28, height=10, class_=f"fill {curve.style}") for curve in curves]
    return joined([_legend(curves, boxes), *_drawings(name, labels, curves, top, draw)])


def bar(value: int, longest: int) -> Html:
    """Draw one value as a part of the longest; the number stands beside it, so readers of the page aloud pass over it."""
    box = element("rect", width=f"{100 * value / longest:.1f}", height=10, class_="fill s0")
    return element("svg", box, viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")


def round_up(value: int) -> int:
    """Return the end of a scale that has room for a value: a round number that has round quarters where it is not small."""
    if value <= GRID_LINES:
        return GRID_LINES
    power = 1
    while power * 10 < value:
        power *= 10
    steps = (2, 4, 6, 8, 10) if power >= 10 else (4, 8, 12)  # noqa: PLR2004  # Quarters of less than twenty would be broken.
    return next(step * power for step in steps if step * power >= value)


def _drawings(
    name: str,
    labels: Sequence[str],
    curves: Sequence[Curve],
    top: int,
    draw: Callable[[Frame], Iterable[Html]],
) -> Iterable[Html]:
    for style, width in WIDTHS.items():
        frame = Frame(width=width, count=len(labels), top=round_up(top))
        parts = [
            *_scale(frame),
            *_dates(frame, labels),
            *draw(frame),
            *_readings(frame, labels, curves),
        ]
        yield element(
            "svg",
            joined(parts),
            class_=f"chart {style}",
            viewBox=f"0 0 {width} {HEIGHT}",
            role="img",
            aria_label=name,
        )


def _scale(frame: Frame) -> Iterable[Html]:
    for number in range(GRID_LINES + 1):
        value = frame.top * number // GRID_LINES
        y = frame.y(value)
        yield element(
            "line", x1=LEFT, x2=frame.width - RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"
        )
        yield element("text", f"{value:,}", x=LEFT - 6, y=f"{y + 4:.1f}", text_anchor="end")


def _dates(frame: Frame, labels: Sequence[str]) -> Iterable[Html]:
    """Write as many dates as have room, the last one among them; it ends with the drawing."""
    every = int(DATE_WIDTH // frame.step) + 1
    for place in range(len(labels) - 1, -1, -every):
        is_last = place == len(labels) - 1
        x = frame.width - RIGHT if is_last else frame.x(place)
        yield element(
            "text",
            labels[place][5:10],
            x=f"{x:.1f}",
            y=HEIGHT - 6,
            text_anchor="end" if is_last else "middle",
        )


def _readings(frame: Frame, labels: Sequence[str], curves: Sequence[Curve]) -> Iterable[Html]:
    """Lay a strip over each label that tells its values to whoever points at it; browsers show a title by themselves."""
    for place, label in enumerate(labels):
        values = "\n".join(
            f"{curve.label}: {curve.data[place]:,}" for curve in curves if curve.data[place]
        )
        title = element("title", f"{label.rstrip('Z')}\n{values or 'nothing'}")
        yield element("g", joined([title, frame.box(place, frame.top, 0, 1, "hover")]))


def _legend(curves: Sequence[Curve], marks: Sequence[Html]) -> Html:
    entries = (
        element(
            "li",
            joined(
                [
                    element("svg", mark, viewBox="0 0 28 10", aria_hidden="true"),
                    element("span", curve.label),
                ]
            ),
        )
        for curve, mark in zip(curves, marks, strict=True)
    )
    return element("ul", joined(entries), class_="legend", aria_label="Legend")
