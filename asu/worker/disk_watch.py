"""Ends a container that takes too much disk, or when the disk of all containers is nearly full.

It looks first at what podman counts of the layer, holes in files included, then at what is free on
the disk, inodes included, which also shows files that were deleted while open. A look may fail
because of the build, for instance when it uses up all its processes.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from asu.disk_space import INODE_BYTES, MIB
from asu.errors import BuildDisrupted, ContainerFailed, ContainerTooLarge, DiskFull, InfraError
from asu.settings import Settings

from .container import BuildContainer

log = logging.getLogger(__name__)

# In a row. One may fail by chance under load; after a restart podman is back by the third.
FAILED_LOOKS = 3
PAUSE = 5.0  # Seconds; a look takes a tenth of one, and a third with 20,000 files.


@contextmanager
def disk_watched(
    container: BuildContainer, settings: Settings, *, pause: float = PAUSE
) -> Iterator[None]:
    """Watch a container during the `with`, with `pause` seconds between two looks.

    A ContainerFailed that follows from ending it becomes ContainerTooLarge, DiskFull or
    BuildDisrupted.
    """
    watch = _Watch(container, settings)
    ended = threading.Event()
    threading.Thread(target=watch.run, args=(ended, pause), daemon=True).start()
    try:
        yield
    except ContainerFailed as error:
        if watch.verdict is None:
            raise
        raise watch.verdict.after(error.stdout, error.stderr) from error
    finally:
        ended.set()


class _Watch:
    def __init__(self, container: BuildContainer, settings: Settings) -> None:
        self._container, self._settings = container, settings
        self.verdict: InfraError | None = None
        self._inodes_before = 0

    def run(self, ended: threading.Event, pause: float) -> None:
        failed = 0
        while not ended.wait(pause):
            try:
                self.verdict = self.verdict or self._judge()
                failed = 0
            except Exception as error:  # noqa: BLE001  # A container must never go unwatched.
                failed += 1
                log.warning("look %d at a build's disk failed: %s", failed, type(error).__name__)
                if failed >= FAILED_LOOKS:
                    self.verdict = BuildDisrupted(
                        reason="its use of the disk could not be measured, so it was stopped"
                    )
            if self.verdict:
                self._container.kill()  # Each time: podman may have missed the last.

    def _judge(self) -> InfraError | None:
        limit, reserve = self._settings.container_disk_mb, self._settings.disk_reserve_mb
        # Judged first, since a build cannot hide it from podman.
        if self._container.disk_taken() > limit * MIB:
            return ContainerTooLarge(limit_mb=limit)
        free = self._container.disk_free()
        # Empty files take inodes alone, which podman does not count. To count them takes long, so
        # that is only done when many have gone from the disk, which may be of another build.
        most = limit * MIB // INODE_BYTES
        inodes = free.inodes or 0
        self._inodes_before = max(self._inodes_before, inodes)
        if self._inodes_before - inodes > most and self._container.count_files() > most:
            return ContainerTooLarge(limit_mb=limit)
        # New builds are kept from the reserve. Running builds may use half of it; the rest is for
        # Redis and downloads.
        if free.usable < reserve * MIB // 2:
            return DiskFull(space="the disk of the build containers is nearly full")
        return None
