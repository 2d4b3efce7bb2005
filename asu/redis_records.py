"""The build records in Redis: one Lua script per transition, so that each is atomic and one round trip.

`RedisRecords` is the API's asynchronous side, `RedisWorkerRecords` the worker's. Both wait at most a second for Redis and
say so with QueueUnavailable. Only plain commands are used; Redis and Valkey serve alike, without modules.
"""

import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from .build_record import (
    LEASE,
    LEASE_SECONDS,
    PREFIX,
    REVIVALS,
    RUNNING,
    SYSTEM,
    WAITING,
    Attempt,
    BuildRecord,
    Claimed,
    PendingBodies,
    PositionSnapshot,
    Revived,
    State,
)
from .errors import QueueUnavailable

TIMEOUT = 1.0  # Seconds; with one retry a request learns within two that Redis is down.
CONNECTIONS = 64  # A command takes well under a millisecond, so more of them at once would wait in Redis instead of here.

_CLAIM = """
local state = redis.call('HGET', KEYS[1], 'state')
if state then
  local retried = state == 'failed' and redis.call('HGET', KEYS[1], 'fault') ~= 'user'
  local renewed = state == 'done' and ARGV[4] == '1'
  if not retried and not renewed then return 'known' end
end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) then return 'full' end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'state', 'queued', 'step', 'init', 'fault', '', 'attempt', 0, 'tries', 0,
           'plan', ARGV[1], 'body', ARGV[2], 'queued_body', ARGV[2], 'started_body', ARGV[6],
           'since', redis.call('TIME')[1], 'order', redis.call('INCR', KEYS[3]))
redis.call('ZADD', KEYS[2], redis.call('HGET', KEYS[1], 'order'), ARGV[5])
return 'new'
"""

_REVIVE = """
local found = redis.call('HMGET', KEYS[1], 'state', 'plan', 'queued_body', 'started_body', 'revivals')
if found[1] ~= 'done' or not (found[2] and found[3] and found[4]) then return 'not-done' end
if tonumber(found[5] or 0) >= tonumber(ARGV[2]) then return 'too-often' end
redis.call('HINCRBY', KEYS[1], 'revivals', 1)
redis.call('HSET', KEYS[1], 'state', 'queued', 'step', 'init', 'attempt', 0, 'tries', 0, 'body', found[3],
           'since', redis.call('TIME')[1], 'order', redis.call('INCR', KEYS[3]))
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[2], redis.call('HGET', KEYS[1], 'order'), ARGV[1])
return 'queued'
"""

# A build that was put in line by an earlier release does not tell since when.
_LONGEST_WAIT = """
local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
local since = first and redis.call('HGET', ARGV[1] .. first, 'since')
return since and tonumber(redis.call('TIME')[1]) - tonumber(since) or 0
"""

_START = """
if redis.call('HGET', KEYS[1], 'state') ~= 'queued' then return false end
local attempt = redis.call('INCR', KEYS[5])
local tries = redis.call('HINCRBY', KEYS[1], 'tries', 1)
redis.call('HSET', KEYS[1], 'state', 'running', 'attempt', attempt, 'body', redis.call('HGET', KEYS[1], 'started_body'))
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('SET', KEYS[4], attempt, 'EX', ARGV[2])
return {attempt, tries, redis.call('HGET', KEYS[1], 'plan')}
"""

# Shared by all that an attempt does after its start: nothing happens unless it is still the current one.
_IF_CURRENT = """
local current = redis.call('HMGET', KEYS[1], 'state', 'attempt')
if current[1] ~= 'running' or current[2] ~= ARGV[1] then return 0 end
"""

_RENEW = _IF_CURRENT + "redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2]) return 1"

_PROGRESS = _IF_CURRENT + "redis.call('HSET', KEYS[1], 'step', ARGV[2], 'body', ARGV[3]) return 1"

