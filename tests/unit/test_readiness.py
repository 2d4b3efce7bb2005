"""Whether a worker may begin a build: by the disk where it gathers images."""

from pathlib import Path

import pytest

from asu.settings import Settings
from asu.worker.readiness import RoomToBegin

TOO_MUCH = 1024**3  # MiB; no disk has as much.


def test_with_its_reserve_free_a_worker_begins_builds(tmp_path: Path) -> None:
    """As always."""
    assert RoomToBegin(Settings(store_path=tmp_path, disk_reserve_mb=0))()


def test_below_the_reserve_none_is_begun_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker looks each second; an operator wants to read it once, and what is to be done."""
    has_room = RoomToBegin(Settings(store_path=tmp_path, disk_reserve_mb=TOO_MUCH))

    assert [has_room(), has_room()] == [False, False]
    [said] = caplog.messages
    assert said.startswith("no build is begun: ")
    assert said.endswith(
        f"{TOO_MUCH} MiB are the reserve (DISK_RESERVE_MB); accepted builds wait until there is room"
    )


def test_a_disk_that_cannot_be_looked_at_stops_nothing(tmp_path: Path) -> None:
    """A worker that has not made its directory yet, and a disk that is away, whose build tells what is wrong."""
    assert RoomToBegin(Settings(store_path=tmp_path / "gone", disk_reserve_mb=TOO_MUCH))()
