"""Carry this process' counts of build requests to the statistics, once a second.

What Redis does not accept is dropped: requests do not wait for statistics, and nothing piles up.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from asu.errors import AsuError
from asu.logs import where_it_failed
from asu.statistics.build_statistics import today
from asu.statistics.redis_statistics import RedisStatistics

from .metrics import BUILD_REQUESTS, Counts

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0  # What a crash loses at most; one round trip in that time.
LAST_FLUSH_SECONDS = 1.0  # A restart does not wait longer for a Redis that hangs.


class RequestTally:
    """The build requests that have been counted since the last flush."""

    def __init__(self, counts: Counts, statistics: RedisStatistics) -> None:
        self._counts, self._statistics = counts, statistics
        self._hits = self._requests = 0  # As of the last flush.

    async def flush(self) -> None:
        """Add what is new to the statistics; never raises, never sends the same counts twice."""
        hits = self._counts.count(BUILD_REQUESTS, "hit")
        requests = hits + self._counts.count(BUILD_REQUESTS, "miss")
        new_hits, new_requests = hits - self._hits, requests - self._requests
        self._hits, self._requests = hits, requests
        if not new_requests:
            return
        try:
            await self._statistics.add_requests(today(), requests=new_requests, cache_hits=new_hits)
        except AsuError as error:
            log.debug("%s requests are missing in the statistics: %s", new_requests, error.detail)
        except Exception as error:  # noqa: BLE001  # The next second is counted again.
            log.warning(
                "%s requests are missing in the statistics: %s",
                new_requests,
                where_it_failed(error),
            )

    @asynccontextmanager
    async def flushed(self) -> AsyncIterator[None]:
        """Flush every second while the context is open, and once more, shortly, at its end."""
        closing = asyncio.Event()
        flushing = asyncio.create_task(self._flush_until(closing))
        try:
            yield
        finally:
            closing.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_FLUSH_SECONDS):
                    await flushing

    async def _flush_until(self, closing: asyncio.Event) -> None:
        while not closing.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await closing.wait()
            await self.flush()
        await self.flush()  # For what came while the last one was under way.
