"""A store that holds more than its budget: what goes, in which order, and what never does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asu.disk_space import MIB
from asu.records.build_record import Attempt, BuildRecord, PendingBodies, State
from asu.settings import Settings
from asu.worker.retention import GRACE, keep_within
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.memory_store import MemoryStore
from tests.unit.test_sweeping import World as Tidied

if TYPE_CHECKING:
    from pathlib import Path

A, B, C = "a" * 64, "b" * 64, "c" * 64
DONE = BuildRecord(state=State.DONE, step="done", body=b"{}")


class World:
    """Records and a store; builds of one MiB each."""

    def __init__(self) -> None:
        self.records, self.store = ImitatedRecords(), MemoryStore()

    def begin(self, key: str) -> Attempt:
        """Put a build in line and start it."""
        asyncio.run(
            self.records.claim(key, plan="{}", bodies=PendingBodies(b"", b""), limit=10, renew=True)
        )
        attempt = self.records.start_next()
        assert attempt
        assert attempt.key == key
        return attempt

    def publish(self, key: str, *, idle: float) -> None:
        """Publish files as if that had been some seconds ago."""
        place = self.store.workplace(key)
        (place / "a.bin").write_bytes(bytes(MIB))
        self.store.publish(key, place, 86_400)
        build = self.store.published[key]
        manifest = replace(
            build.manifest, published=build.manifest.published - timedelta(seconds=idle)
        )
        self.store.published[key] = replace(build, manifest=manifest)

    def finish(self, key: str, *, idle: float) -> None:
        """Finish a build as if that had been some seconds ago."""
        attempt = self.begin(key)
        self.publish(key, idle=idle)
        self.records.finish(attempt, DONE, 86_400)

    def left(self) -> tuple[list[str], list[str]]:
        """Return which builds have files, and which a record."""
        return sorted(self.store.published), [
            key for key in (A, B, C) if self.records.is_known(key)
        ]


@pytest.fixture
def world() -> World:
    """Return a world in which three builds are finished, the oldest first."""
    world = World()
    for number, key in enumerate((A, B, C)):
        world.finish(key, idle=GRACE + 3000 - number * 1000)
    return world


def test_what_was_of_no_use_for_longest_goes_first(world: World) -> None:
    """Record and files together, and no more than it takes."""
    assert keep_within(2, world.store, world.records) == [A]
    assert world.left() == ([B, C], [B, C])
    assert keep_within(2, world.store, world.records) == []


@pytest.mark.parametrize("budget", [0, 3])
def test_a_store_within_its_budget_is_left_alone(world: World, budget: int) -> None:
    """And without a budget there is none to keep."""
    assert keep_within(budget, world.store, world.records) == []
    assert world.left() == ([A, B, C], [A, B, C])


def test_a_build_that_was_asked_for_goes_later(world: World) -> None:
    """However long ago it was published."""
    asyncio.run(world.records.note_use(A))
    world.records.let_pass(GRACE + 100)

    assert keep_within(1, world.store, world.records) == [B, C]
    assert world.left() == ([A], [A])


def test_what_was_of_use_a_moment_ago_stays(world: World) -> None:
    """Though the store holds more than its budget: somebody is about to download it."""
    for key in (A, C):
        asyncio.run(world.records.note_use(key))
    world.publish(B, idle=GRACE - 100)
    world.records.let_pass(GRACE - 100)

    assert keep_within(1, world.store, world.records) == []
    assert world.left() == ([A, B, C], [A, B, C])


def test_what_waits_or_runs_stays(world: World) -> None:
    """Files of an earlier life of a build are replaced by its new one."""
    asyncio.run(world.records.revive(A))
    asyncio.run(world.records.revive(B))
    world.records.start_next()

    assert keep_within(1, world.store, world.records) == [C]
    assert world.left() == ([A, B], [A, B])


def test_files_without_a_record_go_as_well(world: World) -> None:
    """A worker that was killed between the two has left them."""
    assert world.records.forget(B, GRACE)
    world.publish(B, idle=1_000_000)

    assert keep_within(2, world.store, world.records) == [B]


def test_a_build_that_comes_into_use_at_the_last_moment_stays(world: World) -> None:
    """It is asked once more, in the same step that takes its record away."""

    class BusyRecords(ImitatedRecords):
        def forget(self, key: str, grace: float) -> bool:
            asyncio.run(world.records.note_use(key))
            return world.records.forget(key, grace)

    assert keep_within(2, world.store, BusyRecords()) == []
    assert world.left() == ([A, B, C], [A, B, C])


def test_a_record_goes_before_its_files(world: World) -> None:
    """A poll in between finds neither, instead of a record whose files are gone, which would have
    the build made again.
    """
    seen: list[bool] = []

    class WatchedStore(MemoryStore):
        def remove(self, key: str, grace: float) -> bool:
            seen.append(world.records.is_known(key))
            return super().remove(key, grace)

    store = WatchedStore()
    store.published = world.store.published
    keep_within(2, store, world.records)

    assert seen == [False]


def test_a_worker_keeps_the_budget_when_it_tidies(tmp_path: Path) -> None:
    """And tells what it took."""
    world = Tidied(settings=Settings(store_path=tmp_path, store_budget_mb=1))
    other = World()
    other.records, other.store = world.records, world.store
    for key in (A, B):
        other.finish(key, idle=GRACE + 100)

    swept = world.sweep()

    assert len(swept.evicted) == 1
    assert "the store has more than its budget" in swept.in_words()
