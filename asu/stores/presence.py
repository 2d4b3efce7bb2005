"""Whether the files of finished builds are still there, as cheaply as those who poll need to know it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from anyio import CapacityLimiter, to_thread

from asu.errors import StoreFailed

from .store import Store

# Seconds that a poll waits for a store far away; owut asks every half second and would rather hear
# something.
PATIENCE = 2.0
REMEMBERED = 10_000  # Builds; the answer for each takes some 300 bytes.
THREADS = 8  # Questions to a store that hangs; those who download have threads of their own.


@dataclass(frozen=True, slots=True)
class Question:
    """A question to the store that is not answered yet, and until when those who poll wait for it."""

    task: asyncio.Task[bool]
    give_up: float


class Presence:
    """Answers for one store.

    A store that lies near is asked each time. One that lies far away is asked at most once per
    build and `answers_last` seconds, however many poll, and in a thread. Files that cannot be
    looked for count as present: a client takes an error for the end of its build, and to build
    everything again because a server does not answer would be worse.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._threads = CapacityLimiter(THREADS)
        self._present_until: OrderedDict[str, float] = OrderedDict()
        self._questions: dict[str, Question] = {}

    async def has(self, key: str, *, is_fresh: bool = False) -> bool:
        """Whether the files of a build are there; with `is_fresh` the store is asked even if it was a moment ago."""
        if not self._store.answers_last:
            return self._ask(key)
        if not is_fresh and self._present_until.get(key, float("-inf")) > self._clock():
            return True
        question = self._questions.get(key) or self._put(key)
        await asyncio.wait([question.task], timeout=max(0.0, question.give_up - self._clock()))
        return (
            question.task.result()
            if question.task.done() and not question.task.cancelled()
            else True
        )

    def _put(self, key: str) -> Question:
        task = asyncio.create_task(to_thread.run_sync(self._ask, key, limiter=self._threads))
        question = self._questions[key] = Question(task, self._clock() + PATIENCE)
        task.add_done_callback(lambda _: self._answered(key))
        return question

    def _ask(self, key: str) -> bool:
        try:
            return self._store.has(key)
        except StoreFailed:
            return True

    def _answered(self, key: str) -> None:
        """Remember for a while that files are there; that they are gone is told once, and then they are built again."""
        task = self._questions.pop(key).task
        if task.cancelled() or task.exception() or not task.result():
            self._present_until.pop(key, None)
            return
        self._present_until[key] = self._clock() + self._store.answers_last
        self._present_until.move_to_end(key)
        if len(self._present_until) > REMEMBERED:
            self._present_until.popitem(last=False)
