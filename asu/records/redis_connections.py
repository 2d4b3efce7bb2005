"""Connections to Redis that give up soon, and their errors as ours."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import OutOfMemoryError, RedisError
from redis.exceptions import TimeoutError as NoAnswer
from redis.retry import Retry

from asu.errors import MemoryFull, QueueUnavailable

log = logging.getLogger(__name__)

TIMEOUT = 1.0  # Seconds; with one retry a request learns within two that Redis is down.
CONNECTIONS = 64  # A command takes well under a millisecond; more would wait in Redis.


def async_redis(url: str) -> AsyncRedis:
    """Return a pool of asynchronous connections, for the free one of which a command waits."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        # The synchronous `Retry` would be accepted here too, and would not retry.
        retry=AsyncRetry(NoBackoff(), 1),
    )
    return AsyncRedis.from_pool(pool)


def sync_redis(url: str) -> Redis:
    """Return a pool of connections for threads."""
    return Redis.from_url(
        url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 1)
    )


@contextmanager
def redis_errors_translated() -> Iterator[None]:
    """Raise errors of Redis as QueueUnavailable, or MemoryFull, which is one."""
    try:
        yield
    except RedisError as error:
        if is_out_of_memory(error):
            raise MemoryFull from error
        raise QueueUnavailable from error


def is_out_of_memory(error: RedisError) -> bool:
    """Whether Redis refused to write because its memory is full."""
    # Before version 7 an error of a script is a sentence with the word in it.
    return isinstance(error, OutOfMemoryError) or "-OOM " in str(error)


@contextmanager
def ignoring_out_of_memory(consequence: str) -> Iterator[None]:
    """Go on after Redis refused to write because its memory is full; log what follows from it."""
    try:
        yield
    except RedisError as error:
        if not is_out_of_memory(error):
            raise
        log.warning("the memory of Redis is full: %s", consequence)


def has_memory(redis: Redis) -> bool:
    """Whether Redis has memory for another write; also True if it does not answer."""
    try:
        redis.setrange("asu:unwritten", 0, "")  # Needs memory, and writes nothing.
    except OutOfMemoryError:
        return False
    except (NoConnection, NoAnswer):
        pass
    return True
