"""Ask something that may hang, such as a disk or a store, without holding up anything else.

Calls that hang would take asyncio's shared threads one by one. So each such thing is asked in a few
threads of its own, which end when they are idle and keep no process from ending.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, TypeVar

ROUNDS = 5  # How many times its patience a call waits for threads that are slow and do not hang.
IDLE_SECONDS = 5.0  # Starting a thread costs more than waking one.

T = TypeVar("T")


class NoAnswerError(TimeoutError):
    """Something that was asked did not answer in time."""


class _Call:
    """A call that waits for a thread or runs in one; `began` is None until then."""

    __slots__ = ("began", "context", "function", "future")

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function, self.context = function, copy_context()
        self.future: Future[Any] = Future()
        self.began: float | None = None

    def run(self) -> None:
        try:
            self.future.set_result(self.context.run(self.function))
        except BaseException as error:  # noqa: BLE001  # The caller gets it, whatever it is.
            self.future.set_exception(error)


class BlockingCalls:
    """Runs calls to one thing in at most `threads` threads of its own.

    A call that takes longer than `patience` seconds hangs: its caller gets an error, and it goes on
    to occupy its thread. While all threads hang, further calls are refused at once.
    """

    def __init__(self, name: str, *, threads: int = 1, patience: float) -> None:
        self._name, self._max_threads, self._patience = name, threads, patience
        self._changed = threading.Condition()  # Guards all that follows.
        self._waiting: deque[_Call] = deque()
        self._running: set[_Call] = set()
        self._threads = 0

    async def run(self, function: Callable[[], T]) -> T:
        """Return what `function` returns, or raise what it raises.

        Raise NoAnswerError if it takes longer than the patience, or at once if all threads hang.
        """
        patience = self._patience
        if self._hangs(patience):
            raise NoAnswerError(self._name)
        call = _Call(function)
        self._put(call)
        answer: asyncio.Future[T] = asyncio.wrap_future(call.future)
        try:
            for _ in range(ROUNDS):
                await asyncio.wait({answer}, timeout=patience)
                if answer.done():
                    return answer.result()
                # A call that hangs began a moment after the wait did, so half of it is enough.
                if _has_run(call, patience / 2) or self._hangs(patience / 2):
                    break
            raise NoAnswerError(self._name)
        finally:
            answer.cancel()
            self._forget(call)

    def _put(self, call: _Call) -> None:
        with self._changed:
            self._waiting.append(call)
            busy = len(self._running) + len(self._waiting)
            if busy > self._threads and self._threads < self._max_threads:
                self._threads += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._changed.notify()

    def _forget(self, call: _Call) -> None:
        """Let go of a call that nobody waits for any more, unless it runs."""
        with self._changed:
            if call in self._waiting:
                self._waiting.remove(call)

    def _hangs(self, seconds: float) -> bool:
        """Whether every thread has been busy with its call for that long."""
        with self._changed:
            return len(self._running) == self._max_threads and all(
                _has_run(call, seconds) for call in self._running
            )

    def _work(self) -> None:
        while (call := self._next()) is not None:
            call.run()
            with self._changed:
                self._running.discard(call)
            del call  # An idle thread must not hold what the call returned.

    def _next(self) -> _Call | None:
        """Return a call that runs now; None when there was nothing to do for some time."""
        with self._changed:
            while True:
                while self._waiting:
                    call = self._waiting.popleft()
                    if call.future.set_running_or_notify_cancel():
                        call.began = time.monotonic()
                        self._running.add(call)
                        return call
                if not self._changed.wait(IDLE_SECONDS) and not self._waiting:
                    self._threads -= 1
                    return None


def _has_run(call: _Call, seconds: float) -> bool:
    return call.began is not None and time.monotonic() - call.began >= seconds
