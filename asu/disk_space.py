"""How many bytes are free on a disk, which may hang."""

import shutil
from pathlib import Path

from asu.blocking import BlockingCalls
from asu.errors import DiskFull

MIB = 1024 * 1024
PATIENCE = 2.0  # Seconds that a request waits for a disk that hangs.


def free_bytes(path: Path) -> int | None:
    """Return how many bytes are free on the disk of a path; None if it cannot be read."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def expect_free(free: int | None, reserve_mb: int, wanted: int = 0) -> None:
    """Raise DiskFull if less than the reserve is left after `wanted` bytes; None is unknown."""
    if free is not None and free - wanted < reserve_mb * MIB:
        raise DiskFull(free=free // MIB, reserve=reserve_mb)


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
