"""Requests are counted beside their way: once a second, at the end, and never at a cost to
anybody.
"""

import asyncio
import logging
from datetime import date

import pytest

from asu.errors import QueueUnavailable
from asu.operations.metrics import BUILD_REQUESTS, Counts
from asu.operations.request_tally import RequestTally
from asu.statistics.build_statistics import DayCounts, today
from tests.twins.imitated_statistics import ImitatedStatistics

pytestmark = pytest.mark.anyio


class TroubledStatistics(ImitatedStatistics):
    """Statistics that raise while there is trouble."""

    trouble: Exception | None = None

    async def add_requests(self, day: date, *, requests: int, cache_hits: int) -> None:
        """See RedisStatistics."""
        if self.trouble:
            raise self.trouble
        await super().add_requests(day, requests=requests, cache_hits=cache_hits)


class HeardStatistics(ImitatedStatistics):
    """Statistics that say when something was added."""

    def __init__(self) -> None:
        super().__init__()
        self.added = asyncio.Event()

    async def add_requests(self, day: date, *, requests: int, cache_hits: int) -> None:
        """See RedisStatistics."""
        await super().add_requests(day, requests=requests, cache_hits=cache_hits)
        self.added.set()


class HangingStatistics(ImitatedStatistics):
    """Statistics that never answer; `given_up` counts the calls that were cancelled."""

    given_up = 0

    # The signature is the protocol's.
    async def add_requests(self, day: date, *, requests: int, cache_hits: int) -> None:  # noqa: ARG002
        """See RedisStatistics."""
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up += 1


async def counted(statistics: ImitatedStatistics) -> DayCounts:
    """Return what was counted today."""
    [counts] = await statistics.days([today()])
    return counts


async def test_what_was_noted_is_flushed_once() -> None:
    """A flush hands everything over and leaves nothing."""
    statistics = ImitatedStatistics()
    tally = RequestTally(counts := Counts(), statistics)
    for outcome in ("miss", "hit", "hit"):
        counts.add(BUILD_REQUESTS, outcome)

    await tally.flush()
    await tally.flush()

    assert await counted(statistics) == DayCounts(requests=3, cache_hits=2)


async def test_while_it_is_open_it_flushes_by_itself() -> None:
    """Whoever looks a little later sees the request, without anybody having done anything."""
    statistics = HeardStatistics()
    tally = RequestTally(counts := Counts(), statistics)

    async with tally.flushed(), asyncio.timeout(10):
        counts.add(BUILD_REQUESTS, "miss")
        await statistics.added.wait()
        assert await counted(statistics) == DayCounts(requests=1)


async def test_at_the_end_it_flushes_once_more() -> None:
    """A restart loses no count."""
    statistics = ImitatedStatistics()
    tally = RequestTally(counts := Counts(), statistics)

    async with tally.flushed():
        counts.add(BUILD_REQUESTS, "hit")

    assert await counted(statistics) == DayCounts(requests=1, cache_hits=1)


async def test_the_end_does_not_wait_for_a_redis_that_hangs() -> None:
    """The last flush is given up."""
    statistics = HangingStatistics()
    tally = RequestTally(counts := Counts(), statistics)

    async with asyncio.timeout(60):
        async with tally.flushed():
            counts.add(BUILD_REQUESTS, "miss")

    assert statistics.given_up == 1


@pytest.mark.parametrize("trouble", [QueueUnavailable(), RuntimeError("the secret")])
async def test_what_cannot_be_handed_over_is_dropped(
    trouble: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is raised and nothing piles up; what comes later is counted, and no message of an
    exception is logged.
    """
    caplog.set_level(logging.DEBUG)
    statistics = TroubledStatistics()
    tally = RequestTally(counts := Counts(), statistics)
    statistics.trouble = trouble
    counts.add(BUILD_REQUESTS, "miss")
    await tally.flush()
    statistics.trouble = None
    counts.add(BUILD_REQUESTS, "hit")
    await tally.flush()

    assert await counted(statistics) == DayCounts(requests=1, cache_hits=1)
    assert "1 requests are missing" in caplog.text
    assert "the secret" not in caplog.text
