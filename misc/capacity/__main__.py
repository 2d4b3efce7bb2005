"""`python -m misc.capacity`: what release day is like with 2 to 64 workers, and what to turn."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from misc.capacity.model import HOUR, Outcome, ReleaseDay, Scenario

FLEETS = (2, 4, 8, 16, 32, 64)
MINUTE, ENOUGH_MINUTES = 60.0, 10.0
HEAD = (
    "workers  ready at once  wait p50  wait p95  wait p99  refused  gave up"
    "  longest line  busy  store GB  cost"
)


def main() -> None:
    """Print a table and advice; with --plot write the plot."""
    parser = argparse.ArgumentParser(prog="python -m misc.capacity", description=__doc__)
    for option in dataclasses.fields(Scenario):
        if option.name not in {"workers", "delays"}:
            parser.add_argument(
                f"--{option.name.replace('_', '-')}",
                type=type(option.default),
                default=option.default,
                help=f"default: {option.default}",
            )
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="needs matplotlib")
    chosen = vars(parser.parse_args())
    plot: Path | None = chosen.pop("plot")
    scenarios = [Scenario(workers=workers, **chosen) for workers in FLEETS]
    with ProcessPoolExecutor() as processes:
        outcomes = list(processes.map(_run, scenarios))
    print(table(scenarios, outcomes))
    print(advice(scenarios, outcomes))
    if plot is not None:
        draw(scenarios, outcomes, plot)


def _run(scenario: Scenario) -> Outcome:
    return ReleaseDay(scenario).run()


def table(scenarios: Sequence[Scenario], outcomes: Sequence[Outcome]) -> str:
    """Return one row for each fleet."""
    rows = [HEAD]
    for scenario, seen in zip(scenarios, outcomes, strict=True):
        busy = seen.busy / (scenario.workers * (scenario.days * 24 * HOUR))
        waits = "  ".join(f"{seen.wait(part) / MINUTE:6.1f} m" for part in (0.5, 0.95, 0.99))
        rows.append(
            f"{scenario.workers:7}  {seen.ready / scenario.devices:13.0%}  {waits}"
            f"  {seen.refused / scenario.devices:7.1%}  {seen.gave_up / scenario.devices:7.1%}"
            f"  {seen.longest_line:12}  {busy:4.0%}  {seen.peak_mb / 1024:8.0f}"
            f"  {cost(scenario):4.0f}"
        )
    return "\n".join(rows)


def cost(scenario: Scenario) -> float:
    """Return what the workers of a scenario cost over its days."""
    return scenario.workers * scenario.days * 24 * scenario.worker_hour_cost


def advice(scenarios: Sequence[Scenario], outcomes: Sequence[Outcome]) -> str:
    """Say which fleet is enough, and what to turn when none is."""
    for scenario, seen in zip(scenarios, outcomes, strict=True):
        if not seen.gave_up and seen.wait(0.95) <= ENOUGH_MINUTES * MINUTE:
            return (
                f"{scenario.workers} workers are enough: nobody gives up, and 19 of 20 devices have"
                f" their image within {ENOUGH_MINUTES:.0f} minutes."
            )
    last, seen = scenarios[-1], outcomes[-1]
    if seen.gave_up and seen.busy < 0.5 * last.workers * last.days * 24 * HOUR:
        return "Raise MAX_PENDING_JOBS: workers idle later while devices are refused at the peak."
    if not last.prebuild_hours:
        return "Prebuild before the release (--prebuild-hours 24), or add workers."
    return "Add workers: the line is long although popular images were prebuilt."


def draw(scenarios: Sequence[Scenario], outcomes: Sequence[Outcome], file: Path) -> None:
    """Plot waiting and refusals over the number of workers."""
    import matplotlib as mpl  # noqa: PLC0415 - Only a plot needs it.

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "asu"  # The same figures give the same file.
    from matplotlib import pyplot as plt  # noqa: PLC0415

    fleets = [str(scenario.workers) for scenario in scenarios]
    figure, (waits, refusals) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for part in (0.5, 0.95, 0.99):
        minutes = [max(0.1, seen.wait(part) / MINUTE) for seen in outcomes]
        waits.plot(fleets, minutes, marker="o", label=f"p{part * 100:.0f}")
    waits.set(yscale="log", xlabel="workers", ylabel="minutes until the image")
    waits.legend()
    gave_up = [
        seen.gave_up / scenario.devices * 100
        for scenario, seen in zip(scenarios, outcomes, strict=True)
    ]
    refusals.bar(fleets, gave_up)
    refusals.set(xlabel="workers", ylabel="% of devices that give up")
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main()
