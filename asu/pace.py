"""How fast builds are made, and what those who wait may expect of it."""

import asyncio
import math
import time
from dataclasses import dataclass

from .build_queue import BuildQueue
from .build_record import Records, Standing
from .errors import QueueUnavailable

KEPT_SECONDS = 1.0  # Workers are counted at most this often, however many poll.


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many workers live, and how many seconds a build took lately; None is what nobody knows."""

    workers: int | None = None
    seconds: float | None = None

    def until_finished(self, standing: Standing, *, is_running: bool) -> int | None:
        """Return in how many seconds a build may be finished; None where nothing is known, nobody works, or it takes longer than most.

        Whoever waits does so since every worker builds. They end one build each `seconds / workers`, this one begins when
        those before it and one more have been taken, and takes as long as others did.
        """
        if not self.workers or self.seconds is None:
            return None
        if is_running:
            left = self.seconds - standing.seconds
            return math.ceil(left) if left > 0 else None
        return math.ceil(standing.seconds + self.seconds * (1 + (standing.position + 1) / self.workers))


class PaceReader:
    """Reads the pace, at most once a second and by one reader at a time.

    Whoever finds the last reading stale begins the next one, all others are answered from the last one meanwhile. At the very first
    there is none, so everybody waits for it. Where Redis does not answer, nothing is known, which is no reason to refuse a poll.
    """

    def __init__(self, records: Records, queue: BuildQueue) -> None:
        self._records, self._queue = records, queue
        self._taken = float("-inf")
        self._pace: Pace | None = None
        self._reading: asyncio.Task[None] | None = None

    async def get(self) -> Pace:
        """Return the pace as it was at most a second ago."""
        if self._reading is None and time.monotonic() - self._taken >= KEPT_SECONDS:
            self._reading = asyncio.create_task(self._take())
            await asyncio.shield(self._reading)  # Whoever hangs up does not end it for the others.
        elif self._reading is not None and self._pace is None:
            await asyncio.shield(self._reading)
        return self._pace or Pace()

    async def _take(self) -> None:
        begun = time.monotonic()
        try:
            self._pace = Pace(workers=await asyncio.to_thread(self._queue.live_workers), seconds=await self._records.build_seconds())
        except QueueUnavailable:
            self._pace = Pace()
        finally:
            self._taken, self._reading = begun, None