# A finished build keeps its plan as long as its record lives: its files may vanish before. A failed one has nothing to lose, and
# begins anew with the next request.
_FINISH = (
    _IF_CURRENT
    + """
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'step', ARGV[3], 'body', ARGV[4], 'fault', ARGV[5])
if ARGV[2] ~= 'done' then redis.call('HDEL', KEYS[1], 'plan', 'queued_body', 'started_body') end
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('SREM', KEYS[2], ARGV[7])
redis.call('DEL', KEYS[3])
return 1
"""
)

_REQUEUE = (
    _IF_CURRENT
    + """
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'state', 'queued', 'step', 'init', 'body', redis.call('HGET', KEYS[1], 'queued_body'))
redis.call('SREM', KEYS[3], ARGV[2])
redis.call('ZADD', KEYS[4], redis.call('HGET', KEYS[1], 'order'), ARGV[2])
return 1
"""
)

# A key may be noted as running while its record is gone (removed by hand, or with Redis' last second) or lives anew.
_ABANDONED = """
local found = redis.call('HMGET', KEYS[1], 'state', 'attempt', 'tries', 'plan')
if found[1] ~= 'running' then
  redis.call('SREM', KEYS[3], ARGV[1])
  return false
end
if redis.call('EXISTS', KEYS[2]) == 1 then return false end
return {found[2], found[3], found[4]}
"""

SEQUENCE = "asu:sequence"
ATTEMPTS = "asu:attempts"
_FIELDS = ["state", "step", "body", "fault"]


def async_redis(url: str) -> AsyncRedis:
    """Return a pool of asynchronous connections that gives up soon.

    A command waits for a free connection: a thousand polls at once are a queue of milliseconds and no reason to refuse any.
    """
    retry = Retry(NoBackoff(), 1)
    pool = BlockingConnectionPool.from_url(
        url, max_connections=CONNECTIONS, timeout=TIMEOUT, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=retry
    )
    return AsyncRedis.from_pool(pool)


def sync_redis(url: str) -> Redis:
    """Return a pool of connections for the API's threads that gives up soon."""
    return Redis.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 1))


@asynccontextmanager
async def _answers() -> AsyncIterator[None]:
    try:
        yield
    except RedisError as error:
        raise QueueUnavailable from error


@contextmanager
def _answers_sync() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise QueueUnavailable from error


def _record(values: Sequence[Any]) -> BuildRecord | None:
    state, step, body, fault = values
    if state is None or step is None or body is None:
        return None
    return BuildRecord(state=State(state.decode()), step=step.decode(), body=body, fault=(fault or b"").decode())


def _attempt(key: str, values: Any) -> Attempt | None:
    """Read number, tries and plan as the scripts return them; they return nothing where there is no such attempt."""
    if not values:
        return None
    return Attempt(key=key, number=int(values[0]), tries=int(values[1]), plan=json.loads(values[2]))


def _texts(values: Any) -> list[str]:
    """Return what Redis sends as bytes; its type stubs leave open what it is."""
    return [value.decode() for value in values]


