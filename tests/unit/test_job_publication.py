"""An attempt that loses its lease while it publishes: what is served stays what the record
names.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from asu.records.build_record import Attempt, State
from asu.settings import Settings
from asu.stores.local import LocalStore
from asu.stores.store import NO_HASHES, without_rival
from tests.unit.job_world import KEY, WatchedRecords, World, body_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from asu.stores.manifest import Manifest


class SlowStore(LocalStore):
    """A store in which something happens when a publication begins."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def publish(
        self,
        key: str,
        directory: Path,
        lifetime: int,
        hashes: Mapping[str, str] = NO_HASHES,
        is_current: Callable[[], bool] = without_rival,
    ) -> bool:
        """See Store."""
        self.meanwhile()
        return super().publish(key, directory, lifetime, hashes, is_current)


class FreezingRecords(WatchedRecords):
    """Records after whose answer, that an attempt is the current one, something happens once."""

    def __init__(self) -> None:
        super().__init__()
        self.after: list[Callable[[], None]] = []

    def renew(self, attempt: Attempt) -> bool:
        """See WorkerRecords."""
        answer = super().renew(attempt)
        if self.after:
            self.after.pop()()
        return answer


class RacingWorld(World):
    """A worker whose attempt another one overtakes."""

    records: FreezingRecords
    store: SlowStore
    stands: tuple[Manifest | None, bytes] = (None, b"")

    def lose(self) -> None:
        """Let the first attempt's lease end and another begin."""
        self.records.lose(KEY)
        assert self.records.start_next()

    def be_overtaken(self) -> None:
        """Let the first attempt's lease end, and another worker build all of it, which looks
        different.
        """
        self.store.meanwhile = lambda: None
        self.records.lose(KEY)
        self.script.versions["vim"] = "9.1-r2"
        self.run()
        self.stands = (self.store.manifest(KEY), self.record().body)

    def serves_what_was_told(self) -> bool:
        """Whether each image is there and has the hash that the record names."""
        images = body_of(self.record())["images"]
        directory = self.settings.store_path / KEY
        return bool(images) and all(
            sha256((directory / image["name"]).read_bytes()).hexdigest() == image["sha256"]
            for image in images
        )


@pytest.fixture
def world(tmp_path: Path) -> RacingWorld:
    """Return a world with an empty store."""
    store = SlowStore(tmp_path)
    store.open()
    return RacingWorld(
        Settings(store_path=tmp_path, retry_delays=(), disk_reserve_mb=0), store, FreezingRecords()
    )


def test_an_attempt_that_is_superseded_while_it_publishes_publishes_nothing(
    world: RacingWorld, tmp_path: Path
) -> None:
    """It leaves the outcome to the other, and no file."""
    world.store.meanwhile = world.lose

    assert world.build().state is State.RUNNING
    assert not world.store.has(KEY)
    assert {path.name for path in tmp_path.iterdir()} == {".incoming", ".builders"}
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_a_copy_that_does_not_end_fails_the_build(world: RacingWorld) -> None:
    """By the server's fault, and nothing is published."""
    world.script.seconds["copy"] = world.settings.copy_deadline + 1
    record = world.build()

    assert (body_of(record)["code"], record.fault, world.store.has(KEY)) == (
        "build-timeout",
        "infra",
        False,
    )


def test_a_worker_that_freezes_while_it_hashes_replaces_nothing(world: RacingWorld) -> None:
    """When it thaws, another has published and finished: those files stay, and so does the record
    that names them.
    """
    world.store.meanwhile = world.be_overtaken
    record = world.build()

    assert record.state is State.DONE
    assert json.loads(record.body)["manifest"]["vim"] == "9.1-r2"
    assert (world.store.manifest(KEY), record.body) == world.stands
    assert world.serves_what_was_told()


def test_a_worker_that_freezes_right_after_it_asked_replaces_nothing(world: RacingWorld) -> None:
    """The answer is old when it acts on it; what lies there by then refuses the rename."""
    world.store.meanwhile = lambda: world.records.after.append(world.be_overtaken)
    record = world.build()

    assert (world.store.manifest(KEY), record.body) == world.stands
    assert world.serves_what_was_told()
