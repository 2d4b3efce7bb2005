"""What a worker tidies: builds whose worker died, lost jobs, containers that nobody owns."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from asu.errors import ContainerFailed, StoreFailed
from asu.records.build_record import LEASE_SECONDS, Attempt, BuildRecord, PendingBodies, State
from asu.settings import Settings
from asu.statistics.build_statistics import days_up_to, today
from asu.stores.store import Lifetimes, StoreUsage
from asu.worker.builder_image import BuilderImage
from asu.worker.outcome_statistics import OutcomeStatistics
from asu.worker.sweeping import GRACE, Sweep, Swept
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.imitated_statistics import ImitatedStatistics
from tests.twins.memory_container import MemoryEngine
from tests.twins.memory_fleet import MemoryBuildQueue, MemoryFleet
from tests.twins.memory_store import MemoryStore

KEY = "ab" * 32
OTHER = "cd" * 32
IMAGE = BuilderImage(name="image", version="24.10.4", target="ath79/generic")
ENQUEUED = "2026-03-01T12:00:00+00:00"


class AbsentStore(MemoryStore):
    """A store that does not answer."""

    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        """See Store."""
        raise StoreFailed(reason=f"away, with {lifetimes} and {is_known}")


@dataclass
class World:
    """Records, a queue, containers, and a worker that tidies them."""

    records: ImitatedRecords = field(default_factory=ImitatedRecords)
    queue: MemoryBuildQueue = field(default_factory=MemoryBuildQueue)
    engine: MemoryEngine = field(default_factory=MemoryEngine)
    store: MemoryStore = field(default_factory=MemoryStore)
    statistics: ImitatedStatistics = field(default_factory=ImitatedStatistics)
    fleet: MemoryFleet = field(default_factory=MemoryFleet)
    alive: set[str] = field(default_factory=set)
    # Every machine has a root directory, whose free bytes a worker notes.
    settings: Settings = field(
        default_factory=lambda: Settings(max_attempts=2, store_path=Path("/"))
    )

    def ask(self, key: str = KEY) -> None:
        """Put a build in line."""
        request = {
            "version": "24.10.4",
            "target": "x86/64",
            "profile": "generic",
            "defaults": "secret",
        }
        plan = json.dumps({"key": key, "request": request, "enqueued_at": ENQUEUED})
        asyncio.run(
            self.records.claim(
                key, plan=plan, bodies=PendingBodies(b"{}", b"{}"), limit=10, renew=False
            )
        )

    def begin(self, key: str = KEY) -> Attempt:
        """Begin a build in a container."""
        attempt = self.records.start_next()
        assert attempt
        assert attempt.key == key
        self.engine.start(IMAGE, key=key, attempt=attempt.number)
        return attempt

    def sweep(self) -> Swept:
        """Let a worker tidy once, its containers too."""
        return self.new_sweep()()

    def new_sweep(self) -> Sweep:
        """Return what a worker tidies with."""
        statistics = OutcomeStatistics(self.statistics)
        return Sweep(
            self.settings,
            records=self.records,
            queue=self.queue,
            store=self.store,
            engine=lambda: self.engine,
            statistics=statistics,
            live_workers=lambda: self.alive,
            notes=self.fleet,
        )

    def publish(self, key: str = KEY, *, ended: int) -> None:
        """Publish a build whose life ended so many seconds ago."""
        self.store.publish(key, self.store.workplace(key), -ended)

    def let_leases_end(self) -> None:
        """Let the time pass after which a silent worker counts as dead."""
        self.records.let_pass(LEASE_SECONDS)

    def record(self, key: str = KEY) -> BuildRecord:
        """Return the record of a build."""
        record = asyncio.run(self.records.look(key))
        assert record
        return record

    def left(self) -> list[tuple[str, int]]:
        """Return key and attempt of the containers that are still there."""
        return [(key, number) for key, number, _ in self.engine.leftovers()]


@pytest.fixture
def world() -> World:
    """Return a world in which one build waits."""
    world = World()
    world.ask()
    return world


def test_the_build_of_a_dead_worker_waits_again(world: World) -> None:
    """A build whose lease ended is back in line, with a ticket."""
    world.begin()
    world.let_leases_end()

    world.sweep()

    assert world.record().state is State.QUEUED
    assert (world.records.due_keys(), world.queue.tickets) == ([KEY], 1)


def test_a_build_that_runs_is_left_alone(world: World) -> None:
    """A worker that renews its lease keeps its build and its container."""
    attempt = world.begin()
    world.records.let_pass(LEASE_SECONDS - 5)

    world.sweep()

    assert world.record().state is State.RUNNING
    assert world.left() == [(KEY, attempt.number)]


def test_the_container_of_a_dead_attempt_is_removed(world: World) -> None:
    """Only the container of the attempt that runs now stays."""
    world.begin()
    world.records.lose(KEY)
    attempt = world.begin()

    world.sweep()

    assert world.left() == [(KEY, attempt.number)]


def test_the_container_of_a_finished_build_is_removed(world: World) -> None:
    """A worker that died between outcome and removal leaves nothing behind."""
    attempt = world.begin()
    world.records.finish(attempt, BuildRecord(state=State.DONE, step="done", body=b"{}"), ttl=100)

    world.sweep()

    assert world.left() == []


def test_the_container_of_an_unknown_build_is_removed(world: World) -> None:
    """A record that is gone owns nothing."""
    world.engine.start(IMAGE, key=OTHER, attempt=1)

    world.sweep()

    assert world.left() == []


def test_lost_tickets_are_added_again(world: World) -> None:
    """A build that waits without a ticket would wait for ever."""
    world.ask(OTHER)

    world.sweep()

    assert world.queue.tickets == 2


def test_a_build_that_loses_every_worker_fails_in_the_end(world: World) -> None:
    """After the last attempt it is told as lost, as our fault, with all that an answer has."""
    for _ in range(2):
        world.begin()
        world.let_leases_end()
        world.sweep()

    record = world.record()
    body: dict[str, Any] = json.loads(record.body)
    assert (record.state, record.step, record.fault) == (State.FAILED, "failed", "infra")
    assert (body["status"], body["code"], body["imagebuilder_status"]) == (
        500,
        "worker-lost",
        "failed",
    )
    [(counted, _)] = asyncio.run(world.statistics.failures(days_up_to(today(), 2)))
    assert counted.code == "worker-lost"
    assert body["detail"] == "Error: The worker of this build was lost 2 times; try again later."
    assert (body["request_hash"], body["stdout"], body["stderr"]) == (KEY, "", "")
    assert (body["fault"], body["enqueued_at"], body["retry_after"]) == ("infra", ENQUEUED, 30)
    assert body["request"] == {
        "version": "24.10.4",
        "target": "x86/64",
        "profile": "generic",
        "defaults": "(withheld)",
    }


def test_podman_away_does_not_stop_the_tidying(world: World) -> None:
    """Builds are taken back even when no container can be listed."""
    world.begin()
    world.let_leases_end()
    world.engine.failure = ContainerFailed(reason="podman did not list the build containers")

    world.sweep()

    assert world.record().state is State.QUEUED


def test_containers_are_not_listed_all_the_time(world: World) -> None:
    """Records are looked at each time, containers only now and then."""
    sweep = world.new_sweep()
    sweep()
    world.engine.start(IMAGE, key=OTHER, attempt=1)

    sweep()

    assert world.left() == [(OTHER, 1)]


def test_the_container_of_a_dead_worker_goes_with_its_attempt(world: World) -> None:
    """It builds on for nobody and takes the processors of those that follow, so it does not wait
    for its turn.
    """
    sweep = world.new_sweep()
    sweep()
    world.begin()
    world.let_leases_end()

    sweep()

    assert world.left() == []


def test_the_files_of_a_forgotten_build_are_removed(world: World) -> None:
    """A record ends after its time, and the files with it: the disk does not fill up."""
    world.publish(OTHER, ended=GRACE + 60)

    world.sweep()

    assert not world.store.has(OTHER)


def test_the_files_of_a_known_build_stay(world: World) -> None:
    """Whatever a record says of the build, its files are not taken from under it."""
    world.publish(ended=1_000_000)

    world.sweep()

    assert world.store.has(KEY)


def test_files_outlive_their_record_by_the_grace(world: World) -> None:
    """Whoever was told of an image in the last second of its record may still download it."""
    world.publish(OTHER, ended=GRACE - 60)

    world.sweep()

    assert world.store.has(OTHER)


def test_damaged_files_are_removed_though_their_record_lives(world: World) -> None:
    """A gateway would serve them; without them the next poll has the build made again."""
    place = world.store.workplace(KEY)
    (place / "a.bin").write_bytes(b"image")
    world.store.publish(KEY, place, 1000)
    world.store.published[KEY].contents["a.bin"] = b"im"

    swept = world.sweep()

    assert KEY not in world.store.published
    assert swept.damaged == [KEY]
    assert f"build {KEY}: its files were damaged" in swept.in_words()


def test_a_store_that_is_away_does_not_stop_the_tidying() -> None:
    """Builds are taken back and containers removed all the same."""
    world = World(store=AbsentStore())
    world.ask()
    world.begin()
    world.let_leases_end()

    world.sweep()

    assert world.record().state is State.QUEUED
    assert world.left() == []


def test_a_sweep_tells_what_it_did(world: World) -> None:
    """An operator who tidies by hand sees each build by its key."""
    world.begin()
    world.let_leases_end()
    world.engine.start(IMAGE, key=OTHER, attempt=1)
    world.publish("ef" * 32, ended=GRACE + 60)

    swept = world.sweep()

    assert (swept.taken_back, sorted(swept.containers), swept.files, swept.troubles) == (
        [KEY],
        [KEY, OTHER],
        ["ef" * 32],
        [],
    )
    assert swept.in_words().splitlines()[0] == f"build {KEY}: put back in line, its worker was lost"
    assert world.sweep().in_words() == "nothing was to be done\n"


def test_a_sweep_tells_what_it_could_not_do() -> None:
    """Whatever was away."""
    world = World(store=AbsentStore())
    world.engine.failure = ContainerFailed(reason="podman did not list the build containers")

    assert [trouble.split(":")[0] for trouble in world.sweep().troubles] == ["containers", "files"]


def test_a_disk_that_is_not_there_yet_stops_no_sweep(tmp_path: Path) -> None:
    """A worker with a bucket makes its directory with its first build; nobody knows until then how
    much room there is.
    """
    world = World(settings=Settings(store_path=tmp_path / "later"))

    assert world.sweep().troubles == []
    assert [note.disk_free for note in world.fleet.workers.values()] == [None]


def test_a_worker_notes_how_it_does(world: World) -> None:
    """Its podman and its disk, which only it sees, and what the store holds."""
    world.publish(OTHER, ended=-100)
    world.sweep()
    [note] = world.fleet.workers.values()
    assert (note.trouble, (note.disk_free or 0) > 0, world.fleet.usage) == (
        "",
        True,
        StoreUsage(builds=1, bytes=0),
    )

    world.engine.failure = ContainerFailed(reason="podman did not list the build containers")
    sweep = world.new_sweep()
    sweep()
    assert sum("podman did not list" in note.trouble for note in world.fleet.workers.values()) == 1
