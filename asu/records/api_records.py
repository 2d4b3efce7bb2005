"""The API's side of the build records: one Lua script per transition (`redis_scripts.py`)."""

import asyncio
import contextlib
from functools import cache
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from . import redis_scripts as scripts
from .build_record import (
    HOLDER,
    LOG,
    PACE,
    PREFIX,
    RETRIES,
    REVIVALS,
    RUNNING,
    WAITING,
    BuildRecord,
    Claimed,
    Holder,
    LiveFacts,
    PendingBodies,
    Revived,
    State,
)
from .redis_connections import redis_errors_translated
from .redis_memory import MemoryUse, memory_use

# A client's address is kept for a day after its last request; builds do not wait longer. A hash of
# it would protect nothing: Redis holds the requests too.
HELD_SECONDS = 86_400
MOST_SECONDS = 86_400  # No build takes longer.
STUCK_SECONDS = 300  # Longer than the pauses before another attempt.
SEQUENCE = "asu:sequence"  # The counter of places in line.


class Records:
    """What the API does with builds. Each method raises QueueUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis, self._script = redis, cache(redis.register_script)
        self._looking_through = asyncio.Lock()

    async def _run(self, script: str, keys: list[str], *args: str | bytes | int) -> Any:
        with redis_errors_translated():
            return await self._script(script)(keys=keys, args=args)

    async def look(self, key: str) -> BuildRecord | None:
        """Return the record in one round trip; None also for one that nobody can read."""
        found = await self._run(scripts.LOOK, [PREFIX + key, WAITING], key)
        if not found:
            return None
        state, step, body, fault, tried, position, seconds = found
        live = LiveFacts(position=int(position), seconds=float(seconds), tried=_array(tried))
        return BuildRecord(
            state=State(state.decode()),
            step=step.decode(),
            body=body,
            fault=fault.decode(),
            live=live,
        )

    async def log_after(self, key: str, entry: str) -> list[tuple[str, str]]:
        """Return id and lines of what the attempt has printed after an entry; "0" for all."""
        with redis_errors_translated():
            found: Any = await self._redis.xrange(LOG + key, f"({entry}")
        return [
            (number.decode(), fields[b"text"].decode(errors="replace"))
            for number, fields in found
            if b"text" in fields
        ]

    async def keys_like(self, prefix: str) -> set[str]:
        """Return at most two of the keys that begin so.

        It looks at all keys, so only one caller at a time does.
        """
        found: set[str] = set()
        async with self._looking_through:
            with redis_errors_translated():
                async for name in self._redis.scan_iter(f"{PREFIX}{prefix}*", count=1000):
                    found.add(name.decode(errors="replace").removeprefix(PREFIX))
                    if len(found) > 1:
                        break
        return found

    async def claim(
        self,
        key: str,
        *,
        plan: str,
        bodies: PendingBodies,
        limit: int,
        renew: bool,
        holder: Holder | None = None,
    ) -> Claimed:
        """Put a new build in line.

        KNOWN if its key is known, FULL if `limit` builds wait already, SHARE if as many of the
        holder's wait as may. With `renew` a finished record counts as unknown: its files are gone.
        A place is held until the build begins. Raises MemoryFull if Redis has no memory for it.
        """
        name, places = (holder.name, holder.places) if holder else ("", 0)
        keys = [PREFIX + key, WAITING, SEQUENCE, HOLDER + name]
        new = (plan, bodies.queued, limit, int(renew), key, bodies.started)
        outcome = await self._run(scripts.CLAIM, keys, *new, name, places, PREFIX, HELD_SECONDS)
        return Claimed(outcome.decode())

    async def revive(self, key: str) -> Revived:
        """Put a finished build back in line, at its end and however many wait: its files are gone.

        NOT_DONE if it is not finished, or its record has no plan; TOO_OFTEN if it was revived
        REVIVALS times since it was claimed.
        """
        keys = [PREFIX + key, WAITING, SEQUENCE]
        return Revived((await self._run(scripts.REVIVE, keys, key, REVIVALS)).decode())

    async def note_use(self, key: str) -> None:
        """Note that a build is used now, if it is finished."""
        await self._run(scripts.NOTE_USE, [PREFIX + key])

    async def waiting(self) -> int:
        """Return how many wait."""
        with redis_errors_translated():
            return int(await self._redis.zcard(WAITING))

    async def running(self) -> int:
        """Return how many are being built."""
        with redis_errors_translated():
            found: Any = await self._redis.scard(RUNNING)
        return int(found)

    async def longest_wait(self) -> float:
        """Return how many seconds the first in line has waited; 0 if none waits."""
        return float(await self._run(scripts.LONGEST_WAIT, [WAITING], PREFIX))

    async def is_stuck(self) -> bool:
        """Whether builds have waited for minutes while none is being built."""
        return not await self.running() and await self.longest_wait() > STUCK_SECONDS

    async def build_seconds(self) -> float | None:
        """Return the mean seconds of about the last ten finished builds; None before the first."""
        with redis_errors_translated():
            found: Any = await self._redis.get(PACE)
        with contextlib.suppress(TypeError, ValueError):
            seconds = float(found)
            return seconds if 0 <= seconds < MOST_SECONDS else None
        return None

    async def retries(self) -> dict[str, int]:
        """Return how many attempts were put back in line, by the code of their error."""
        with redis_errors_translated():
            found: Any = await self._redis.hgetall(RETRIES)
        return {
            code.decode(errors="replace"): int(count)
            for code, count in found.items()
            if count.isdigit()
        }

    async def memory(self) -> MemoryUse | None:
        """Return how much memory Redis uses; None if it does not say."""
        with redis_errors_translated():
            try:
                said: Any = await self._redis.info("memory")
            except ResponseError:  # Hosted servers may forbid it.
                return None
        return memory_use(said)


def _array(tried: bytes) -> bytes:
    """Return the attempts as a JSON array, which is empty where they cannot be read."""
    return b"[%b]" % tried if not tried or tried.startswith(b"{") else b"[]"
