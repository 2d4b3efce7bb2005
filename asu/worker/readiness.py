"""Whether a worker may begin another build.

A build that is begun on a disk below its reserve fails, and after a few tries for good, although
all that it lacks is somebody who tidies. So none is begun there: those that were accepted wait in
line, with their tries untouched, for room here or for another worker.
"""

import logging

from asu.builds.capacity import expect_room
from asu.errors import DiskFull
from asu.settings import Settings

log = logging.getLogger(__name__)

SHORT = "no build is begun: %(free)d MiB are free, %(reserve)d MiB are the reserve (DISK_RESERVE_MB); accepted builds wait until there is room"


class RoomToBegin:
    """Looks at the disk where this worker gathers images, and tells the log when its answer changes."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._had_room = settings, True

    def __call__(self) -> bool:
        """Return whether the reserve is free; True, too, where the disk cannot be looked at, since what is wrong with it is the build's to tell."""
        try:
            expect_room(self._settings.store_path, self._settings.disk_reserve_mb)
        except DiskFull as error:
            if self._had_room:
                log.warning(SHORT, error.values)
            self._had_room = False
        else:
            if not self._had_room:
                log.info("there is room again, builds are begun")
            self._had_room = True
        return self._had_room
