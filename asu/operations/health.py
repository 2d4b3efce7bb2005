"""The state of each part, in words that say what to do."""

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence

from asu.blocking import BlockingCalls
from asu.builds.fleet import Fleet, WorkerNote, known_free
from asu.caching import TtlCache
from asu.catalogue.prepare_client import Preparer
from asu.disk_space import MIB, Disk
from asu.errors import AsuError
from asu.records.api_records import Records
from asu.records.redis_memory import MemoryUse
from asu.resolution import RuleSource
from asu.settings import Settings
from asu.stores.store import Store
from asu.upstream.downloads_server import Upstream

KEPT_SECONDS = 5.0  # Anyone may ask, and a bucket or a disk need not be looked at each time.
STORE_PATIENCE = 3.0
NO_ANSWER = f"no answer within {STORE_PATIENCE:g} s; look at the disk of STORE_PATH, or S3_BUCKET"
RAISE = (
    "new builds are refused, the rest is for builds that wait; raise `maxmemory` of Redis "
    "(REDIS_MEMORY), or shorten BUILD_TTL"
)
NO_WORKER = "no worker is alive: accepted builds wait until one starts"
STUCK = "builds wait, but no worker has begun one for minutes: look at the workers' logs and disks"
FREE_UP = (
    "new builds are refused, and accepted ones wait; free some, set STORE_BUDGET_MB, "
    "or shorten BUILD_TTL"
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
        rules: RuleSource,
    ) -> None:
        self._rules = rules
        self._reserve, self._records, self._store = settings.disk_reserve_mb * MIB, records, store
        self._fleet, self._upstream, self._preparer = fleet, upstream, preparer
        self._disk = Disk(settings.store_path)
        self._store_calls = BlockingCalls("the store", patience=STORE_PATIENCE)
        self._details = TtlCache[str, dict[str, str]](KEPT_SECONDS)
        self._stuck = TtlCache[str, bool](KEPT_SECONDS)
        self._notes = TtlCache[str, list[WorkerNote]](KEPT_SECONDS)

    async def redis(self) -> str:
        """Return `ok` if Redis answers, else what is wrong: no request can be served then."""
        return await _words(self._ping())

    async def notice(self) -> str | None:
        """Return what operators should know although requests can be served."""
        known = []
        with contextlib.suppress(AsuError):
            if not await self._notes.fetch("notes", self._fleet.notes):
                known.append(NO_WORKER)
            elif await self._stuck.fetch("queue", self._records.is_stuck):
                known.append(STUCK)
        return "; ".join([*known, *filter(None, [self._rules.trouble])]) or None

    async def details(self) -> dict[str, str]:
        """Return the state of all other parts, at most some seconds old."""
        return await self._details.fetch("details", self._look)

    async def _look(self) -> dict[str, str]:
        workers, memory, store, free = await asyncio.gather(
            _words(self._workers()),
            _words(self._memory()),
            _words(self._reach_store()),
            self._disk.free(),
        )
        notes = self._notes.get("notes") or []
        least, disk = min(known_free(notes), default=free), self._disk_words(free)
        if least != free:
            disk = f"{disk}; the fullest worker: {self._disk_words(least)}"
        return {
            "workers": workers,
            "memory": memory,
            "metadata": f"oldest copy validated {self._upstream.oldest():.0f} s ago",
            "store": store,
            "disk": disk,
            "podman": _podman(notes),
            "prepare": self._preparer.state(),
            "rules": self._rules.trouble or f"{len(self._rules.current.rules)} package rules",
        }

    async def _ping(self) -> str:
        await self._records.waiting()
        return "ok"

    async def _workers(self) -> str:
        notes = await self._notes.fetch("notes", self._fleet.notes)
        return f"{len(notes)} alive" if notes else NO_WORKER

    async def _memory(self) -> str:
        use = await self._records.memory()
        pending = await self._records.waiting() + await self._records.running()
        if use is None:
            return "Redis does not say"
        return memory_words(use) if use.has_room(pending) else f"{memory_words(use)}: {RAISE}"

    async def _reach_store(self) -> str:
        try:
            await self._store_calls.run(self._store.reach)
        except TimeoutError:
            return NO_ANSWER
        return "ok"

    def _disk_words(self, free: int | None) -> str:
        if free is None:
            return "the disk of STORE_PATH is not there, or does not answer"
        if free >= self._reserve:
            return f"{free // MIB} MiB free"
        reserve = f"the reserve of {self._reserve // MIB} MiB (DISK_RESERVE_MB)"
        return f"only {free // MIB} MiB free, less than {reserve}: {FREE_UP}"


async def _words(look: Awaitable[str]) -> str:
    try:
        return await look
    except AsuError as error:
        return error.detail


def memory_words(use: MemoryUse) -> str:
    """Say how many MiB are used, and of how many."""
    limit = f" of {use.limit // MIB} MiB" if use.limit else "; `maxmemory` sets no limit"
    return f"{use.used // MIB} MiB are used{limit}"


def _podman(notes: Sequence[WorkerNote]) -> str:
    if not notes:
        return "no worker has reported on its podman within the last minute"
    troubles = [note.trouble for note in notes if note.trouble]
    if not troubles:
        return f"ok on {len(notes)} of {len(notes)} workers" if len(notes) > 1 else "ok"
    advice = "Start podman's service where CONTAINER_SOCKET_PATH names its socket."
    return f"not on {len(troubles)} of {len(notes)} workers: {troubles[0]} {advice}"
