"""Places in the line: counted seldom, and never told before they are known."""

import asyncio

import pytest

from asu.build_record import PositionSnapshot
from asu.errors import QueueUnavailable

pytestmark = pytest.mark.anyio


class Line:
    """Those who wait, counted slowly; the first `failures` counts fail."""

    def __init__(self, *keys: str, failures: int = 0) -> None:
        self.keys = list(keys)
        self.failures = failures
        self.counts = 0

    async def count(self) -> list[str]:
        """Count them."""
        self.counts += 1
        await asyncio.sleep(0.01)
        if self.counts <= self.failures:
            raise QueueUnavailable
        return self.keys


async def test_everybody_waits_for_the_first_count() -> None:
    """A place that was not counted yet would look like the head of the line; one count serves all."""
    line = Line("a", "b", "c")
    snapshot = PositionSnapshot(line.count)

    assert await asyncio.gather(*(snapshot.place("c") for _ in range(20))) == [2] * 20
    assert line.counts == 1


async def test_a_count_that_fails_is_none() -> None:
    """Those who waited for it hear of it, and the next one counts anew."""
    line = Line("a", "b", failures=1)
    snapshot = PositionSnapshot(line.count)
    outcomes = await asyncio.gather(snapshot.place("b"), snapshot.place("b"), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [QueueUnavailable] * 2
    assert await snapshot.place("b") == 1


async def test_whoever_hangs_up_does_not_end_the_count() -> None:
    """The first client goes away while all others wait for the count that it began."""
    snapshot = PositionSnapshot(Line("a", "b").count)
    first, second = asyncio.create_task(snapshot.place("a")), asyncio.create_task(snapshot.place("b"))
    await asyncio.sleep(0)
    first.cancel()

    assert await second == 1
