"""Requests are counted beside their way: once a second, at the end, and never at a cost to anybody."""

import asyncio
import logging
from datetime import date

import pytest

from asu.errors import QueueUnavailable
from asu.operations.request_tally import RequestTally
from asu.statistics.build_statistics import DayCounts, today
from asu.statistics.memory_statistics import MemoryStatistics

pytestmark = pytest.mark.anyio


class TroubledStatistics(MemoryStatistics):
    """Statistics that raise while there is trouble."""

    trouble: Exception | None = None

    async def add_requests(self, day: date, *, requests: int, cache_hits: int) -> None:
        """See Statistics."""
        if self.trouble:
            raise self.trouble
        await super().add_requests(day, requests=requests, cache_hits=cache_hits)


class HeardStatistics(MemoryStatistics):
    """Statistics that say when they have been told something."""

    def __init__(self) -> None:
        super().__init__()
        self.told = asyncio.Event()

    async def add_requests(self, day: date, *, requests: int, cache_hits: int) -> None:
        """See Statistics."""
        await super().add_requests(day, requests=requests, cache_hits=cache_hits)
        self.told.set()


class HangingStatistics(MemoryStatistics):
    """Statistics that never answer."""

    async def add_requests(self, day: date, *, requests: int, cache_hits: int) -> None:  # noqa: ARG002  # The signature is the protocol's.
        """See Statistics."""
        await asyncio.Event().wait()


async def counted(statistics: MemoryStatistics) -> DayCounts:
    """Return what was counted today."""
    [counts] = await statistics.days([today()])
    return counts


async def test_what_was_noted_is_flushed_once() -> None:
    """A flush hands everything over and leaves nothing."""
    statistics = MemoryStatistics()
    tally = RequestTally(statistics)
    for is_cached in (False, True, True):
        tally.note(is_cached=is_cached)

    await tally.flush()
    await tally.flush()

    assert await counted(statistics) == DayCounts(requests=3, cache_hits=2)


async def test_while_it_is_open_it_flushes_by_itself() -> None:
    """Whoever looks a little later sees the request, without anybody having done anything."""
    statistics = HeardStatistics()
    tally = RequestTally(statistics)

    async with tally.flushed(), asyncio.timeout(10):
        tally.note(is_cached=False)
        await statistics.told.wait()
        assert await counted(statistics) == DayCounts(requests=1)


async def test_at_the_end_it_flushes_once_more() -> None:
    """A restart loses no count."""
    statistics = MemoryStatistics()
    tally = RequestTally(statistics)

    async with tally.flushed():
        tally.note(is_cached=True)

    assert await counted(statistics) == DayCounts(requests=1, cache_hits=1)


async def test_the_end_does_not_wait_for_a_redis_that_hangs() -> None:
    """The last flush is given up."""
    tally = RequestTally(HangingStatistics())

    async with asyncio.timeout(10):
        async with tally.flushed():
            tally.note(is_cached=False)


@pytest.mark.parametrize("trouble", [QueueUnavailable(), RuntimeError("the secret")])
async def test_what_cannot_be_handed_over_is_dropped(
    trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is raised and nothing piles up; what comes later is counted, and no message of an exception is logged."""
    caplog.set_level(logging.DEBUG)
    statistics = TroubledStatistics()
    tally = RequestTally(statistics)
    statistics.trouble = trouble
    tally.note(is_cached=False)
    await tally.flush()
    statistics.trouble = None
    tally.note(is_cached=True)
    await tally.flush()

    assert await counted(statistics) == DayCounts(requests=1, cache_hits=1)
    assert "1 requests are missing" in caplog.text
    assert "the secret" not in caplog.text
