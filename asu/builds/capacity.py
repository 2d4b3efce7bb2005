"""Whether there is room for another build, so that a disk or a Redis that fills up puts off builds and ends none."""

import shutil
from pathlib import Path

from asu.blocking import BlockingCalls
from asu.caching import TtlCache
from asu.errors import DiskFull, MemoryFull, QueueUnavailable
from asu.records.build_record import Records
from asu.settings import Settings

from .fleet import Fleet, known_free

# A burst of requests looks once; in a second a build copies out less than the reserve, and a full
# Redis refuses claims itself.
KEPT_SECONDS = 1.0
# Seconds that a request waits for a disk that hangs; whether it is full will be the worker's to
# find out.
PATIENCE = 2.0
MIB = 1024 * 1024


def free_bytes(path: Path) -> int | None:
    """Return how many bytes are free on the disk of a path; None where it cannot be looked at."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


class Disk:
    """The disk of a path, which may hang."""

    def __init__(self, path: Path, *, patience: float = PATIENCE) -> None:
        self._path, self._calls = path, BlockingCalls("the disk", patience=patience)

    async def free(self) -> int | None:
        """Return how many bytes are free; None where it cannot be looked at or does not answer."""
        try:
            return await self._calls.run(lambda: free_bytes(self._path))
        except TimeoutError:
            return None


def expect_room(path: Path, reserve_mb: int, wanted: int = 0) -> None:
    """Return if the reserve stays free when `wanted` more bytes are written; raises DiskFull."""
    _judge(free_bytes(path), reserve_mb, wanted)


class Room:
    """Looks at the disk where the images of new builds would go, and at the memory of the Redis that would hold their records.

    With a local store that is the one that API and workers share. With a bucket it is the workers'
    own, of which they write notes; while any of them has room, a build may find it. What nobody
    knows keeps no build away.
    """

    def __init__(self, settings: Settings, fleet: Fleet, records: Records) -> None:
        self._settings, self._fleet, self._records = settings, fleet, records
        self._disk = Disk(settings.store_path)
        self._free = TtlCache[str, int | None](KEPT_SECONDS)
        self._memory = TtlCache[str, bool](KEPT_SECONDS)

    async def expect(self) -> None:
        """Return if there is room for another build; raises DiskFull, MemoryFull."""
        try:
            free = await self._free.fetch("disk", self._look)
            has_memory = await self._memory.fetch("Redis", self._has_memory)
        except QueueUnavailable:
            return
        _judge(free, self._settings.disk_reserve_mb)
        if not has_memory:
            raise MemoryFull

    async def workers(self) -> tuple[int, int]:
        """Return how many workers are alive, and on how many a build may begin; raises QueueUnavailable.

        A worker begins no build while its disk is below the reserve. This is for polls, which must
        not wait for a disk: the workers' notes are at most some seconds old.
        """
        reserve = self._settings.disk_reserve_mb * MIB
        notes = await self._fleet.notes()
        full = [free for free in known_free(notes) if free < reserve]
        return len(notes), len(notes) - len(full)

    async def _look(self) -> int | None:
        if self._settings.s3_bucket:
            return max(known_free(await self._fleet.notes()), default=None)
        return await self._disk.free()

    async def _has_memory(self) -> bool:
        use = await self._records.memory()
        return use is None or use.has_room(
            await self._records.waiting() + await self._records.running()
        )


def _judge(free: int | None, reserve_mb: int, wanted: int = 0) -> None:
    if free is not None and free - wanted < reserve_mb * MIB:
        raise DiskFull(free=free // MIB, reserve=reserve_mb)
