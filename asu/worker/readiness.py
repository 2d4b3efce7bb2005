"""Whether a worker may begin another build: not on a disk below its reserve or with a full Redis.

Accepted builds then keep their tries and wait, instead of failing after a few of them.
"""

import logging
from collections.abc import Callable

from asu.disk_space import expect_disk_space
from asu.errors import DiskFull
from asu.settings import Settings

log = logging.getLogger(__name__)

DISK = "%(space)s (DISK_RESERVE_MB)"
MEMORY = "the memory of Redis is full"


class ReadyToBegin:
    """Looks at this worker's disk and at the memory of Redis, and logs when the answer changes."""

    def __init__(self, settings: Settings, has_memory: Callable[[], bool]) -> None:
        self._settings, self._has_memory, self._was_ready = settings, has_memory, True

    def __call__(self) -> bool:
        """Whether there is space on the disk and memory in Redis; True if that is unknown."""
        lacking = self._lacking()
        if lacking and self._was_ready:
            log.warning("no build is begun: %s; accepted builds wait", lacking)
        elif not lacking and not self._was_ready:
            log.info("there is room again, builds are begun")
        self._was_ready = not lacking
        return self._was_ready

    def _lacking(self) -> str:
        """Return what is missing, in words; "" if nothing is."""
        try:
            expect_disk_space(self._settings.store_path, self._settings.disk_reserve_mb)
        except DiskFull as error:
            return DISK % error.values
        return "" if self._has_memory() else MEMORY
