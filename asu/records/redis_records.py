"""The build records in Redis: one Lua script per transition (`redis_scripts.py`), each one round trip.

Only plain commands are used, so Redis and Valkey serve alike, without modules.
"""

import logging
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ResponseError
from typing_extensions import override

from asu.errors import WorkerLost

from . import redis_scripts as scripts
from .build_plan import read_plan
from .build_record import (
    HOLDER,
    LEASE,
    LEASE_SECONDS,
    PACE,
    PREFIX,
    RETRIES,
    REVIVALS,
    RUNNING,
    SYSTEM,
    WAITING,
    Attempt,
    BuildRecord,
    Claimed,
    Holder,
    LiveFacts,
    PendingBodies,
    Records,
    Revived,
    State,
    WorkerRecords,
    new_nonce,
)
from .redis_connections import redis_errors_translated
from .redis_memory import MemoryUse

log = logging.getLogger(__name__)

# An address is forgotten a day after its last request; builds do not wait longer. Who can read Redis
# can read the requests too, so hashing the address would protect nothing.
HELD_SECONDS = 86_400
SEQUENCE = "asu:sequence"
ATTEMPTS = "asu:attempts"

Argument = str | bytes | int | float


class RedisRecords(Records):
    """The API's side."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis, self._script = redis, cache(redis.register_script)

    async def _run(self, script: str, keys: list[str], *args: Argument) -> Any:
        with redis_errors_translated():
            return await self._script(script)(keys=keys, args=args)

    @override
    async def look(self, key: str) -> BuildRecord | None:
        found = await self._run(scripts.LOOK, [PREFIX + key, WAITING], key)
        if not found:
            return None
        state, step, body, fault, tried, position, seconds = found
        live = LiveFacts(position=int(position), seconds=float(seconds), tried=b"[%b]" % tried)
        return BuildRecord(
            state=State(state.decode()),
            step=step.decode(),
            body=body,
            fault=fault.decode(),
            live=live,
        )

    @override
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
        name, places = (holder.name, holder.places) if holder else ("", 0)
        keys = [PREFIX + key, WAITING, SEQUENCE, HOLDER + name]
        new: list[Argument] = [plan, bodies.queued, limit, int(renew), key, bodies.started]
        outcome = await self._run(scripts.CLAIM, keys, *new, name, places, PREFIX, HELD_SECONDS)
        return Claimed(outcome.decode())

    @override
    async def revive(self, key: str) -> Revived:
        keys = [PREFIX + key, WAITING, SEQUENCE]
        return Revived((await self._run(scripts.REVIVE, keys, key, REVIVALS)).decode())

    @override
    async def note_use(self, key: str) -> None:
        await self._run(scripts.NOTE_USE, [PREFIX + key])

    @override
    async def waiting(self) -> int:
        with redis_errors_translated():
            return int(await self._redis.zcard(WAITING))

    @override
    async def running(self) -> int:
        with redis_errors_translated():
            found: Any = await self._redis.scard(RUNNING)
        return int(found)

    @override
    async def longest_wait(self) -> float:
        return float(await self._run(scripts.LONGEST_WAIT, [WAITING], PREFIX))

    @override
    async def build_seconds(self) -> float | None:
        with redis_errors_translated():
            found: Any = await self._redis.get(PACE)
        return None if found is None else float(found)

    @override
    async def retries(self) -> dict[str, int]:
        with redis_errors_translated():
            found: Any = await self._redis.hgetall(RETRIES)
        return {code.decode(): int(count) for code, count in found.items()}

    @override
    async def memory(self) -> MemoryUse | None:
        with redis_errors_translated():
            try:
                said: Any = await self._redis.info("memory")
            except ResponseError:  # Hosted servers may forbid it.
                return None
        if "used_memory" not in said or "maxmemory" not in said:
            return None
        # Redis itself does not count buffers of its append-only file and of replicas either.
        used = said["used_memory"] - said.get("mem_not_counted_for_evict", 0)
        return MemoryUse(used=used, limit=said["maxmemory"])


class RedisWorkerRecords(WorkerRecords):
    """The worker's side."""

    def __init__(self, redis: Redis) -> None:
        self._connection, self._worker_script = redis, cache(redis.register_script)

    def _do(self, script: str, keys: list[str], *args: Argument) -> Any:
        with redis_errors_translated():
            return self._worker_script(script)(keys=keys, args=args)

    @override
    def system(self) -> str:
        with redis_errors_translated():
            # Each build asks, and a full Redis refuses writes.
            if not self._connection.exists(SYSTEM):
                self._connection.set(SYSTEM, secrets.token_hex(8), nx=True)
            return _texts([self._connection.get(SYSTEM)])[0]

    @override
    def start_next(self, nonce: str | None = None) -> Attempt | None:
        nonce = nonce or new_nonce()
        keys = [WAITING, RUNNING, ATTEMPTS]
        started = self._do(scripts.START, keys, PREFIX, LEASE, LEASE_SECONDS, nonce)
        return _attempt(_texts(started[:1])[0], started[1:], nonce) if started else None

    @override
    def renew(self, attempt: Attempt) -> bool:
        keys = [PREFIX + attempt.key, LEASE + attempt.key]
        return bool(self._do(scripts.RENEW, keys, attempt.number, LEASE_SECONDS))

    @override
    def is_current(self, attempt: Attempt) -> bool:
        with redis_errors_translated():
            state, number = self._connection.hmget(PREFIX + attempt.key, ["state", "attempt"])
        return state == b"running" and number is not None and int(number) == attempt.number

    @override
    def progress(self, attempt: Attempt, step: str, body: bytes) -> bool:
        return bool(self._do(scripts.PROGRESS, [PREFIX + attempt.key], attempt.number, step, body))

    @override
    def finish(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        return self._end(scripts.FINISH, attempt, record, ttl)

    @override
    def give_up(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        return self._end(scripts.GIVE_UP, attempt, record, ttl)

    def _end(self, script: str, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        key = attempt.key
        outcome = (record.state.value, record.step, record.body, record.fault, ttl, key)
        keys = [PREFIX + key, RUNNING, LEASE + key, PACE]
        return bool(self._do(script, keys, attempt.number, *outcome, record.code, attempt.nonce))

    @override
    def abandoned(self) -> list[Attempt]:
        with redis_errors_translated():
            keys = _texts(self._connection.smembers(RUNNING))
        found = []
        for key in keys:
            left = self._do(scripts.ABANDONED, [PREFIX + key, LEASE + key, RUNNING], key)
            found.append(_attempt(key, left, new_nonce()) if left else None)
        return [attempt for attempt in found if attempt]

    @override
    def requeue(self, key: str, number: int) -> bool:
        return bool(self._do(scripts.REQUEUE, _back_in_line(key), number, key, WorkerLost.code))

    @override
    def retry(self, attempt: Attempt, code: str, seconds: float) -> bool:
        args = (attempt.number, attempt.key, code, seconds, attempt.nonce)
        return bool(self._do(scripts.RETRY, _back_in_line(attempt.key), *args))

    @override
    def restore(
        self,
        key: str,
        record: BuildRecord,
        *,
        plan: str | None,
        bodies: PendingBodies | None,
        ttl: int,
    ) -> bool:
        again: list[Argument] = []
        if plan is not None and bodies is not None:
            again = [plan, bodies.queued, bodies.started]
        outcome = (record.state.value, record.step, record.body, record.fault, ttl)
        return bool(self._do(scripts.RESTORE, [PREFIX + key], *outcome, *again))

    @override
    def idle(self, keys: Sequence[str]) -> dict[str, float]:
        with redis_errors_translated(), self._connection.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for key in keys:
                pipeline.hget(PREFIX + key, "used")
            (now, _), *used = pipeline.execute()
        return {
            key: float(now - int(since))
            for key, since in zip(keys, used, strict=True)
            if since is not None
        }

    @override
    def forget(self, key: str, grace: float) -> bool:
        return bool(self._do(scripts.FORGET, [PREFIX + key], grace))

    @override
    def is_known(self, key: str) -> bool:
        with redis_errors_translated():
            return bool(self._connection.exists(PREFIX + key))

    @override
    def plan(self, key: str) -> Mapping[str, Any] | None:
        with redis_errors_translated():
            found: Any = self._connection.hget(PREFIX + key, "plan")
        return read_plan(found) if found else None

    @override
    def due_keys(self) -> list[str]:
        return _texts(self._do(scripts.DUE, [WAITING], PREFIX))


def _back_in_line(key: str) -> list[str]:
    return [PREFIX + key, LEASE + key, RUNNING, WAITING, RETRIES]


def _attempt(key: str, values: Any, nonce: str) -> Attempt | None:
    """Read number, tries and plan of an attempt; None if the record holds no such numbers."""
    number, tries, *plan = values
    try:
        return Attempt(
            key=key,
            number=int(number),
            tries=int(tries),
            plan=read_plan(plan[0] if plan else None),
            nonce=nonce,
        )
    except (TypeError, ValueError):
        # Somebody wrote into the record; no attempt has such a number, so none can do anything.
        log.error("build %s: its record is unreadable, so it is left alone", key)  # noqa: TRY400
        return None


def _texts(values: Any) -> list[str]:
    """Decode what Redis sends; a key that somebody wrote and that is no text must not hide the others."""
    return [value.decode(errors="replace") for value in values]