class RedisRecords:
    """The API's side."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._claim = redis.register_script(_CLAIM)
        self._revive = redis.register_script(_REVIVE)
        self._longest_wait = redis.register_script(_LONGEST_WAIT)
        self._snapshot = PositionSnapshot(self._waiting_keys)

    async def look(self, key: str) -> BuildRecord | None:
        """See Records."""
        async with _answers():
            return _record(await self._redis.hmget(PREFIX + key, _FIELDS))

    async def claim(self, key: str, *, plan: str, bodies: PendingBodies, limit: int, renew: bool) -> Claimed:
        """See Records."""
        async with _answers():
            outcome: Any = await self._claim(
                keys=[PREFIX + key, WAITING, SEQUENCE], args=[plan, bodies.queued, limit, int(renew), key, bodies.started]
            )
        return Claimed(outcome.decode())

    async def revive(self, key: str) -> Revived:
        """See Records."""
        async with _answers():
            outcome: Any = await self._revive(keys=[PREFIX + key, WAITING, SEQUENCE], args=[key, REVIVALS])
        return Revived(outcome.decode())

    async def position(self, key: str) -> int:
        """See Records."""
        return await self._snapshot.place(key)

    async def waiting(self) -> int:
        """See Records."""
        async with _answers():
            return int(await self._redis.zcard(WAITING))

    async def running(self) -> int:
        """See Records."""
        async with _answers():
            found: Any = await self._redis.scard(RUNNING)
        return int(found)

    async def longest_wait(self) -> float:
        """See Records."""
        async with _answers():
            seconds: Any = await self._longest_wait(keys=[WAITING], args=[PREFIX])
        return float(seconds)

    async def _waiting_keys(self) -> list[str]:
        async with _answers():
            return _texts(await self._redis.zrange(WAITING, 0, -1))

    async def ping(self) -> None:
        """Ask Redis for a sign of life; raises QueueUnavailable."""
        async with _answers():
            await self._redis.ping()


class RedisWorkerRecords:
    """The worker's side."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._start = redis.register_script(_START)
        self._renew = redis.register_script(_RENEW)
        self._progress = redis.register_script(_PROGRESS)
        self._finish = redis.register_script(_FINISH)
        self._requeue = redis.register_script(_REQUEUE)
        self._abandoned = redis.register_script(_ABANDONED)

    def system(self) -> str:
        """See WorkerRecords."""
        with _answers_sync():
            self._redis.set(SYSTEM, secrets.token_hex(8), nx=True)
            return _texts([self._redis.get(SYSTEM)])[0]

    def start(self, key: str) -> Attempt | None:
        """See WorkerRecords."""
        with _answers_sync():
            started: Any = self._start(keys=[PREFIX + key, WAITING, RUNNING, LEASE + key, ATTEMPTS], args=[key, LEASE_SECONDS])
        return _attempt(key, started)

    def renew(self, attempt: Attempt) -> bool:
        """See WorkerRecords."""
        with _answers_sync():
            return bool(self._renew(keys=[PREFIX + attempt.key, LEASE + attempt.key], args=[attempt.number, LEASE_SECONDS]))

    def is_current(self, attempt: Attempt) -> bool:
        """See WorkerRecords."""
        with _answers_sync():
            state, number = self._redis.hmget(PREFIX + attempt.key, ["state", "attempt"])
        return state == b"running" and number is not None and int(number) == attempt.number

    def progress(self, attempt: Attempt, step: str, body: bytes) -> bool:
        """See WorkerRecords."""
        with _answers_sync():
            return bool(self._progress(keys=[PREFIX + attempt.key], args=[attempt.number, step, body]))

    def finish(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """See WorkerRecords."""
        key = attempt.key
        with _answers_sync():
            return bool(
                self._finish(
                    keys=[PREFIX + key, RUNNING, LEASE + key],
                    args=[attempt.number, record.state.value, record.step, record.body, record.fault, ttl, key],
                )
            )

    def abandoned(self) -> list[Attempt]:
        """See WorkerRecords."""
        with _answers_sync():
            keys = _texts(self._redis.smembers(RUNNING))
            found = [_attempt(key, self._abandoned(keys=[PREFIX + key, LEASE + key, RUNNING], args=[key])) for key in keys]
        return [attempt for attempt in found if attempt]

    def requeue(self, key: str, number: int) -> bool:
        """See WorkerRecords."""
        with _answers_sync():
            return bool(self._requeue(keys=[PREFIX + key, LEASE + key, RUNNING, WAITING], args=[number, key]))

    def is_known(self, key: str) -> bool:
        """See WorkerRecords."""
        with _answers_sync():
            return bool(self._redis.exists(PREFIX + key))

    def plan(self, key: str) -> Mapping[str, Any] | None:
        """See WorkerRecords."""
        with _answers_sync():
            found: Any = self._redis.hget(PREFIX + key, "plan")
        return json.loads(found) if found else None

    def waiting_keys(self) -> list[str]:
        """See WorkerRecords."""
        with _answers_sync():
            return _texts(self._redis.zrange(WAITING, 0, -1))
