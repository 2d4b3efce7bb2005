"""The workers' notes in Redis: one key for each worker, which ends by itself, and a set of their names.

asu:worker:NAME    JSON of a note
asu:workers        the names; those whose note has ended are taken out by whoever reads
asu:store          JSON of what the store holds
"""

import json
from dataclasses import asdict
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.records.redis_connections import answers
from asu.stores.store import StoreUsage

from .fleet import NOTE_SECONDS, USAGE_SECONDS, WorkerNote

NAMES, NOTE, STORE = "asu:workers", "asu:worker:", "asu:store"

# Notes are left by sweeps, which must go on in a Redis whose memory is full: each begins with a
# write that needs none (`redis_scripts.py`).
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


class RedisFleet:
    """The API's side."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis

    async def notes(self) -> list[WorkerNote]:
        """See Fleet."""
        with answers():
            members: Any = await self._redis.smembers(NAMES)
            names = sorted(member.decode() for member in members)
            if not names:
                return []
            found: Any = await self._redis.mget([NOTE + name for name in names])
            silent = [name for name, text in zip(names, found, strict=True) if text is None]
            # One that writes again at this moment is back in the set with its next note.
            if silent:
                await self._redis.srem(NAMES, *silent)
        return [WorkerNote(**json.loads(text)) for text in found if text is not None]

    async def store_usage(self) -> StoreUsage | None:
        """See Fleet."""
        with answers():
            text: Any = await self._redis.get(STORE)
        return StoreUsage(**json.loads(text)) if text else None


class RedisFleetNotes:
    """The worker's side."""

    def __init__(self, redis: Redis) -> None:
        self._note_worker, self._note_store = (
            redis.register_script(_NOTE_WORKER),
            redis.register_script(_NOTE),
        )

    def note_worker(self, name: str, note: WorkerNote) -> None:
        """See FleetNotes."""
        with answers():
            self._note_worker(
                keys=[NOTE + name, NAMES], args=[json.dumps(asdict(note)), NOTE_SECONDS, name]
            )

    def note_store(self, usage: StoreUsage) -> None:
        """See FleetNotes."""
        with answers():
            self._note_store(keys=[STORE], args=[json.dumps(asdict(usage)), USAGE_SECONDS])
