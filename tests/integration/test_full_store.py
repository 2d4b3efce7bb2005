"""A real disk on which nothing can be made any more: what must go to make room goes, and what is
wanted stays.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from asu.disk_space import INODE_BYTES, expect_disk_space, free_bytes
from asu.errors import DiskFull, StoreFailed
from asu.stores.local import LocalStore
from asu.stores.manifest import MANIFEST
from tests.contract.test_store import LIFETIMES, A, B, publish, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CAN_RUN = os.geteuid() == 0 or "CI" in os.environ
pytestmark = pytest.mark.skipif(not CAN_RUN, reason="needs root, to mount a small disk")

INODES = 64  # Files and directories that the disk has room for.


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a small disk."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"nr_inodes={INODES}", "tmpfs", place], check=True
    )
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def store(disk: Path) -> LocalStore:
    """Return a store with a build whose time is over, and one whose time is not, on a disk that is
    full.
    """
    store = LocalStore(disk / "store")
    store.open()
    publish(store, lifetime=-2000, a_bin="over", b_bin="over")
    publish(store, key=B, a_bin="wanted")
    with pytest.raises(OSError, match="No space left"):
        fill(disk)
    return store


def fill(disk: Path) -> None:
    """Make files until there is no room for another."""
    for number in range(INODES):
        (disk / f"other-{number}").touch()


def expire(store: LocalStore, _: Path) -> list[str]:
    """Remove what is over."""
    return store.expire(LIFETIMES, lambda _: False)


def remove_damaged(store: LocalStore, disk: Path) -> list[str]:
    """Remove a build that was cut short."""
    os.truncate(disk / "store" / A / "a.bin", 1)
    return store.remove_damaged()


def remove_for_the_budget(store: LocalStore, _: Path) -> list[str]:
    """Remove a build that nobody wants, and leave one that was just published."""
    return [key for key, grace in ((A, -1), (B, 600)) if store.remove(key, grace)]


@pytest.mark.parametrize("tidy", [expire, remove_damaged, remove_for_the_budget])
def test_what_must_go_goes(
    store: LocalStore, disk: Path, tidy: Callable[[LocalStore, Path], list[str]]
) -> None:
    """And with it the disk has room again."""
    assert tidy(store, disk) == [A]

    assert (list(store.published_keys()), read(store, "a.bin", B)) == ([B], "wanted")
    assert list((disk / "store" / ".incoming").iterdir()) == []
    publish(store, a_bin="anew")
    assert read(store, "a.bin") == "anew"


def test_what_a_crash_left_of_a_removal_is_removed(store: LocalStore, disk: Path) -> None:
    """A directory in the way stands for the crash. The rest is served to nobody, and known as
    damaged.
    """
    (disk / "store" / A / "b.bin").unlink()
    (disk / "store" / A / "b.bin").mkdir()

    with pytest.raises(StoreFailed, match="a build was not removed"):
        expire(store, disk)

    assert (disk / "store" / A / MANIFEST).exists()
    assert not store.has(A)
    (disk / "store" / A / "b.bin").rmdir()
    assert store.remove_damaged() == [A]


def test_a_disk_without_inodes_is_a_full_disk(store: LocalStore, disk: Path) -> None:
    """Whoever looks sees it, and whoever writes says so, although all bytes are free."""
    assert free_bytes(disk) == 0
    with pytest.raises(DiskFull, match="MiB are its reserve"):
        expect_disk_space(disk, 1)
    with pytest.raises(DiskFull):
        store.keep_failure(B, b"text")
    with pytest.raises(DiskFull):
        store.workplace(B)


def test_inodes_count_as_the_bytes_that_go_with_them(disk: Path) -> None:
    """Before they are used up."""
    before = free_bytes(disk)
    (disk / "file").touch()

    assert before == (INODES - 1) * INODE_BYTES
    assert free_bytes(disk) == before - INODE_BYTES
