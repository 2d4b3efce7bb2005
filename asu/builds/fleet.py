"""Notes of workers: which are alive, how they do, and what the store holds, which only workers see.

    asu:worker:NAME    JSON of a note, which ends by itself; NAME is host, "/" and a random word
    asu:workers:seen   there for five minutes after the last note of any worker
    asu:workers        the names; a reader removes those whose note has ended
    asu:store          JSON of what the store holds

The notes are also the register of live workers, for `workers_alive` and for the health check of a
worker's container.
"""

import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.errors import MemoryFull
from asu.records.redis_connections import has_memory, redis_errors_translated
from asu.stores.store import StoreUsage

NOTE_SECONDS = 60  # A worker sweeps, and writes its note, every 5 s, whether it builds or not.
USAGE_SECONDS = 900  # A worker looks through the store every minute, through a bucket every five.
GONE_SECONDS = 300  # A worker that is updated, or whose machine restarts, is back by then.
NAMES, NOTE, STORE, SEEN = "asu:workers", "asu:worker:", "asu:store", "asu:workers:seen"

# Each script begins with a write that needs no memory, so it also runs in a full Redis.
_NOTE = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
"""
_NOTE_WORKER = (
    _NOTE
    + """
if redis.call('TYPE', KEYS[2]).ok ~= 'set' then redis.call('DEL', KEYS[2]) end
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('SET', KEYS[3], '1', 'EX', ARGV[4])
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNote:
    """What is wrong with a worker's podman ("" if nothing is), and its free bytes, if known."""

    trouble: str
    disk_free: int | None


def known_free(notes: Iterable[WorkerNote]) -> list[int]:
    """Return the bytes free on the disk of each worker that knows."""
    return [note.disk_free for note in notes if note.disk_free is not None]


class Fleet:
    """The API's side. Each method raises QueueUnavailable."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis

    async def notes(self) -> list[WorkerNote]:
        """Return the last note of each worker that is alive."""
        with redis_errors_translated():
            members: Any = await self._redis.smembers(NAMES)
            names = sorted(_text(member) for member in members)
            if not names:
                return []
            found: Any = await self._redis.mget([NOTE + name for name in names])
            silent = [name for name, text in zip(names, found, strict=True) if text is None]
            # A worker that writes again at this moment is back in the set with its next note.
            if silent:
                await self._redis.srem(NAMES, *silent)
        return [_note(text) for text in found if text is not None]

    async def is_deserted(self) -> bool:
        """Whether no worker has lived for `GONE_SECONDS`; so says an empty Redis, too."""
        with redis_errors_translated():
            return not await self._redis.exists(SEEN)

    async def store_usage(self) -> StoreUsage | None:
        """Return what the store held at a worker's last look; None if that is too long ago."""
        with redis_errors_translated():
            text: Any = await self._redis.get(STORE)
        found = _document(text)
        if {type(found.get(name)) for name in ("builds", "bytes")} != {int}:
            return None
        return StoreUsage(builds=found["builds"], bytes=found["bytes"])


class FleetNotes:
    """The side of one worker, which runs on `host`. Each method raises QueueUnavailable."""

    def __init__(self, redis: Redis, host: str) -> None:
        self.word = secrets.token_hex(8)  # Of this worker alone, also for its builds' network.
        self._connection, self._name = redis, f"{host}/{self.word}"
        self._note_worker = redis.register_script(_NOTE_WORKER)
        self._note_store = redis.register_script(_NOTE)

    def note_worker(self, note: WorkerNote) -> None:
        """Say that this worker is alive, and how it does."""
        with redis_errors_translated():
            self._note_worker(
                keys=[NOTE + self._name, NAMES, SEEN],
                args=[json.dumps(asdict(note)), NOTE_SECONDS, self._name, GONE_SECONDS],
            )

    def withdraw(self) -> None:
        """Remove this worker's note: it ends."""
        with redis_errors_translated():
            self._connection.delete(NOTE + self._name)

    def note_store(self, usage: StoreUsage) -> None:
        """Say what the store holds."""
        with redis_errors_translated():
            self._note_store(keys=[STORE], args=[json.dumps(asdict(usage)), USAGE_SECONDS])


def live_workers(redis: Redis) -> list[str]:
    """Return the host of each worker that is alive, in no order; raises QueueUnavailable."""
    return [name.rpartition("/")[0] for name in _live_names(redis)]


def live_words(redis: Redis) -> set[str]:
    """Return the random word of each worker that is alive; raises QueueUnavailable."""
    return {name.rpartition("/")[2] for name in _live_names(redis)}


def _live_names(redis: Redis) -> list[str]:
    with redis_errors_translated():
        names: Any = redis.smembers(NAMES)
        return [_text(name) for name in names if redis.exists(NOTE + _text(name))]


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def _document(text: bytes | None) -> dict[str, Any]:
    """Return a JSON object; an empty one in place of what somebody else has written there."""
    try:
        found = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _note(text: bytes) -> WorkerNote:
    """Return a note; of one that cannot be read nothing is known but that its worker lives."""
    found = _document(text)
    trouble, free = found.get("trouble"), found.get("disk_free")
    return WorkerNote(
        trouble=trouble if isinstance(trouble, str) else "",
        disk_free=free if type(free) is int and free >= 0 else None,
    )


def has_live_worker(redis: Redis, host: str) -> bool:
    """Whether a worker on `host` is alive.

    Raises QueueUnavailable if Redis does not answer, MemoryFull if it may have refused the note.
    """
    if host in live_workers(redis):
        return True
    if not has_memory(redis):
        raise MemoryFull
    return False
