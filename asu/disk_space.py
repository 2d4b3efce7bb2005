"""How much is free on a disk, which may hang.

A disk is as full without inodes as without bytes. So one number stands for both: a file system
without enough inodes has less free than its bytes.
"""

import errno
import os
from pathlib import Path
from typing import NamedTuple

from asu.blocking import BlockingCalls
from asu.errors import DiskFull, StoreFailed

MIB = 1024 * 1024
INODE_BYTES = 16 * 1024  # What an inode counts for; ext4 makes one for so many bytes.
# What a write reports when the disk, or the quota of this user, is full.
FULL = (errno.ENOSPC, errno.EDQUOT)
PATIENCE = 2.0  # Seconds that a request waits for a disk that hangs.


class FreeSpace(NamedTuple):
    """What is free on a disk; `inodes` is None for a file system that does not count them."""

    bytes: int
    inodes: int | None = None

    @property
    def usable(self) -> int:
        """The bytes that files can take."""
        return self.bytes if self.inodes is None else min(self.bytes, self.inodes * INODE_BYTES)


def free_bytes(path: Path) -> int | None:
    """Return how many bytes are free on the disk of a path; None if it cannot be read."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    inodes = found.f_favail if found.f_files else None
    return FreeSpace(found.f_bavail * found.f_frsize, inodes).usable


def expect_free(free: int | None, reserve_mb: int, wanted: int = 0) -> None:
    """Raise DiskFull if less than the reserve is left after `wanted` bytes; None is unknown."""
    if free is not None and free - wanted < reserve_mb * MIB:
        raise DiskFull(space=f"{free // MIB} MiB are free, {reserve_mb} MiB are its reserve")


def disk_error(error: OSError, what: str) -> DiskFull | StoreFailed:
    """Return a disk without bytes or inodes as that, any other trouble as one of the store."""
    if error.errno in FULL:
        return DiskFull(space="nothing is free")
    return StoreFailed(reason=f"{what} ({error.strerror})")


def expect_disk_space(path: Path, reserve_mb: int, wanted: int = 0) -> None:
    """Raise DiskFull as `expect_free`, for the disk of a path."""
    expect_free(free_bytes(path), reserve_mb, wanted)


class Disk:
    """The disk of a path, for callers that must not hang with it."""

    def __init__(self, path: Path, *, patience: float = PATIENCE) -> None:
        self._path, self._calls = path, BlockingCalls("the disk", patience=patience)

    async def free(self) -> int | None:
        """Return how many bytes are free; None if it cannot be read, or does not answer in time."""
        try:
            return await self._calls.run(lambda: free_bytes(self._path))
        except TimeoutError:
            return None
