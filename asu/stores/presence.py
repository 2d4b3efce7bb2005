"""Whether the files of finished builds are still there, as cheaply as polls need to know it."""

import time
from collections.abc import Callable
from functools import partial

from asu.blocking import BlockingCalls
from asu.caching import SingleFlight, TtlCache
from asu.errors import StoreFailed

from .store import Store

# Seconds that a poll waits for the store; owut polls every half second and wants an answer.
PATIENCE = 2.0
REMEMBERED = 10_000  # Builds; the answer for each takes some 300 bytes.
THREADS = 8
# Seconds after which a question hangs. Until then a late answer still counts, for the next poll.
HANGING = 30.0


class Presence:
    """Asks a store about a build at most once in its `answers_last` seconds.

    Files of a store that does not answer count as present: a client takes an error for the end of
    its build, and such a store is no reason to build everything again.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._calls = store, BlockingCalls("store", threads=THREADS, patience=HANGING)
        self._present = TtlCache[str, bool](store.answers_last, max_size=REMEMBERED, clock=clock)
        self._questions = SingleFlight[str, bool](clock=clock)

    async def has(self, key: str, *, is_fresh: bool = False) -> bool:
        """Whether the files of a build are there; with `is_fresh`, as the store says now."""
        if not is_fresh and self._present.get(key):
            return True
        try:
            return await self._questions.run(key, partial(self._ask, key), patience=PATIENCE)
        except TimeoutError:
            return True

    async def _ask(self, key: str) -> bool:
        try:
            is_there = await self._calls.run(partial(self._store.has, key))
        except (StoreFailed, TimeoutError):
            is_there = True
        if is_there:
            self._present.put(key, value=True)
        else:
            self._present.drop(key)  # It may be built again at any time.
        return is_there
