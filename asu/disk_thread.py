"""Questions to a disk that may hang, as one of a server that is away does: in a thread of their own, so that nothing else waits for it.

Threads that asyncio lends belong to all: some that never come back, and no build can be put in line
any more.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

ROUNDS = 5  # How many times its patience one waits for a disk that answers others meanwhile.

T = TypeVar("T")
_Call = tuple[Callable[[], Any], Future[Any]]


class DiskThread:
    """Runs calls one after another. The thread is there while there is anything to do, and keeps no process from ending.

    A disk that hung is left alone for `pause` seconds, so that not everybody finds that out anew.
    """

    def __init__(self, *, pause: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause, self._clock, self._pause_ends = pause, clock, float("-inf")
        self._lock = threading.Lock()  # Of the following three.
        self._first: deque[_Call] = deque()
        self._others: deque[_Call] = deque()
        # When the call that runs was begun; None without a thread.
        self._began: float | None = None

    async def run(self, call: Callable[[], T], *, patience: float, first: bool = False) -> T:
        """Return what a call returns, begun before all that are not `first`.

        Raises what it raises, and TimeoutError where a call hangs when `patience` seconds are over,
        or while the disk is left alone.
        """
        if self._clock() < self._pause_ends:
            raise TimeoutError
        future: Future[T] = Future()
        queue = self._first if first else self._others
        self._put(queue, (call, future))
        answer = asyncio.wrap_future(future)
        try:
            for _ in range(ROUNDS):
                await asyncio.wait({answer}, timeout=patience)
                if answer.done():
                    return answer.result()
                if self._hangs(patience / 2):  # Whatever hangs was begun a moment after the wait.
                    break
        finally:
            answer.cancel()
            # What nobody waits for is not to be held, nor done later.
            with self._lock, contextlib.suppress(ValueError):
                queue.remove((call, future))
        self._pause_ends = self._clock() + self._pause
        raise TimeoutError

    def _put(self, queue: deque[_Call], call: _Call) -> None:
        with self._lock:
            if self._began is None:
                threading.Thread(target=self._work, name="disk", daemon=True).start()
                self._began = time.monotonic()
            queue.append(call)

    def _hangs(self, seconds: float) -> bool:
        began = self._began
        return began is not None and time.monotonic() - began >= seconds

    def _work(self) -> None:
        while (found := self._next()) is not None:
            call, future = found
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001  # Whoever waits is told, whatever it is.
                future.set_exception(error)
            del found, call, future  # Or the last document would be held until the next.

    def _next(self) -> _Call | None:
        with self._lock:
            queue = self._first or self._others
            self._began = time.monotonic() if queue else None
            return queue.popleft() if queue else None
