"""Readings that many ask for and that need not be the very latest."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

Read = TypeVar("Read")


class Kept(Generic[Read]):
    """Something that is read at most once in some seconds, by one reader at a time.

    Whoever comes meanwhile gets what that one gets, or with `keeps_serving` what was read before,
    without waiting.
    """

    def __init__(
        self, read: Callable[[], Awaitable[Read]], seconds: float, *, keeps_serving: bool = False
    ) -> None:
        self._read, self._seconds, self._keeps_serving = read, seconds, keeps_serving
        self._taken = float("-inf")
        self._reading: asyncio.Task[Read] | None = None
        self._earlier: asyncio.Task[Read] | None = None  # The last one that has ended well.

    async def get(self) -> Read:
        """Return what was read; raises what reading raised, and then the next one who asks reads again."""
        reading = self._reading
        if reading is None or (reading.done() and time.monotonic() - self._taken >= self._seconds):
            if reading is not None and not reading.cancelled() and reading.exception() is None:
                self._earlier = reading
            reading = self._reading = asyncio.create_task(self._take())
            reading.add_done_callback(_heard)
        elif self._keeps_serving and self._earlier is not None and not reading.done():
            reading = self._earlier
        return await asyncio.shield(reading)  # Whoever hangs up does not end it for the others.

    async def _take(self) -> Read:
        value = await self._read()
        self._taken = time.monotonic()
        return value


def _heard(reading: asyncio.Task[Any]) -> None:
    """Take notice of a failure, which those who waited have been told: should all have hung up, nobody else needs to hear of it."""
    if not reading.cancelled():
        reading.exception()
