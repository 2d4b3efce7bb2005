"""What the statistics hear of a build's outcome: enough to see what is built and why it fails, and
nothing of whose it was.
"""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from asu.errors import QueueUnavailable
from asu.records.build_record import State
from asu.statistics.build_statistics import (
    DayCounts,
    Failure,
    FinishedBuild,
    Problem,
    days_up_to,
    hour_of,
    today,
    weeks_up_to,
)
from asu.worker.container import CommandResult
from asu.worker.outcome_statistics import MAX_PROBLEMS, failure, finished_build
from tests.twins.imitated_statistics import ImitatedStatistics
from tests.unit.job_world import CONFLICT, SCRIPT, World, new_world

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 10, 27, 12, 59, 59, tzinfo=UTC)
REQUEST = {
    "version": "24.10.4",
    "version_code": "r28959-29397011cc",
    "target": "ath79/generic",
    "profile": "tplink_archer-c7-v5",
    "packages": ["vim", "base-files", "kmod-usb2", "-dnsmasq", "wpad"],
    "packages_versions": {"luci": "1.0", "kernel": "6.6"},
    "defaults": SCRIPT,
    "client": "owut/2026.01.01",
    "repositories": {"private": "https://user:password@feeds.example.org/private"},
}
PLAN = {"key": "a" * 64, "request": REQUEST, "enqueued_at": "2026-10-27T12:58:07+00:00"}


class AbsentStatistics(ImitatedStatistics):
    """Statistics in a Redis that is down, or with a mistake in them."""

    def __init__(self, trouble: Exception) -> None:
        super().__init__()
        self.trouble = trouble

    # The signature is the protocol's.
    def add_finished(self, build: FinishedBuild) -> None:  # noqa: ARG002
        """See BuildStatistics."""
        raise self.trouble


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a worker with an empty store."""
    return new_world(tmp_path, allow_defaults=True)


def counted_today(world: World) -> DayCounts:
    """Return what has been counted today."""
    [counts] = asyncio.run(world.statistics.days([today()]))
    return counts


def failures_of(world: World) -> list[tuple[Failure, int]]:
    """Return the failures that have been counted."""
    return asyncio.run(world.statistics.failures(days_up_to(today(), 2)))


def failed_body(**more: Any) -> dict[str, Any]:
    """Return the answer's body of a failed build, with all that it may hold."""
    body = {
        "code": "impossible-selection",
        "fault": "user",
        "detail": "Error: of vim",
        "stdout": "out",
        "stderr": "err",
        "request": REQUEST,
    }
    return {**body, **more}


def test_of_a_finished_build_the_chosen_packages_are_counted() -> None:
    """Not what the device has by itself, not what was to be removed, not a name that no package of
    the image has.
    """
    body = {
        "default_packages": ["base-files", "dnsmasq"],
        "device_packages": ["kmod-usb2"],
        "manifest": dict.fromkeys(
            ["base-files", "kmod-usb2", "vim", "luci", "kernel", "libc", "wpad-openssl"], "1"
        ),
    }

    build = finished_build(PLAN, body, at=AT, seconds=12.5)

    assert build == FinishedBuild(
        at=AT, version="24.10.4", seconds=12.5, packages=frozenset({"vim", "luci", "kernel"})
    )


def test_a_failure_tells_nothing_of_whose_it_was() -> None:
    """Device, version, code and the packages that cannot be, in a rounded hour; no more of request,
    output or identity.
    """
    problems = [
        {
            "package": "nothing",
            "kind": "missing",
            "suggestion": None,
            "detail": "asked for by somebody",
        }
    ]

    told = failure(PLAN, failed_body(problems=problems), at=AT)

    assert json.loads(told.encoded()) == {
        "hour": "2026-10-27T12:00:00Z",
        "code": "impossible-selection",
        "fault": "user",
        "version": "24.10.4",
        "target": "ath79/generic",
        "profile": "tplink_archer-c7-v5",
        "problems": [{"kind": "missing", "package": "nothing"}],
    }


@pytest.mark.parametrize("odd", ["https://feeds.example.org/x", "a b", "a\n", "", "x" * 129, None])
def test_only_names_are_told_of_problems(odd: str | None) -> None:
    """A package manager may name a path or an address where a name is expected."""
    problems = [
        {"package": odd, "kind": "missing"},
        {"package": "vim", "kind": odd},
        {"package": "vim", "kind": "conflict"},
    ]

    assert failure(PLAN, failed_body(problems=problems), at=AT).problems == (
        Problem(kind="conflict", package="vim"),
    )


def test_problems_are_bounded_and_in_one_order() -> None:
    """Equal failures are counted as one, in whatever order the package manager complained, and none
    is larger than others.
    """
    problems = [{"package": f"p{number:03}", "kind": "missing"} for number in range(200)]
    told = failure(PLAN, failed_body(problems=problems), at=AT)

    assert told == failure(PLAN, failed_body(problems=problems[::-1]), at=AT)
    assert len(told.problems) == MAX_PROBLEMS


def test_a_build_that_ends_well_is_counted(world: World) -> None:
    """With its version, its packages and the time that it took."""
    world.build(packages=["vim"])

    counts = counted_today(world)
    assert (counts.builds, counts.versions, sum(counts.durations.values()), counts.failures) == (
        1,
        {"24.10.4": 1},
        1,
        {},
    )
    assert asyncio.run(world.statistics.packages(weeks_up_to(today(), 1))) == {"vim": 1}


def test_a_build_that_fails_is_counted(world: World) -> None:
    """By fault, and as an entry without the first-boot script or anything that was printed."""
    world.script.failures["manifest"] = CommandResult(2, "", CONFLICT)
    world.build(packages=["wpad-openssl"], defaults=SCRIPT)

    [(told, count)] = failures_of(world)
    assert (told.code, told.fault, told.profile, count) == (
        "impossible-selection",
        "user",
        "tplink_archer-c7-v5",
        1,
    )
    assert told.hour <= hour_of(datetime.now(UTC))
    assert (counted_today(world).builds, counted_today(world).failures) == (0, {"user": 1})


def test_an_outcome_that_was_dropped_is_not_counted(world: World) -> None:
    """A worker that was superseded counts nothing: the attempt that took over does."""

    def lose() -> None:
        world.records.lose(world.key)

    world.script.before["manifest"] = lose
    world.script.failures["manifest"] = CommandResult(2, "", CONFLICT)
    world.build()

    assert counted_today(world) == DayCounts()


@pytest.mark.parametrize("trouble", [QueueUnavailable(), RuntimeError("the secret")])
def test_statistics_that_fail_cost_the_build_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trouble: Exception
) -> None:
    """The build is done, and the log says what is missing, without the message of an exception."""
    caplog.set_level(logging.DEBUG)
    world = new_world(tmp_path)
    world.statistics = AbsentStatistics(trouble)

    assert world.build().state is State.DONE
    assert "missing in the statistics" in caplog.text
    assert "the secret" not in caplog.text
