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

from .fleet import NOTE_SECONDS, USAGE_SECONDS, WorkerNote
from .redis_connections import answers
from .stores.base import StoreUsage

NAMES, NOTE, STORE = "asu:workers", "asu:worker:", "asu:store"


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
            if silent:  # One that writes again at this moment is back in the set with its next note.
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
        self._redis = redis

    def note_worker(self, name: str, note: WorkerNote) -> None:
        """See FleetNotes."""
        with answers(), self._redis.pipeline() as pipeline:
            pipeline.set(NOTE + name, json.dumps(asdict(note)), ex=NOTE_SECONDS)
            pipeline.sadd(NAMES, name)
            pipeline.expire(NAMES, NOTE_SECONDS)
            pipeline.execute()

    def note_store(self, usage: StoreUsage) -> None:
        """See FleetNotes."""
        with answers():
            self._redis.set(STORE, json.dumps(asdict(usage)), ex=USAGE_SECONDS)
