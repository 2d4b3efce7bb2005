"""Counts requests beside their way: a request adds to two numbers, and once a second they go to the statistics.

What Redis does not take in is dropped: requests wait for no statistics, and nothing piles up.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from asu.errors import AsuError
from asu.logs import where_it_failed
from asu.statistics.build_statistics import Statistics, today

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0  # What a crash loses at most, and one round trip in all that time.
LAST_FLUSH_SECONDS = 1.0  # A restart waits no longer for a Redis that hangs.


class RequestTally:
    """The requests that the statistics have not heard of yet."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._requests = self._cache_hits = 0

    def note(self, *, is_cached: bool) -> None:
        """Count an answered request; `is_cached` if its image was there already."""
        self._requests += 1
        self._cache_hits += is_cached

    async def flush(self) -> None:
        """Hand over what was counted; never raises, and keeps nothing that could not be handed over."""
        requests, cache_hits = self._requests, self._cache_hits
        if not requests:
            return
        self._requests = self._cache_hits = 0
        try:
            await self._statistics.add_requests(today(), requests=requests, cache_hits=cache_hits)
        except AsuError as error:
            log.debug("%s requests are missing in the statistics: %s", requests, error.detail)
        except Exception as error:  # noqa: BLE001  # Whatever it is, the next second is counted again.
            log.warning(
                "%s requests are missing in the statistics: %s", requests, where_it_failed(error)
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
