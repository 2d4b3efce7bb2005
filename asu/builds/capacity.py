"""Whether the server can take another build. A full disk or Redis puts builds off and ends none."""

import time
from collections.abc import Callable

from asu.caching import TtlCache
from asu.disk_space import MIB, Disk, expect_free
from asu.errors import MemoryFull, NoWorker, QueueUnavailable
from asu.records.api_records import Records
from asu.settings import Settings

from .fleet import GONE_SECONDS, Fleet, known_free

KEPT_SECONDS = 1.0  # In which a build copies out less than the reserve.


class Capacity:
    """The disk for images of new builds, and the memory of Redis for their records.

    A local store lies on a disk that API and workers share. With a bucket the workers' own disks
    count, as their notes say; one of them with space is enough. What is unknown refuses no build.
    Where no worker has lived for minutes, a place in line would promise what nobody keeps.
    """

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        records: Records,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._fleet, self._records = settings, fleet, records
        self._disk = Disk(settings.store_path)
        self._free = TtlCache[str, int | None](KEPT_SECONDS)
        self._memory = TtlCache[str, bool](KEPT_SECONDS)
        self._deserted = TtlCache[str, bool](KEPT_SECONDS)
        # Workers that are started together with this process get as long to begin.
        self._clock, self._patience_ends = clock, clock() + GONE_SECONDS

    async def expect(self) -> None:
        """Return if another build can be taken; raises NoWorker, DiskFull, MemoryFull."""
        try:
            free = await self._free.fetch("disk", self._look)
            has_memory = await self._memory.fetch("Redis", self._has_memory)
            is_deserted = await self._deserted.fetch("workers", self._fleet.is_deserted)
        except QueueUnavailable:
            return
        if is_deserted and self._clock() >= self._patience_ends:
            raise NoWorker
        expect_free(free, self._settings.disk_reserve_mb)
        if not has_memory:
            raise MemoryFull

    async def workers(self) -> tuple[int, int]:
        """Return how many workers live, and how many have disk space; raises QueueUnavailable.

        Polls must not wait for a disk, so this reads the workers' notes.
        """
        reserve = self._settings.disk_reserve_mb * MIB
        notes = await self._fleet.notes()
        full = sum(free < reserve for free in known_free(notes))
        return len(notes), len(notes) - full

    async def _look(self) -> int | None:
        if self._settings.s3_bucket:
            return max(known_free(await self._fleet.notes()), default=None)
        return await self._disk.free()

    async def _has_memory(self) -> bool:
        use = await self._records.memory()
        pending = await self._records.waiting() + await self._records.running()
        return use is None or use.has_room(pending)
