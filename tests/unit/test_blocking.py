"""Calls that may hang: how many threads they take, and what other callers get meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from asu.blocking import BlockingCalls, NoAnswerError

pytestmark = pytest.mark.anyio

NAME = "something that hangs"


class Hanging:
    """A call that hangs until it is let go, and counts how often it was begun."""

    def __init__(self) -> None:
        self.let_go, self.begun = threading.Event(), 0

    def __call__(self) -> str:
        """Hang."""
        self.begun += 1
        self.let_go.wait()
        return "at last"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    """Return a call that hangs; it goes on in the end."""
    call = Hanging()
    yield call
    call.let_go.set()


async def test_what_a_call_returns_or_raises_comes_back() -> None:
    """From a thread of its own."""
    calls = BlockingCalls(NAME, patience=60)
    assert await calls.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await calls.run(lambda: 1 // 0)


async def test_calls_that_hang_take_few_threads_and_others_are_refused(hanging: Hanging) -> None:
    """At once, so that nobody waits for a disk of which it is known that it hangs."""
    calls = BlockingCalls("a disk", threads=2, patience=0.05)
    first = await asyncio.gather(*(calls.run(hanging) for _ in range(20)), return_exceptions=True)
    assert {type(error) for error in first} == {NoAnswerError}
    later = [calls.run(hanging) for _ in range(100)]
    for call in later:
        with pytest.raises(NoAnswerError, match="a disk"):
            await call

    assert hanging.begun == 2
    assert [thread.name for thread in threading.enumerate()].count("a disk") == 2


async def test_one_call_that_hangs_holds_up_no_other(hanging: Hanging) -> None:
    """While there is a thread left."""
    calls = BlockingCalls(NAME, threads=2, patience=60)
    waiting = asyncio.create_task(calls.run(hanging))

    assert [await calls.run(int) for _ in range(20)] == [0] * 20
    hanging.let_go.set()
    assert await waiting == "at last"


async def test_it_is_asked_again_once_it_answers(hanging: Hanging) -> None:
    """As soon as the calls that hung have ended."""
    calls = BlockingCalls(NAME, patience=0.05)
    with pytest.raises(NoAnswerError):
        await calls.run(hanging)
    hanging.let_go.set()
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(NoAnswerError):
                assert await calls.run(int) == 0
                return
            await asyncio.sleep(0.01)


async def test_a_thing_that_is_slow_does_not_hang() -> None:
    """A caller waits for all those before it, longer than for one that hangs."""
    calls = BlockingCalls(NAME, patience=1.0)

    answers = await asyncio.gather(*(calls.run(lambda: time.sleep(0.05)) for _ in range(40)))

    assert len(answers) == 40


async def test_a_caller_that_leaves_takes_its_call_with_it(hanging: Hanging) -> None:
    """What has not begun is never done."""
    calls = BlockingCalls(NAME, patience=60)
    first, second = (asyncio.create_task(calls.run(hanging)) for _ in range(2))
    while not hanging.begun:  # noqa: ASYNC110  # The call is in another thread.
        await asyncio.sleep(0.01)
    second.cancel()
    await asyncio.wait([second])
    hanging.let_go.set()

    assert (await first, await calls.run(int), hanging.begun) == ("at last", 0, 1)


def test_a_call_that_hangs_keeps_no_process_from_ending() -> None:
    """It would have to be killed, with all that it does."""
    script = (
        "import asyncio, time; from asu.blocking import BlockingCalls\n"
        "try: asyncio.run(BlockingCalls('x', patience=0.01).run(lambda: time.sleep(3600)))\n"
        "except TimeoutError: print('given up')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )

    assert (ended.stdout, ended.returncode) == ("given up\n", 0), ended.stderr
