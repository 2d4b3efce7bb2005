"""Readings that many ask for: who waits for one, and what the others are told meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from asu.kept import Kept

pytestmark = pytest.mark.anyio


class Reader:
    """Something to read that changes each time; a reading waits for `gate` and fails where it is told to."""

    def __init__(self) -> None:
        self.readings, self.failing, self.gate = 0, False, asyncio.Event()
        self.gate.set()

    async def read(self) -> int:
        """Return how often it was read."""
        self.readings += 1
        reading = self.readings
        await self.gate.wait()
        if self.failing:
            raise OSError("not now")
        return reading


@pytest.mark.parametrize(("keeps_serving", "meanwhile"), [(False, 2), (True, 1)])
async def test_who_comes_while_it_is_read_anew(*, keeps_serving: bool, meanwhile: int) -> None:
    """They wait for what comes, or are told at once what was known before."""
    reader = Reader()
    kept = Kept(reader.read, 0, keeps_serving=keeps_serving)
    assert await kept.get() == 1
    reader.gate.clear()
    first = asyncio.create_task(kept.get())
    await asyncio.sleep(0)
    other = asyncio.create_task(kept.get())
    await asyncio.sleep(0.01)

    assert other.done() is keeps_serving
    reader.gate.set()
    assert (await first, await other, reader.readings) == (2, meanwhile, 2)


async def test_a_reading_that_failed_is_not_served() -> None:
    """Where nothing was ever read well there is nothing else to tell: all wait for the next one."""
    reader = Reader()
    reader.failing = True
    kept = Kept(reader.read, 0, keeps_serving=True)
    with pytest.raises(OSError, match="not now"):
        await kept.get()
    reader.failing = False

    assert [*await asyncio.gather(kept.get(), kept.get())] == [2, 2]


async def test_what_was_read_is_kept_for_its_time() -> None:
    """However many ask."""
    reader = Reader()
    kept = Kept(reader.read, 60)

    assert [await kept.get() for _ in range(3)] == [1, 1, 1]
