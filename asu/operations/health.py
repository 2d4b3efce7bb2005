"""The state of each part of the server, in words that say what to do."""

import asyncio
from collections.abc import Sequence

from asu.blocking import BlockingCalls
from asu.builds.capacity import MIB, Disk
from asu.builds.fleet import Fleet, WorkerNote, known_free
from asu.caching import TtlCache
from asu.catalogue.prepare_client import Preparer
from asu.errors import AsuError, QueueUnavailable
from asu.records.build_record import Records
from asu.records.redis_memory import MemoryUse
from asu.settings import Settings
from asu.stores.store import Store
from asu.upstream.downloads_server import Upstream

# Seconds. Anyone may ask, and a bucket or a disk need not be looked at for each of them.
KEPT_SECONDS = 5.0
STORE_PATIENCE = 3.0  # Seconds; a store that hangs must not hold up the rest.
RAISE = (
    "new builds are refused, the rest is kept for the results of waiting ones; raise `maxmemory` "
    "of Redis (REDIS_MEMORY), or shorten BUILD_TTL"
)
NO_WORKER = "no worker is alive: accepted builds wait until one starts"
FREE_UP = (
    "new builds are refused, and accepted ones wait; free some, set STORE_BUDGET_MB, or shorten "
    "BUILD_TTL"
)


class Health:
    """Looks at the parts."""

    def __init__(
        self,
        settings: Settings,
        *,
        records: Records,
        store: Store,
        fleet: Fleet,
        upstream: Upstream,
        preparer: Preparer,
    ) -> None:
        self._settings, self._records, self._store = settings, records, store
        self._fleet, self._upstream, self._preparer = fleet, upstream, preparer
        self._disk = Disk(settings.store_path)
        self._store_calls = BlockingCalls("the store", patience=STORE_PATIENCE)
        self._details = TtlCache[str, dict[str, str]](KEPT_SECONDS)
        self._alive = TtlCache[str, int](KEPT_SECONDS)

    async def redis(self) -> str:
        """Return `ok` if Redis answers, else what is wrong; without it no request can be served."""
        try:
            await self._records.waiting()
        except AsuError as error:
            return error.detail
        return "ok"

    async def notice(self) -> str | None:
        """Return that no worker is alive, else None; requests can be served all the same."""
        try:
            return None if await self._alive.fetch("workers", self._count_workers) else NO_WORKER
        except AsuError:
            return None

    async def details(self) -> dict[str, str]:
        """Return the state of all else by part; it is kept for some seconds."""
        return await self._details.fetch("details", self._look)

    async def _look(self) -> dict[str, str]:
        workers, memory, notes, store, disk = await asyncio.gather(
            self._workers(), self._memory(), self._notes(), self._reach_store(), self._disk.free()
        )
        reserve = self._settings.disk_reserve_mb * MIB
        return {
            "workers": workers,
            "memory": memory,
            "metadata": f"oldest copy validated {self._upstream.oldest():.0f} s ago",
            "store": store,
            "disk": disk_words(disk, reserve) if notes is None else _fullest(disk, notes, reserve),
            "podman": _podman(notes),
            "prepare": self._preparer.state(),
        }

    async def _workers(self) -> str:
        try:
            alive = await self._alive.fetch("workers", self._count_workers)
        except AsuError as error:
            return error.detail
        return f"{alive} alive" if alive else NO_WORKER

    async def _count_workers(self) -> int:
        return len(await self._fleet.notes())

    async def _memory(self) -> str:
        try:
            use = await self._records.memory()
            pending = await self._records.waiting() + await self._records.running()
        except AsuError as error:
            return error.detail
        if use is None:
            return "Redis does not say"
        return memory_words(use) if use.has_room(pending) else f"{memory_words(use)}: {RAISE}"

    async def _notes(self) -> list[WorkerNote] | None:
        try:
            return await self._fleet.notes()
        except QueueUnavailable:
            return None

    async def _reach_store(self) -> str:
        try:
            await self._store_calls.run(self._store.reach)
        except TimeoutError:
            return (
                f"no answer within {STORE_PATIENCE:g} s; see the disk of STORE_PATH, or the server "
                "of S3_BUCKET"
            )
        except AsuError as error:
            return error.detail
        return "ok"


def memory_words(use: MemoryUse) -> str:
    """Say how many MiB are used, and of how many."""
    return f"{use.used // MIB} MiB are used" + (
        f" of {use.limit // MIB} MiB" if use.limit else "; `maxmemory` sets no limit"
    )


def disk_words(free: int | None, reserve: int) -> str:
    """Say whether enough bytes are free."""
    if free is None:
        return "the disk of STORE_PATH is not there, or does not answer"
    said = f"{free // MIB} MiB free"
    if free >= reserve:
        return said
    named = f"the reserve of {reserve // MIB} MiB (DISK_RESERVE_MB)"
    return f"only {said}, less than {named}: {FREE_UP}"


def _fullest(free: int | None, notes: Sequence[WorkerNote], reserve: int) -> str:
    """Say it of the API's own disk, and of the worker that has the least."""
    own = disk_words(free, reserve)
    least = min(known_free(notes), default=None)
    if least is None or least == free:
        return own
    return f"{own}; of workers at least {disk_words(least, reserve)}"


def _podman(notes: Sequence[WorkerNote] | None) -> str:
    if not notes:
        return "no worker has reported its podman within the last minute"
    troubled = [note.trouble for note in notes if note.trouble]
    if not troubled:
        return f"ok on {len(notes)} of {len(notes)} workers" if len(notes) > 1 else "ok"
    return (
        f"not on {len(troubled)} of {len(notes)} workers: {troubled[0]} Start podman's service; "
        "CONTAINER_SOCKET_PATH names its socket."
    )
