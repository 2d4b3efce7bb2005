"""Connections to Redis that give up soon, and one word for all that may go wrong with them."""

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
# A command takes well under a millisecond, so more of them at once would wait in Redis instead of
# here.
CONNECTIONS = 64
UNWRITTEN = "asu:unwritten"  # A key that never comes to be: nothing is written to it.


def async_redis(url: str) -> AsyncRedis:
    """Return a pool of asynchronous connections that gives up soon.

    A command waits for a free connection: a thousand polls at once are a queue of milliseconds and
    no reason to refuse any.
    """
    # Its synchronous namesake is taken as well, and tries nothing again.
    retry = AsyncRetry(NoBackoff(), 1)
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=retry,
    )
    return AsyncRedis.from_pool(pool)


def sync_redis(url: str) -> Redis:
    """Return a pool of connections for the API's threads that gives up soon."""
    return Redis.from_url(
        url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 1)
    )


@contextmanager
def redis_errors_translated() -> Iterator[None]:
    """Turn whatever keeps Redis from answering into QueueUnavailable, or MemoryFull, which is one; for commands that are awaited as well."""
    try:
        yield
    except RedisError as error:
        raise (MemoryFull if is_out_of_memory(error) else QueueUnavailable) from error


def is_out_of_memory(error: RedisError) -> bool:
    """Whether Redis refused to write for want of memory; before version 7 it wraps the word of a script in a sentence of its own."""
    return isinstance(error, OutOfMemoryError) or "-OOM " in str(error)


@contextmanager
def ignoring_out_of_memory(consequence: str) -> Iterator[None]:
    """Go on where Redis has refused to write for want of memory; the log tells what follows from it."""
    try:
        yield
    except RedisError as error:
        if not is_out_of_memory(error):
            raise
        log.warning("the memory of Redis is full: %s", consequence)


def has_memory(redis: Redis) -> bool:
    """Whether Redis has memory for another write; also True if it does not answer."""
    try:
        # This write needs memory and changes nothing.
        redis.setrange(UNWRITTEN, 0, "")
    except OutOfMemoryError:
        return False
    except (NoConnection, NoAnswer):
        pass
    return True
