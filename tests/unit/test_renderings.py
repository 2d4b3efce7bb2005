"""Metadata is put together once and answered from memory; nobody waits where an answer is at
hand.
"""

import asyncio
import json
from typing import Any

import pytest

from asu.catalogue.renderings import FRESH_SECONDS, MAX_BYTES, Renderings
from asu.errors import NotFound, UpstreamUnreachable

pytestmark = pytest.mark.anyio

TTL = 300.0


class Source:
    """What is rendered: tells how often it was asked, may be slow, and may fail."""

    def __init__(self, value: Any = 0) -> None:
        self.value, self.asked = value, 0
        self.failure: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> Any:
        """Return the value of now."""
        self.asked += 1
        await self.open.wait()
        if self.failure:
            raise self.failure
        return self.value


class Clock:
    """A clock that stands still until a test moves it."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


async def settle() -> None:
    """Let everything that is under way come to its end."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_thousands_share_one_rendering() -> None:
    """All who ask while the first is being made get that one, and so do those who come within
    seconds.
    """
    source = Source({"a": 1})
    renderings = Renderings(ttl=TTL)
    answers = await asyncio.gather(*(renderings.get("x", source) for _ in range(1000)))
    answers.append(await renderings.get("x", source))

    assert source.asked == 1
    assert {answer.content for answer in answers} == {b'{"a":1}'}


async def test_an_older_one_is_answered_while_a_newer_one_is_made() -> None:
    """Within METADATA_TTL nobody waits, however long the newer one takes; the next who asks gets
    it.
    """
    clock, source = Clock(), Source(1)
    renderings = Renderings(ttl=TTL, clock=clock)
    await renderings.get("x", source)
    source.value, clock.now = 2, FRESH_SECONDS
    source.open.clear()
    old = await renderings.get("x", source)
    source.open.set()
    await settle()
    new = await renderings.get("x", source)

    assert (old.content, new.content, source.asked) == (b"1", b"2", 2)
    assert old.etag != new.etag


async def test_what_is_too_old_is_not_answered() -> None:
    """After hours without a caller the first one waits for today's overview instead of being told
    yesterday's.
    """
    clock, source = Clock(), Source(1)
    renderings = Renderings(ttl=TTL, clock=clock)
    await renderings.get("x", source)
    source.value, clock.now = 2, TTL
    assert (await renderings.get("x", source)).content == b"2"


async def test_the_last_good_one_stands_in() -> None:
    """While the downloads server is away, what was known stays to be read; without anything the
    failure is told.
    """
    clock, source = Clock(), Source(1)
    renderings = Renderings(ttl=TTL, clock=clock)
    await renderings.get("x", source)
    source.failure, clock.now = UpstreamUnreachable(document="d"), 2 * TTL
    assert (await renderings.get("x", source)).content == b"1"
    with pytest.raises(UpstreamUnreachable):
        await renderings.get("y", source)
    source.failure, source.value = None, 3
    assert (await renderings.get("x", source)).content == b"3"


async def test_what_is_withdrawn_is_forgotten() -> None:
    """A version that is no longer listed is not told from memory for ever."""
    clock, source = Clock(), Source(1)
    renderings = Renderings(ttl=TTL, clock=clock)
    await renderings.get("x", source)
    source.failure, clock.now = NotFound(), FRESH_SECONDS
    await renderings.get("x", source)
    await settle()
    with pytest.raises(NotFound):
        await renderings.get("x", source)


async def test_a_caller_who_leaves_ends_nothing_for_the_others() -> None:
    """The first to ask may hang up; who came after is answered all the same."""
    source = Source(1)
    source.open.clear()
    renderings = Renderings(ttl=TTL)
    first = asyncio.create_task(renderings.get("x", source))
    second = asyncio.create_task(renderings.get("x", source))
    await settle()
    first.cancel()
    source.open.set()
    assert (await second).content == b"1"

    assert source.asked == 1


async def test_memory_is_bounded() -> None:
    """What was asked for longest ago goes first; what is larger than all the room is still
    answered.
    """
    # Three of them, with their quotes, have room.
    sources = {name: Source("x" * (MAX_BYTES // 3 - 2)) for name in "abcd"}
    renderings = Renderings(ttl=TTL)
    for name in "abcabdac":
        await renderings.get(name, sources[name])
    huge = await renderings.get("e", Source("x" * MAX_BYTES))

    assert {name: source.asked for name, source in sources.items()} == {
        "a": 1,
        "b": 1,
        "c": 2,
        "d": 1,
    }
    assert json.loads(huge.content) == "x" * MAX_BYTES
