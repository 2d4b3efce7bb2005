"""Counts that only grow, for metrics: the fields of one hash in Redis, and how they are read.

    ended:OUTCOME        builds that ended; an outcome is `done`, or the fault of a failure
    code:NAME            failures with this error code
    forecast:RESULT      forecasts of asu-prepare, by how they compare with the build
    bucket:STEP:BOUND    durations up to that many seconds and above the bound before
    milliseconds:STEP    all durations of a step together

All words come from closed sets, so the hash has some hundred fields at most.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, get_args

WHOLE = "build"  # Beside the steps: all of a build that succeeded, from its start by a worker.
# Seconds. An image of a small target takes ten, one of x86 a minute; a step may take 15 minutes.
BOUNDS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)
OVER = "inf"
# `unknown` where asu-prepare did not answer, or could not foretell the build.
Forecast = Literal["agrees", "differs", "false_problem", "missed_problem", "unknown"]
FORECASTS: tuple[Forecast, ...] = get_args(Forecast)


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """How often something took up to each of `BOUNDS` and above the one before, then longer.

    `seconds` is the sum of all durations.
    """

    counts: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildTotals:
    """Builds by outcome, failures by code, forecasts by result and durations by step, so far."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)
    forecasts: Mapping[str, int] = field(default_factory=dict)
    durations: Mapping[str, Durations] = field(default_factory=dict)


def increments(
    outcome: str, code: str | None, seconds: Mapping[str, float]
) -> Iterator[tuple[str, int]]:
    """Yield the fields that a build adds to, and how much; `seconds` are by step."""
    yield f"ended:{outcome}", 1
    if code is not None:
        yield f"code:{code}", 1
    for step, took in seconds.items():
        bound = next((str(bound) for bound in BOUNDS if took <= bound), OVER)
        yield f"bucket:{step}:{bound}", 1
        yield f"milliseconds:{step}", round(took * 1000)


def read_totals(found: Mapping[str, int]) -> BuildTotals:
    """Return what a hash of totals holds; fields that this release cannot read are skipped."""
    outcomes: dict[str, int] = {}
    codes: dict[str, int] = {}
    forecasts: dict[str, int] = {}
    counts: dict[str, list[int]] = {}
    milliseconds: dict[str, int] = {}
    for name, value in found.items():
        match name.split(":"):
            case ["ended", outcome]:
                outcomes[outcome] = value
            case ["code", code]:
                codes[code] = value
            case ["forecast", result]:
                forecasts[result] = value
            case ["bucket", step, bound]:
                with suppress(ValueError):
                    counts.setdefault(step, [0] * (len(BOUNDS) + 1))[_place(bound)] += value
            case ["milliseconds", step]:
                milliseconds[step] = value
    durations = {
        step: Durations(counts=tuple(taken), seconds=milliseconds.get(step, 0) / 1000)
        for step, taken in counts.items()
    }
    return BuildTotals(outcomes=outcomes, codes=codes, forecasts=forecasts, durations=durations)


def _place(bound: str) -> int:
    """Return the index of a bound's count; a bound of another release counts with our next one."""
    seconds = float(bound)
    return next((place for place, ours in enumerate(BOUNDS) if seconds <= ours), len(BOUNDS))
