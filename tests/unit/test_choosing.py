"""Which build a worker begins next: the first in line, unless its ImageBuilder would have to be pulled and another needs none."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from asu.records.build_record import OVERTAKINGS, PendingBodies
from asu.records.memory_records import MemoryRecords
from asu.worker.choosing import WINDOW, Choice

if TYPE_CHECKING:
    from collections.abc import Mapping

FAR, NEAR = "24.10.3", "24.10.4"  # Versions whose builders are elsewhere, and at hand.


def line_of(*versions: str) -> MemoryRecords:
    """Return records in which builds of these versions wait, each under its place."""
    records = MemoryRecords()
    for place, version in enumerate(versions):
        plan = json.dumps({"request": {"version": version}})
        asyncio.run(
            records.claim(
                str(place), plan=plan, bodies=PendingBodies(b"{}", b"{}"), limit=100, renew=False
            )
        )
    return records


def is_near(plan: Mapping[str, Any]) -> bool:
    """Whether the builder of a plan is at hand."""
    return bool(plan["request"]["version"] == NEAR)


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ((NEAR, NEAR), ["0", "1"]),
        ((FAR, NEAR, FAR, NEAR), ["1", "0", "2", "3"]),
        ((FAR, FAR), ["0", "1"]),
        ((), []),
        ((FAR,) * WINDOW + (NEAR,), [str(place) for place in range(WINDOW)]),
    ],
)
def test_a_builder_at_hand_goes_first_within_bounds(
    versions: tuple[str, ...], chosen: list[str]
) -> None:
    """Where the first one's is at hand, or nobody's near the head of the line, it is the first one's turn."""
    assert Choice(line_of(*versions), is_near)() == chosen


def test_podman_is_not_asked_where_there_is_no_choice() -> None:
    """The only one who waits is next, and need not wait for podman's answer."""
    asked: list[Mapping[str, Any]] = []

    def has_builder(plan: Mapping[str, Any]) -> bool:
        asked.append(plan)
        return False

    assert (Choice(line_of(FAR), has_builder)(), asked) == (["0"], [])


def test_nobody_is_overtaken_for_ever() -> None:
    """However many come whose builder is at hand: after so many it is the turn of the first."""
    records = line_of(FAR, *(NEAR,) * 10)
    begun = []
    for _ in range(OVERTAKINGS + 2):
        begun.append(Choice(records, is_near)()[0])
        assert records.start(begun[-1])

    assert begun == ["1", "2", "3", "0", "4"]


def test_who_comes_back_is_first() -> None:
    """It has waited its time; its builder was here, or will be wherever it begins."""
    records = line_of(FAR, NEAR)
    attempt = records.start("0")
    assert attempt
    records.retry(attempt, "download-failed", 0)

    assert Choice(records, is_near)() == ["0", "1"]
