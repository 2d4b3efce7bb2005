"""When a build may be finished."""

import math
from dataclasses import dataclass

from asu.caching import TtlCache
from asu.errors import QueueUnavailable
from asu.records.api_records import Records
from asu.records.build_record import LiveFacts

from .capacity import Capacity

KEPT_SECONDS = 1.0  # Workers are counted at most this often, however many poll.
STALE_SECONDS = 10.0  # An older estimate misleads, so its reader waits for a new one.


@dataclass(frozen=True, slots=True, kw_only=True)
class EtaEstimate:
    """What an ETA is computed from. None is unknown.

    `workers` are alive, a build took `seconds` lately, no worker may begin one if `is_full`, and
    none does although builds wait if `is_stuck`.
    """

    workers: int | None = None
    seconds: float | None = None
    is_full: bool = False
    is_stuck: bool = False

    def until_finished(self, live: LiveFacts, *, is_running: bool) -> int | None:
        """Return in how many seconds a build may be finished, or None.

        It is unknown before the first build has ended, while no worker may begin one, and for a
        build that takes longer than most. While builds wait, one ends every `seconds / workers`. A
        waiting build begins when those before it and one more have ended:

        >>> EtaEstimate(workers=1, seconds=30).until_finished(LiveFacts(), is_running=False)
        60
        """
        if not self.workers or self.seconds is None:
            return None
        if is_running:
            left = self.seconds - live.seconds
            return math.ceil(left) if left > 0 else None
        if self.is_full or self.is_stuck:
            return None
        return math.ceil(live.seconds + self.seconds * (1 + (live.position + 1) / self.workers))


class EtaReader:
    """Reads the estimate at most once a second. Without an answer of Redis all is unknown."""

    def __init__(self, records: Records, capacity: Capacity) -> None:
        self._records, self._capacity = records, capacity
        self._estimate = TtlCache[str, EtaEstimate](KEPT_SECONDS)

    async def get(self) -> EtaEstimate:
        """Return the estimate of about a second ago."""
        return await self._estimate.fetch("eta", self._read, stale_seconds=STALE_SECONDS)

    async def _read(self) -> EtaEstimate:
        try:
            workers, with_room = await self._capacity.workers()
            return EtaEstimate(
                workers=workers,
                seconds=await self._records.build_seconds(),
                is_full=bool(workers) and not with_room,
                is_stuck=bool(workers) and await self._records.is_stuck(),
            )
        except QueueUnavailable:
            return EtaEstimate()
