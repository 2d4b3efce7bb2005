"""The build records in Redis: one Lua script per transition (`redis_scripts`), so that each is atomic and one round trip.

`RedisRecords` is the API's asynchronous side, `RedisWorkerRecords` the worker's. Both say with
QueueUnavailable that Redis does not answer. Only plain commands are used; Redis and Valkey serve
alike, without modules.
"""

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.commands.core import Script
from redis.exceptions import ResponseError

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
    Revived,
    State,
    new_nonce,
)
from .redis_connections import redis_errors_translated
from .redis_memory import MemoryUse

log = logging.getLogger(__name__)

# Who asked is forgotten a day after they asked last; builds do not wait longer. The address is no
# secret to whoever reads Redis, where the requests themselves stand; a hash whose key lay beside it
# would only look like one.
HELD_SECONDS = 86_400
SEQUENCE = "asu:sequence"
ATTEMPTS = "asu:attempts"


def _record(values: Sequence[Any] | None) -> BuildRecord | None:
    """Read what the script tells of a build; it returns nothing where there is no record."""
    if not values:
        return None
    state, step, body, fault, tried, position, seconds = values
    return BuildRecord(
        state=State(state.decode()),
        step=step.decode(),
        body=body,
        fault=fault.decode(),
        live=LiveFacts(position=int(position), seconds=float(seconds), tried=b"[%b]" % tried),
    )


def _attempt(key: str, values: Any, nonce: str) -> Attempt | None:
    """Read number, tries and plan as the scripts return them; they return nothing where there is no such attempt."""
    if not values:
        return None
    try:
        return Attempt(
            key=key,
            number=int(values[0]),
            tries=int(values[1]),
            plan=read_plan(values[2]),
            nonce=nonce,
        )
    except (TypeError, ValueError):
        # Somebody wrote into the record; no attempt has such a number, so none can do anything.
        log.error(  # noqa: TRY400
            "build %s: its record says that it runs, but not as which attempt; it is left alone",
            key,
        )
        return None


def _texts(values: Any) -> list[str]:
    """Return what Redis sends as bytes; its type stubs leave open what it is."""
    # Somebody may have written what is no key; it must not hide those that are.
    return [value.decode(errors="replace") for value in values]


