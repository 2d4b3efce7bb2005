"""Whether a worker may begin a build: by the disk where it gathers images, and the memory of
Redis.
"""

from functools import partial
from pathlib import Path

import fakeredis
import pytest

from asu.records.redis_connections import has_memory
from asu.settings import Settings
from asu.worker.readiness import ReadyToBegin

TOO_MUCH = 1024**3  # MiB; no disk has as much.


def ready(path: Path, reserve_mb: int) -> ReadyToBegin:
    """Return what a worker asks before it takes a ticket."""
    return ReadyToBegin(Settings(store_path=path, disk_reserve_mb=reserve_mb), lambda: True)


def test_with_its_reserve_free_a_worker_begins_builds(tmp_path: Path) -> None:
    """As always."""
    assert ready(tmp_path, 0)()


def test_below_the_reserve_none_is_begun_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker looks each second; an operator wants to read it once."""
    is_ready = ready(tmp_path, TOO_MUCH)

    assert [is_ready(), is_ready()] == [False, False]
    [said] = caplog.messages
    assert said.startswith("no build is begun: ")
    assert said.endswith(f"{TOO_MUCH} MiB are its reserve (DISK_RESERVE_MB); accepted builds wait")


def test_a_disk_that_cannot_be_looked_at_stops_nothing(tmp_path: Path) -> None:
    """A worker that has not made its directory yet, and a disk that is away, whose build says what
    is wrong.
    """
    assert ready(tmp_path / "gone", TOO_MUCH)()


def test_a_redis_that_is_away_stops_nothing(tmp_path: Path) -> None:
    """RQ waits for it where it waits for tickets."""
    redis = fakeredis.FakeRedis(connected=False)

    assert ReadyToBegin(
        Settings(store_path=tmp_path, disk_reserve_mb=0), partial(has_memory, redis)
    )()
