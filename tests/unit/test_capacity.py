"""The simulation of release day agrees with what is known of queues."""

import random
from dataclasses import replace
from statistics import fmean

import pytest

from misc.capacity.__main__ import advice, table
from misc.capacity.model import ReleaseDay, Scenario, arrival_times

QUIET = Scenario(
    devices=20_000,
    days=14,
    distinct=1.0,
    workers=1,
    build_seconds=10.0,
    build_spread=0.0,
    user_failures=0.0,
    passing_failures=0.0,
    worker_days=1e9,
    pending_limit=10**9,
)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_worker_waits_as_queueing_theory_says(load: float) -> None:
    """Poisson arrivals, builds of equal length, one worker: the mean wait is that of M/D/1."""
    source, at, times = random.Random(7), 0.0, []  # noqa: S311
    for _ in range(QUIET.devices):
        at += source.expovariate(load / QUIET.build_seconds)
        times.append(at)

    seen = ReleaseDay(replace(QUIET, days=at / 86_400), times).run()

    expected = QUIET.build_seconds * (1 + load / (2 * (1 - load)))
    assert fmean(seen.waits) == pytest.approx(expected, rel=0.06)


def test_equal_requests_share_one_build() -> None:
    """With one selection in the world, the first asks for a build and all others for its image."""
    seen = ReleaseDay(replace(QUIET, devices=500, distinct=0.0, popular=1, kept_days=99)).run()

    assert (seen.built, seen.ready + len(seen.waits)) == (1, 500)


def test_a_full_line_refuses_and_nobody_is_lost() -> None:
    """Each device is served, fails, or gives up."""
    scenario = replace(QUIET, devices=3000, days=1, build_seconds=60.0, pending_limit=20)

    seen = ReleaseDay(scenario).run()

    assert seen.longest_line == 20
    assert seen.refused > seen.gave_up > 0
    assert seen.ready + len(seen.waits) + seen.gave_up + seen.failed == scenario.devices


def test_a_build_whose_worker_dies_is_built_by_another() -> None:
    """Workers that die every ten builds lose time and no device."""
    seen = ReleaseDay(replace(QUIET, devices=300, worker_days=100 / 86_400)).run()

    assert len(seen.waits) + seen.ready == 300
    assert max(seen.waits) > QUIET.build_seconds


def test_prebuilt_images_are_ready_when_the_first_device_asks() -> None:
    """A day of prebuilding before the release serves popular selections at once."""
    scenario = replace(QUIET, devices=500, distinct=0.0, popular=100, prebuild_hours=24)

    seen = ReleaseDay(replace(scenario, kept_days=20)).run()

    assert (seen.prebuilt, seen.ready) == (100, 500)


def test_most_devices_come_early() -> None:
    """A quarter of all requests comes in the first day."""
    times = list(arrival_times(Scenario(devices=40_000), random.Random(1)))  # noqa: S311

    assert times == sorted(times)
    assert sum(at < 86_400 for at in times) / len(times) == pytest.approx(0.25, abs=0.02)


def test_the_table_has_a_row_for_each_fleet_and_advice_names_the_smallest() -> None:
    """Two fleets, of which the second has nobody give up."""
    scenarios = [
        replace(QUIET, devices=3000, days=1, build_seconds=60.0, pending_limit=20, workers=workers)
        for workers in (1, 16)
    ]
    outcomes = [ReleaseDay(scenario).run() for scenario in scenarios]

    assert len(table(scenarios, outcomes).splitlines()) == 3
    assert advice(scenarios, outcomes).startswith("16 workers are enough")