def _end(script: Script, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
    """Run one of the scripts that put an outcome in place; say whether it did."""
    key = attempt.key
    outcome = (record.state.value, record.step, record.body, record.fault, ttl, key, record.code)
    with redis_errors_translated():
        return bool(
            script(
                keys=[PREFIX + key, RUNNING, LEASE + key, PACE],
                args=[attempt.number, *outcome, attempt.nonce],
            )
        )


class RedisRecords:
    """The API's side."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._look = redis.register_script(scripts.LOOK)
        self._claim = redis.register_script(scripts.CLAIM)
        self._revive = redis.register_script(scripts.REVIVE)
        self._longest_wait = redis.register_script(scripts.LONGEST_WAIT)
        self._note_use = redis.register_script(scripts.NOTE_USE)

    async def look(self, key: str) -> BuildRecord | None:
        """See Records."""
        with redis_errors_translated():
            found: Any = await self._look(keys=[PREFIX + key, WAITING], args=[key])
        return _record(found)

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
        """See Records."""
        name, places = (holder.name, holder.places) if holder else ("", 0)
        arguments: list[str | bytes | int] = [
            plan,
            bodies.queued,
            limit,
            int(renew),
            key,
            bodies.started,
            name,
            places,
            PREFIX,
            HELD_SECONDS,
        ]
        with redis_errors_translated():
            outcome: Any = await self._claim(
                keys=[PREFIX + key, WAITING, SEQUENCE, HOLDER + name], args=arguments
            )
        return Claimed(outcome.decode())

    async def revive(self, key: str) -> Revived:
        """See Records."""
        with redis_errors_translated():
            outcome: Any = await self._revive(
                keys=[PREFIX + key, WAITING, SEQUENCE], args=[key, REVIVALS]
            )
        return Revived(outcome.decode())

    async def note_use(self, key: str) -> None:
        """See Records."""
        with redis_errors_translated():
            await self._note_use(keys=[PREFIX + key])

    async def waiting(self) -> int:
        """See Records."""
        with redis_errors_translated():
            return int(await self._redis.zcard(WAITING))

    async def running(self) -> int:
        """See Records."""
        with redis_errors_translated():
            found: Any = await self._redis.scard(RUNNING)
        return int(found)

    async def longest_wait(self) -> float:
        """See Records."""
        with redis_errors_translated():
            seconds: Any = await self._longest_wait(keys=[WAITING], args=[PREFIX])
        return float(seconds)

    async def build_seconds(self) -> float | None:
        """See Records."""
        with redis_errors_translated():
            found: Any = await self._redis.get(PACE)
        return None if found is None else float(found)

    async def retries(self) -> dict[str, int]:
        """See Records."""
        with redis_errors_translated():
            found: Any = await self._redis.hgetall(RETRIES)
        return {code.decode(): int(count) for code, count in found.items()}

    async def memory(self) -> MemoryUse | None:
        """See Records; what Redis keeps for its append-only file and for replicas does not count, as it does not for Redis itself."""
        with redis_errors_translated():
            try:
                told: Any = await self._redis.info("memory")
            except ResponseError:  # Hosted ones may forbid to ask.
                return None
        if "used_memory" not in told or "maxmemory" not in told:
            return None
        return MemoryUse(
            used=told["used_memory"] - told.get("mem_not_counted_for_evict", 0),
            limit=told["maxmemory"],
        )

    async def ping(self) -> None:
        """Ask Redis for a sign of life; raises QueueUnavailable."""
        with redis_errors_translated():
            await self._redis.ping()


class RedisWorkerRecords:
    """The worker's side."""

    def __init__(self, redis: Redis) -> None:
        self._connection = redis
        self._start = redis.register_script(scripts.START)
        self._renew = redis.register_script(scripts.RENEW)
        self._progress = redis.register_script(scripts.PROGRESS)
        self._finish = redis.register_script(scripts.FINISH)
        self._give_up = redis.register_script(scripts.GIVE_UP)
        self._requeue = redis.register_script(scripts.REQUEUE)
        self._retry = redis.register_script(scripts.RETRY)
        self._abandoned = redis.register_script(scripts.ABANDONED)
        self._due = redis.register_script(scripts.DUE)
        self._restore = redis.register_script(scripts.RESTORE)
        self._forget = redis.register_script(scripts.FORGET)

    def system(self) -> str:
        """See WorkerRecords."""
        with redis_errors_translated():
            # Each build asks, and a Redis whose memory is full lets nobody write.
            if not self._connection.exists(SYSTEM):
                self._connection.set(SYSTEM, secrets.token_hex(8), nx=True)
            return _texts([self._connection.get(SYSTEM)])[0]

    def start_next(self, nonce: str | None = None) -> Attempt | None:
        """See WorkerRecords."""
        nonce = nonce or new_nonce()
        with redis_errors_translated():
            started: Any = self._start(
                keys=[WAITING, RUNNING, ATTEMPTS], args=[PREFIX, LEASE, LEASE_SECONDS, nonce]
            )
        if not started:
            return None
        key, *values = started
        return _attempt(key.decode(errors="replace"), values, nonce)

    def renew(self, attempt: Attempt) -> bool:
        """See WorkerRecords."""
        with redis_errors_translated():
            return bool(
                self._renew(
                    keys=[PREFIX + attempt.key, LEASE + attempt.key],
                    args=[attempt.number, LEASE_SECONDS],
                )
            )

    def is_current(self, attempt: Attempt) -> bool:
        """See WorkerRecords."""
        with redis_errors_translated():
            state, number = self._connection.hmget(PREFIX + attempt.key, ["state", "attempt"])
        return state == b"running" and number is not None and int(number) == attempt.number

    def progress(self, attempt: Attempt, step: str, body: bytes) -> bool:
        """See WorkerRecords."""
        with redis_errors_translated():
            return bool(
                self._progress(keys=[PREFIX + attempt.key], args=[attempt.number, step, body])
            )

    def finish(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """See WorkerRecords."""
        return _end(self._finish, attempt, record, ttl)

    def abandoned(self) -> list[Attempt]:
        """See WorkerRecords."""
        with redis_errors_translated():
            keys = _texts(self._connection.smembers(RUNNING))
            found = [
                _attempt(
                    key,
                    self._abandoned(keys=[PREFIX + key, LEASE + key, RUNNING], args=[key]),
                    new_nonce(),
                )
                for key in keys
            ]
        return [attempt for attempt in found if attempt]

    def give_up(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """See WorkerRecords."""
        return _end(self._give_up, attempt, record, ttl)

    def requeue(self, key: str, number: int) -> bool:
        """See WorkerRecords."""
        with redis_errors_translated():
            return bool(
                self._requeue(
                    keys=[PREFIX + key, LEASE + key, RUNNING, WAITING, RETRIES],
                    args=[number, key, WorkerLost.code],
                )
            )

    def retry(self, attempt: Attempt, code: str, seconds: float) -> bool:
        """See WorkerRecords."""
        keys = [PREFIX + attempt.key, LEASE + attempt.key, RUNNING, WAITING, RETRIES]
        with redis_errors_translated():
            return bool(
                self._retry(
                    keys=keys, args=[attempt.number, attempt.key, code, seconds, attempt.nonce]
                )
            )

    def restore(
        self,
        key: str,
        record: BuildRecord,
        *,
        plan: str | None,
        bodies: PendingBodies | None,
        ttl: int,
    ) -> bool:
        """See WorkerRecords."""
        again: list[str | bytes] = (
            [plan, bodies.queued, bodies.started] if plan is not None and bodies is not None else []
        )
        with redis_errors_translated():
            return bool(
                self._restore(
                    keys=[PREFIX + key],
                    args=[record.state.value, record.step, record.body, record.fault, ttl, *again],
                )
            )

    def idle(self, keys: Sequence[str]) -> dict[str, float]:
        """See WorkerRecords."""
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

    def forget(self, key: str, grace: float) -> bool:
        """See WorkerRecords."""
        with redis_errors_translated():
            return bool(self._forget(keys=[PREFIX + key], args=[grace]))

    def is_known(self, key: str) -> bool:
        """See WorkerRecords."""
        with redis_errors_translated():
            return bool(self._connection.exists(PREFIX + key))

    def plan(self, key: str) -> Mapping[str, Any] | None:
        """See WorkerRecords."""
        with redis_errors_translated():
            found: Any = self._connection.hget(PREFIX + key, "plan")
        return read_plan(found) if found else None

    def due_keys(self) -> list[str]:
        """See WorkerRecords."""
        with redis_errors_translated():
            return _texts(self._due(keys=[WAITING], args=[PREFIX]))
