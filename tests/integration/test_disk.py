"""A real disk of a few MiB that fills up while a build is copied out."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from asu.errors import DiskFull
from asu.room import MIB
from asu.stores.local import LocalStore
from asu.worker.builder_output import COPY_CHUNK, copy_out
from asu.worker.memory_container import regular
from tests.unit.job_world import body_of, new_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CAN_RUN = os.geteuid() == 0 or "CI" in os.environ
pytestmark = pytest.mark.skipif(not CAN_RUN, reason="needs root, to mount a small disk")

DISK = 16  # MiB.
SIZE = 6  # MiB; of an image.


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


def fill(disk: Path) -> None:
    """Write as another program does, so that the image still fits, and the reserve does not."""
    (disk / "other").write_bytes(bytes(7 * MIB))


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
    """As a fault of the server, which is tried again; its workplace is removed, and what was published before is still there."""
    world = new_world(disk, disk_reserve_mb=4)
    world.script.extra.append((regular("out/extra.bin", bytes(SIZE * MIB)), bytes(SIZE * MIB)))
    world.script.before["image"] = lambda: fill(disk)

    record = world.build()

    assert (record.fault, body_of(record)["code"]) == ("infra", "disk-full")
    assert list((disk / ".incoming").iterdir()) == []
    (disk / "other").unlink()
    world.script.before.clear()
    assert body_of(world.build())["status"] == 200
