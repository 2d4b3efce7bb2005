"""How fast builds are made, and what those who wait may expect of it."""

import math
from dataclasses import dataclass

from asu.caching import TtlCache
from asu.errors import QueueUnavailable
from asu.records.build_record import Records, Standing

from .capacity import Room

KEPT_SECONDS = 1.0  # Workers are counted at most this often, however many poll.
STALE_SECONDS = 10.0  # An older estimate misleads, so its reader waits for a new one.


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many workers live, how many seconds a build took lately, and whether none has room for another; None is what nobody knows."""

    workers: int | None = None
    seconds: float | None = None
    is_full: bool = False

    def until_finished(self, standing: Standing, *, is_running: bool) -> int | None:
        """Return in how many seconds a build may be finished; None where nobody knows.

        That is so before the first build, while nobody works or has room for another, and when it
        takes longer than most.

        Whoever waits does so since every worker builds. They end one build each `seconds /
        workers`, this one begins when those before it and one more have been taken, and takes as
        long as others did.
        """
        if not self.workers or self.seconds is None:
            return None
        if is_running:
            left = self.seconds - standing.seconds
            return math.ceil(left) if left > 0 else None
        if self.is_full:
            return None
        return math.ceil(
            standing.seconds + self.seconds * (1 + (standing.position + 1) / self.workers)
        )


class PaceReader:
    """Reads the pace, at most once a second. Meanwhile polls get the last one, if it is not too old.

    Where Redis does not answer, nothing is known, which is no reason to refuse a poll.
    """

    def __init__(self, records: Records, room: Room) -> None:
        self._records, self._room = records, room
        self._pace = TtlCache[str, Pace](KEPT_SECONDS)

    async def get(self) -> Pace:
        """Return the pace as it was about a second ago."""
        return await self._pace.fetch("pace", self._read, stale_seconds=STALE_SECONDS)

    async def _read(self) -> Pace:
        try:
            workers, with_room = await self._room.workers()
            return Pace(
                workers=workers,
                seconds=await self._records.build_seconds(),
                is_full=bool(workers) and not with_room,
            )
        except QueueUnavailable:
            return Pace()
