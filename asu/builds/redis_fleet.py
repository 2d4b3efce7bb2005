"""The workers' notes in Redis: one key for each worker, which ends by itself, and a set of their names.

asu:worker:NAME    JSON of a note; NAME is the worker's host, "/" and a random word
asu:workers        the names; a reader removes those whose note has ended
asu:store          JSON of what the store holds
"""

import json
import secrets
from dataclasses import asdict
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from typing_extensions import override

from asu.errors import MemoryFull
from asu.records.redis_connections import has_memory, redis_errors_translated
from asu.stores.store import StoreUsage

from .fleet import NOTE_SECONDS, USAGE_SECONDS, Fleet, FleetNotes, WorkerNote

NAMES, NOTE, STORE = "asu:workers", "asu:worker:", "asu:store"

# Each script begins with a write that needs no memory, so it also runs in a full Redis
# (`redis_scripts.py`).
_NOTE = """
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
"""
_NOTE_WORKER = (
    _NOTE
    + """
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[2])
"""
)


class RedisFleet(Fleet):
    """The API's side."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis

    @override
    async def notes(self) -> list[WorkerNote]:
        with redis_errors_translated():
            members: Any = await self._redis.smembers(NAMES)
            names = sorted(member.decode() for member in members)
            if not names:
                return []
            found: Any = await self._redis.mget([NOTE + name for name in names])
            silent = [name for name, text in zip(names, found, strict=True) if text is None]
            # A worker that writes again at this moment is back in the set with its next note.
            if silent:
                await self._redis.srem(NAMES, *silent)
        return [WorkerNote(**json.loads(text)) for text in found if text is not None]

    @override
    async def store_usage(self) -> StoreUsage | None:
        with redis_errors_translated():
            text: Any = await self._redis.get(STORE)
        return StoreUsage(**json.loads(text)) if text else None


class RedisFleetNotes(FleetNotes):
    """The side of one worker, which runs on `host`."""

    def __init__(self, redis: Redis, host: str) -> None:
        self._redis, self._name = redis, f"{host}/{secrets.token_hex(8)}"
        self._note_worker = redis.register_script(_NOTE_WORKER)
        self._note_store = redis.register_script(_NOTE)

    @override
    def note_worker(self, note: WorkerNote) -> None:
        with redis_errors_translated():
            self._note_worker(
                keys=[NOTE + self._name, NAMES],
                args=[json.dumps(asdict(note)), NOTE_SECONDS, self._name],
            )

    @override
    def withdraw(self) -> None:
        with redis_errors_translated():
            self._redis.delete(NOTE + self._name)

    @override
    def note_store(self, usage: StoreUsage) -> None:
        with redis_errors_translated():
            self._note_store(keys=[STORE], args=[json.dumps(asdict(usage)), USAGE_SECONDS])


def live_workers(redis: Redis) -> list[str]:
    """Return the host of each worker that is alive, in no order; raises QueueUnavailable."""
    with redis_errors_translated():
        names: Any = redis.smembers(NAMES)
        alive = [name.decode() for name in names if redis.exists(NOTE + name.decode())]
    return [name.rpartition("/")[0] for name in alive]


def has_live_worker(redis: Redis, host: str) -> bool:
    """Whether a worker on `host` is alive.

    Raises QueueUnavailable where Redis cannot say: also, as MemoryFull, where there is no note but
    Redis may have refused one.
    """
    if host in live_workers(redis):
        return True
    if not has_memory(redis):
        raise MemoryFull
    return False
