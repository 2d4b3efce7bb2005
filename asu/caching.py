"""Keep values in memory for a while, and do one thing at a time for everyone who asks for it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Work = Callable[[], Coroutine[Any, Any, V]]


class SingleFlight(Generic[K, V]):
    """Does the work for each key once at a time. Callers that come meanwhile get the same outcome.

    A caller that is cancelled does not end the work for the others. A failure goes to all callers
    that wait for it, and the next caller starts again.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._flights: dict[K, tuple[asyncio.Task[V], float]] = {}  # A task, and when it began.

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    def start(self, key: K, work: Work[V]) -> "asyncio.Task[V]":
        """Return the task that works for `key`; begin one if there is none."""
        if key not in self._flights:
            task = asyncio.create_task(work())
            self._flights[key] = task, self._clock()
            task.add_done_callback(lambda ended: self._end(key, ended))
        return self._flights[key][0]

    async def run(self, key: K, work: Work[V], *, patience: float | None = None) -> V:
        """Return the outcome of the work for `key`, or raise its error.

        Raise TimeoutError if it is closed, or has gone on for `patience` seconds; it still goes on.
        """
        task, began = self.start(key, work), self._flights[key][1]
        timeout = None if patience is None else max(began + patience - self._clock(), 0.0)
        await asyncio.wait({task}, timeout=timeout)
        if not task.done() or task.cancelled():
            raise TimeoutError
        return task.result()

    async def close(self) -> None:
        """Cancel all work."""
        tasks = [task for task, _ in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _end(self, key: K, task: "asyncio.Task[V]") -> None:
        del self._flights[key]
        if not task.cancelled():
            task.exception()  # asyncio would log it, if every caller were gone.


@dataclass(frozen=True, slots=True)
class _Entry(Generic[V]):
    value: V
    end: float  # When it stops being fresh.


class TtlCache(Generic[K, V]):
    """Keeps each value for `seconds`. Beyond `max_size` in all, the least recently used one goes.

    A value counts as 1, or as what `size_of` says. A value that is no longer fresh stays until it
    is replaced, dropped or displaced, and can still be had with `get_stale`.
    """

    def __init__(
        self,
        seconds: float,
        *,
        max_size: int = 1024,
        size_of: Callable[[V], int] = lambda _: 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._max_size, self._size_of = seconds, max_size, size_of
        self._clock, self._size = clock, 0
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._reading: SingleFlight[K, V] = SingleFlight(clock=clock)

    def get(self, key: K) -> V | None:
        """Return the value of `key` if it is fresh."""
        entry = self._used(key)
        return entry.value if entry is not None and self._clock() < entry.end else None

    def get_stale(self, key: K) -> V | None:
        """Return the value of `key`, however old it is."""
        entry = self._used(key)
        return None if entry is None else entry.value

    def values(self) -> list[V]:
        """Return all values, fresh or not."""
        return [entry.value for entry in self._entries.values()]

    def put(self, key: K, value: V, *, seconds: float | None = None) -> None:
        """Keep a value, for other `seconds` than usual if they are given."""
        self.drop(key)
        end = self._clock() + (self._seconds if seconds is None else seconds)
        self._entries[key] = _Entry(value, end)
        self._size += self._size_of(value)
        while self._size > self._max_size and len(self._entries) > 1:
            self.drop(next(iter(self._entries)))

    def drop(self, key: K) -> None:
        """Forget the value of `key`."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= self._size_of(entry.value)

    async def fetch(self, key: K, read: Work[V], *, stale_seconds: float = 0.0) -> V:
        """Return the value of `key`; if it is not fresh, read it, once for all who ask.

        For `stale_seconds` more, callers get the old value at once while it is read again. Later
        they wait. Where reading fails, its error is raised to those who wait, and the old value
        stays.
        """
        entry = self._used(key)
        if entry is not None and self._clock() < entry.end:
            return entry.value
        reading = self._reading.start(key, lambda: self._read(key, read))
        if entry is not None and self._clock() < entry.end + stale_seconds:
            return entry.value
        return await asyncio.shield(reading)

    async def _read(self, key: K, read: Work[V]) -> V:
        value = await read()
        self.put(key, value)
        return value

    def _used(self, key: K) -> _Entry[V] | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry
