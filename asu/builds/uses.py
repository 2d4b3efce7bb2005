"""When finished builds were last of use to somebody, which decides what a store that is too full keeps."""

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable

from asu.errors import QueueUnavailable
from asu.records.build_record import Records

# A client that polls on costs one write a minute; what is kept is decided over hours.
NOTED_SECONDS = 60.0
REMEMBERED = 10_000  # Builds; 200 bytes for each.


class Uses:
    """Notes in the record of a build that it was answered or downloaded, at most once a minute for each build; never raises."""

    def __init__(self, records: Records, clock: Callable[[], float] = time.monotonic) -> None:
        self._records, self._clock = records, clock
        self._noted: OrderedDict[str, float] = OrderedDict()

    async def note(self, key: str) -> None:
        """Note that somebody has just made use of a build."""
        now = self._clock()
        if now - self._noted.get(key, float("-inf")) < NOTED_SECONDS:
            return
        self._noted[key] = now
        self._noted.move_to_end(key)
        if len(self._noted) > REMEMBERED:
            self._noted.popitem(last=False)
        with contextlib.suppress(QueueUnavailable):  # Whoever asks gets the answer all the same.
            await self._records.note_use(key)
