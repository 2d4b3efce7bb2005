"""A real disk of a few MiB that fills up while a build is copied out, or while one waits for its
worker.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import tarfile
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from asu.builds.build_queue import QUEUE
from asu.builds.fleet import NOTE, live_workers
from asu.disk_space import MIB
from asu.errors import DiskFull
from asu.records.build_record import State
from asu.stores.local import LocalStore
from asu.worker.copying import COPY_CHUNK, copy_out
from tests.integration.worker_world import WorkerWorld
from tests.redis_server import RedisServer
from tests.twins.memory_container import regular
from tests.unit.job_world import body_of, new_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.podman_world import PodmanWorld

CAN_RUN = os.geteuid() == 0 or "CI" in os.environ
pytestmark = pytest.mark.skipif(not CAN_RUN, reason="needs root, to mount a small disk")

DISK = 16  # MiB.
SIZE = 6  # MiB; of an image.
PATIENCE = 60  # Seconds for a worker to start; on an idle machine it takes two.
# Signs of life, of which a waiting worker gives one a second: longer than RQ waits for a job, and
# than a pause between sweeps.
WAITED = 8


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a small disk."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(disk: Path, mib: int = 7) -> None:
    """Write as another program does; as much as this leaves room for the image, and not for the
    reserve.
    """
    (disk / "other").write_bytes(bytes(mib * MIB))


def pieces(meanwhile: Callable[[], None]) -> Iterator[bytes]:
    """Return an image as a tar stream; something happens when half of it has come."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(regular("out/image.bin", bytes(SIZE * MIB)), io.BytesIO(bytes(SIZE * MIB)))
    data = buffer.getvalue()
    for start in range(0, len(data), COPY_CHUNK):
        if start == SIZE // 2 * COPY_CHUNK:
            meanwhile()
        yield data[start : start + COPY_CHUNK]


def test_a_disk_that_others_fill_meanwhile_ends_the_copy(disk: Path) -> None:
    """The reserve stays free: others, and whoever logs in to mend it, need it."""
    store = LocalStore(disk)
    store.open()
    place = store.workplace("a" * 64)
    with pytest.raises(DiskFull):
        copy_out(pieces(lambda: fill(disk)), place, max_bytes=DISK * MIB, reserve_mb=4)

    free = os.statvfs(disk)
    assert free.f_bavail * free.f_frsize >= 4 * MIB


def test_a_build_that_would_fill_the_disk_fails_and_leaves_nothing(disk: Path) -> None:
    """As a fault of the server, which is tried again; its workplace is removed, and what was
    published before is still there.
    """
    world = new_world(disk, disk_reserve_mb=4)
    world.script.extra.append((regular("out/extra.bin", bytes(SIZE * MIB)), bytes(SIZE * MIB)))
    world.script.before["image"] = lambda: fill(disk)

    record = world.build()

    assert (record.fault, body_of(record)["code"]) == ("infra", "disk-full")
    assert list((disk / ".incoming").iterdir()) == []
    (disk / "other").unlink()
    world.script.before.clear()
    assert body_of(world.build())["status"] == 200


@pytest.fixture
def without_room(
    podman: PodmanWorld, own_redis: RedisServer, tmp_path: Path, disk: Path
) -> Iterator[WorkerWorld]:
    """Return a worker's world whose disk is below its reserve."""
    with ExitStack() as stack:
        world = WorkerWorld(
            podman, own_redis, tmp_path, stack, {"store_path": disk, "disk_reserve_mb": 4}
        )
        fill(disk, 14)
        yield world


def test_an_accepted_build_waits_for_room_and_is_then_made(
    without_room: WorkerWorld, disk: Path
) -> None:
    """However long the disk is full: it is not begun, no try is counted, and the worker lives; soon
    after there is room it is built.
    """
    worker = without_room.start_worker()
    key = without_room.ask()
    without_room.wake_worker()
    for _ in range(WAITED):
        wait_for_sign_of_life(without_room)

    waits, tickets = without_room.look(key), without_room.client.llen(f"rq:queue:{QUEUE}")
    (disk / "other").unlink()
    record = without_room.wait_until_ended(key, seconds=60)

    assert (waits.state, json.loads(waits.live.tried), tickets) == (State.QUEUED, [], 1)
    assert (record.state, without_room.tries(key), worker.poll()) == (State.DONE, 1, None), (
        record.body
    )


def test_a_worker_that_waits_for_room_ends_when_it_is_told_to(without_room: WorkerWorld) -> None:
    """It has no build to finish, and the one that waits is for another worker."""
    worker = without_room.start_worker()
    key = without_room.ask()
    without_room.wake_worker()
    for _ in range(2):
        wait_for_sign_of_life(without_room)

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(10) == 0
    assert (
        without_room.look(key).state,
        without_room.client.llen(f"rq:queue:{QUEUE}"),
    ) == (State.QUEUED, 1)


def wait_for_sign_of_life(world: WorkerWorld) -> None:
    """Wait until a worker writes a note, later than now."""
    for name in world.client.keys(f"{NOTE}*"):
        world.client.delete(name)
    give_up = time.monotonic() + PATIENCE
    while not live_workers(world.client):
        assert time.monotonic() < give_up, "the worker has not been heard of"
        time.sleep(0.1)
