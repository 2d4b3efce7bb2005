"""What happens to a build that fails, and not by its user's fault: it is begun again, and everybody
may see it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from asu.errors import (
    AsuError,
    BuildDisrupted,
    BuildTimeout,
    ContainerFailed,
    DiskFull,
    DownloadFailed,
)
from asu.records.build_record import State
from asu.worker.container import CommandResult
from tests.unit.job_world import CONFLICT, World, body_of, new_world

if TYPE_CHECKING:
    from pathlib import Path

# Seconds; long enough that the time which the test itself takes does not matter.
FIRST, SECOND, MOMENT = 500, 3000, 100


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world in which a build may fail twice."""
    return new_world(tmp_path, retry_delays=(FIRST, SECOND))


def tried(world: World) -> list[tuple[str, str]]:
    """Return outcome and code of each attempt that has ended."""
    return [(one["outcome"], one["code"]) for one in world.tried()]


def after(world: World, seconds: float) -> State:
    """Let time pass and a worker try; return what became of the build."""
    world.records.let_pass(seconds)
    world.run()
    return world.record().state


@pytest.mark.parametrize(
    "error",
    [
        ContainerFailed(reason="podman did not run make"),
        DownloadFailed(reason="no answer"),
        DiskFull(space="1 MiB are free, 2 MiB are its reserve"),
    ],
)
def test_a_failure_that_may_pass_is_tried_again(world: World, error: AsuError) -> None:
    """After its delay and not before; a poll sees a build that waits, and then its image."""
    world.script.failures["manifest"] = error
    assert world.build().state is State.QUEUED
    assert after(world, FIRST - MOMENT) is State.QUEUED
    world.script.failures.clear()

    assert after(world, MOMENT) is State.DONE
    assert tried(world) == [("failed", error.code), ("done", "")]
    assert world.store.has(world.key)


def test_the_third_failure_is_the_last(world: World) -> None:
    """It is told with its own words, and each attempt beside it; the statistics count one
    failure.
    """
    world.script.failures["image"] = ContainerFailed(reason="podman did not run make")
    states = [world.build().state, after(world, FIRST)]
    states += [after(world, SECOND - MOMENT), after(world, MOMENT)]

    assert states == [State.QUEUED, State.QUEUED, State.QUEUED, State.FAILED]
    assert (body_of(world.record())["code"], world.record().fault) == ("container-failed", "infra")
    assert tried(world) == [("failed", "container-failed")] * 3
    assert world.counted_failures() == 1


SIGNS: dict[str, CommandResult | AsuError] = {
    **{f"exit code {code}": CommandResult(code, "", "") for code in (-1, 126, 127, 137, 143)},
    **{
        words: CommandResult(2, "", f"{words}\n")
        for words in (
            "sh: fork: retry: Resource temporarily unavailable",
            "sh: can't fork",
            "make: vfork: Resource temporarily unavailable",
            "Killed",
            "make[2]: *** [Makefile:1: x] Error 137",
        )
    },
    # wget cannot be started, either.
    "fork bomb": CommandResult(2, "", "sh: can't fork\nwget returned 4\nFailed to download curl\n"),
    "stands still": BuildTimeout(step="make image", seconds=900),
    "no process left": BuildDisrupted(reason="a command in it could not begin"),
}


@pytest.mark.parametrize("goal", ["manifest", "image"])
@pytest.mark.parametrize("sign", SIGNS)
def test_what_a_package_can_cause_is_begun_again_once(world: World, goal: str, sign: str) -> None:
    """Under a code of its own, and never as a fault of OpenWrt's servers."""
    world.script.failures[goal] = SIGNS[sign]
    states = [world.build().state, after(world, FIRST)]

    assert states == [State.QUEUED, State.FAILED]
    code = "build-timeout" if sign == "stands still" else "build-disrupted"
    assert (body_of(world.record())["code"], world.record().fault) == (code, "infra")


def test_images_that_change_after_they_were_hashed_are_made_again_once(world: World) -> None:
    """A process that a package left behind can change them."""
    world.script.falsely_told = "0" * 64
    states = [world.build().state, after(world, FIRST)]

    assert states == [State.QUEUED, State.FAILED]
    assert body_of(world.record())["code"] == "build-disrupted"


def test_a_users_failure_is_told_at_once(world: World) -> None:
    """It would fail again."""
    world.script.failures["manifest"] = CommandResult(2, "", CONFLICT)

    assert world.build().state is State.FAILED
    assert tried(world) == [("failed", "impossible-selection")]


def test_a_missing_imagebuilder_is_told_at_once(world: World) -> None:
    """It is published within hours; nobody has to wait half a minute to be told so."""
    world.engine.has_image = False

    assert world.build().state is State.FAILED
    assert tried(world) == [("failed", "imagebuilder-missing")]


def test_a_mistake_of_ours_is_tried_again(world: World) -> None:
    """Nobody knows what it was, so it may be gone."""

    def explode() -> None:
        raise ZeroDivisionError

    world.script.before["image"] = explode

    assert world.build().state is State.QUEUED
    assert tried(world) == [("failed", "internal-error")]


def test_a_lost_worker_counts_as_an_attempt(world: World) -> None:
    """However the attempts ended, no build is begun more often than the settings say."""
    world.ask()
    for _ in range(2):
        attempt = world.records.start_next()
        assert attempt
        world.records.lose(world.key)
    world.script.failures["info"] = ContainerFailed(reason="podman did not run make")
    world.run()

    assert world.record().state is State.FAILED
    assert tried(world) == [
        ("lost", "worker-lost"),
        ("lost", "worker-lost"),
        ("failed", "container-failed"),
    ]


def test_a_superseded_failure_puts_nothing_back(world: World) -> None:
    """Another attempt runs: the older one neither ends it nor puts a second build in line."""

    def lose() -> None:
        world.records.lose(world.key)
        assert world.records.start_next()

    world.script.before["manifest"] = lose
    world.script.failures["manifest"] = ContainerFailed(reason="podman did not run make")

    assert world.build().state is State.RUNNING
    assert tried(world) == [("lost", "worker-lost")]


@pytest.mark.parametrize("absences", [0, 1])
def test_a_short_absence_of_redis_costs_no_attempt(world: World, absences: int) -> None:
    """The build is put back as soon as Redis answers."""
    world.records.away["retry"] = absences
    world.script.failures["info"] = ContainerFailed(reason="podman did not run make")

    assert world.build().state is State.QUEUED
    assert world.records.away["retry"] == 0


def test_a_build_that_was_put_back_without_an_answer_waits(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told and counted as one that is begun again, not as one that another worker has taken
    over.
    """
    world.records.deaf["retry"] = 2
    world.script.failures["info"] = ContainerFailed(reason="podman did not run make")

    assert world.build().state is State.QUEUED
    assert "begun again in 500 s" in caplog.text
    assert "superseded" not in caplog.text
    assert tried(world) == [("failed", "container-failed")]
    assert asyncio.run(world.records.retries()) == {"container-failed": 1}


def test_nothing_is_left_of_a_failed_attempt(world: World) -> None:
    """Its container is gone before the next one begins."""
    world.script.failures["manifest"] = ContainerFailed(reason="podman did not run make")
    world.build()

    assert [container.removed for container in world.engine.containers] == [True]
    assert world.records.abandoned() == []
