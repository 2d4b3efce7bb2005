"""Values that are kept for a while, and work that is done once for all who ask."""

from __future__ import annotations

import asyncio

import pytest

from asu.caching import SingleFlight, TtlCache

pytestmark = pytest.mark.anyio

SECONDS, STALE = 10.0, 20.0


class Source:
    """Something to read that changes each time. A reading waits for `gate`, and may fail."""

    def __init__(self) -> None:
        self.readings, self.is_failing, self.gate = 0, False, asyncio.Event()
        self.gate.set()

    async def read(self) -> int:
        """Return how often it was read."""
        self.readings += 1
        reading = self.readings
        await self.gate.wait()
        if self.is_failing:
            raise OSError("not now")
        return reading


class World:
    """A cache, its clock and a source."""

    def __init__(self, *, max_size: int = 10) -> None:
        self.now, self.source = 0.0, Source()
        self.cache = TtlCache[str, int](SECONDS, max_size=max_size, clock=lambda: self.now)

    async def fetch(self) -> int:
        """Fetch the one value of the source."""
        return await self.cache.fetch("a", self.source.read, stale_seconds=STALE)


async def test_a_value_is_read_once_in_its_time_however_many_ask() -> None:
    """At once, or one after the other."""
    world = World()
    assert await asyncio.gather(*(world.fetch() for _ in range(50))) == [1] * 50
    world.now = SECONDS - 1
    assert await world.fetch() == 1


async def test_a_stale_value_is_served_while_one_reads() -> None:
    """Nobody waits, and there is one reading."""
    world = World()
    await world.fetch()
    world.now = SECONDS
    world.source.gate.clear()
    assert [await world.fetch(), await world.fetch()] == [1, 1]
    world.source.gate.set()
    async with asyncio.timeout(60):
        while await world.fetch() == 1:  # noqa: ASYNC110  # The reading ends by itself.
            await asyncio.sleep(0)

    assert (await world.fetch(), world.source.readings) == (2, 2)


async def test_what_is_too_old_is_not_served() -> None:
    """Everyone waits for the new value."""
    world = World()
    await world.fetch()
    world.now = SECONDS + STALE

    assert [*await asyncio.gather(world.fetch(), world.fetch())] == [2, 2]


async def test_a_failure_goes_to_those_who_wait_and_the_next_reads_again() -> None:
    """The old value is still there for a caller that prefers it."""
    world = World()
    await world.fetch()
    world.now, world.source.is_failing = SECONDS + STALE, True
    failures = await asyncio.gather(world.fetch(), world.fetch(), return_exceptions=True)
    assert [type(failure) for failure in failures] == [OSError, OSError]
    assert (world.cache.get("a"), world.cache.get_stale("a")) == (None, 1)
    world.source.is_failing = False

    assert (await world.fetch(), world.source.readings) == (3, 3)


async def test_the_least_recently_used_value_goes() -> None:
    """The bound is the number of values."""
    cache = World(max_size=2).cache
    for key in "ab":
        cache.put(key, 0)
    cache.get("a")
    cache.put("c", 0)

    assert [cache.get(key) for key in "abc"] == [0, None, 0]


async def test_a_value_may_have_its_own_time() -> None:
    """A document that is missing is asked for again later than one that failed."""
    world = World()
    world.cache.put("a", 1, seconds=SECONDS / 2)
    world.cache.put("b", 2)
    world.now = SECONDS / 2

    assert (world.cache.get("a"), world.cache.get("b")) == (None, 2)


async def test_a_caller_that_leaves_ends_nothing_for_the_others() -> None:
    """The first one has begun the work for all."""
    source = Source()
    source.gate.clear()
    flights = SingleFlight[str, int]()
    first, second = (asyncio.create_task(flights.run("a", source.read)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    source.gate.set()

    assert (await second, source.readings) == (1, 1)


async def test_patience_counts_from_the_beginning_of_the_work() -> None:
    """A caller that comes late does not wait again; the work goes on."""
    now, source = [0.0], Source()
    source.gate.clear()
    flights = SingleFlight[str, int](clock=lambda: now[0])
    first = asyncio.create_task(flights.run("a", source.read, patience=1000))
    await asyncio.sleep(0)
    now[0] = 1000
    with pytest.raises(TimeoutError):
        await flights.run("a", source.read, patience=1000)
    source.gate.set()

    assert (await first, source.readings, len(flights)) == (1, 1, 0)


async def test_closing_cancels_all_work() -> None:
    """Callers that wait for it get an error, and are not cancelled themselves."""
    source = Source()
    source.gate.clear()
    flights = SingleFlight[str, int]()
    waiting = asyncio.create_task(flights.run("a", source.read))
    await asyncio.sleep(0)
    await flights.close()

    with pytest.raises(TimeoutError):
        await waiting
