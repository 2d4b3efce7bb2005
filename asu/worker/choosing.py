"""Which of the waiting builds a worker begins next: the first in line, mostly."""

from collections.abc import Callable, Mapping
from typing import Any

from asu.records.build_record import WorkerRecords

# As many of the first in line are looked at. A build that waits behind more has no haste, and
# podman is asked for the builder of each.
WINDOW = 8


class Choice:
    """Chooses by the line of the records; `has_builder` says of a plan whether its ImageBuilder is on this machine.

    Whoever comes back after an attempt is first. Otherwise, where the first one's ImageBuilder
    would have to be pulled, which takes as long as some builds, one that needs none goes before it;
    nobody is overtaken more than OVERTAKINGS times, whichever workers choose.
    """

    def __init__(
        self, records: WorkerRecords, has_builder: Callable[[Mapping[str, Any]], bool]
    ) -> None:
        self._records, self._has_builder = records, has_builder

    def __call__(self) -> list[str]:
        """Return the keys of builds in the order in which they should be tried to get; raises QueueUnavailable."""
        line = self._records.first(WINDOW)
        keys = [waiting.key for waiting in line]
        # Nobody's turn depends on where the builder is, and asking podman would hold up the only
        # one who waits.
        if len(line) <= 1:
            return keys
        for place, waiting in enumerate(line):
            if waiting.is_returning or self._has_builder(waiting.plan):
                if place and not self._records.overtake(keys[:place]):
                    break
                return [waiting.key, *keys[:place], *keys[place + 1 :]]
        return keys
