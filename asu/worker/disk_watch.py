"""A container that is ended when it takes too much disk, or when the disk of all containers is nearly full.

podman can bound a container's layer on XFS with quotas of projects only; a limit of the size of
files bounds no sum, cannot be set through its API without overruling the machine's other limits,
and a file system in memory would take from the builds what they need most. So the worker looks: at
what podman counts of the layer from outside, holes in files included, and then at what the disk has
left, which also tells of files that were deleted while they are open. A build may go beyond its
limit for as long as the pause, by what the disk takes in that time.

A look that fails may be the build's own doing, which takes all processes that it may have, for
instance. So a container of which nothing can be told for a while is ended, too.
"""

import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from typing import Self

from asu.builds.capacity import MIB
from asu.errors import ContainerFailed, ContainerTooLarge, InfraError, StoreFailed
from asu.settings import Settings

from .container import BuildContainer, CommandResult

log = logging.getLogger(__name__)

# In a row. One may fail by chance, as under load; a service of podman's that restarts is back by
# the third.
FAILED_LOOKS = 3
PAUSE = 5.0  # Seconds; a look takes a tenth of one, and a third when there are 20,000 files.


class WatchedContainer:
    """See BuildContainer; watched from the beginning to the end of the `with`."""

    def __init__(
        self, container: BuildContainer, settings: Settings, *, pause: float = PAUSE
    ) -> None:
        self._container, self._settings, self._pause = container, settings, pause
        self._ended = threading.Event()
        self._verdict: InfraError | None = None

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def run(self, command: Sequence[str], *, deadline: int) -> CommandResult:
        """See BuildContainer; raises ContainerTooLarge and StoreFailed too."""
        try:
            return self._container.run(command, deadline=deadline)
        except ContainerFailed as error:
            if self._verdict is None:
                raise
            raise self._verdict.after(error.stdout, error.stderr) from error

    def put(self, path: str, content: bytes, mode: int) -> None:
        """See BuildContainer."""
        self._container.put(path, content, mode)

    def read_out(self, path: str, *, deadline: int) -> Iterator[bytes]:
        """See BuildContainer."""
        return self._container.read_out(path, deadline=deadline)

    def disk_taken(self) -> int:
        """See BuildContainer."""
        return self._container.disk_taken()

    def disk_free(self) -> int:
        """See BuildContainer."""
        return self._container.disk_free()

    def admit(self, feeds: Collection[str]) -> None:
        """See BuildContainer."""
        self._container.admit(feeds)

    def kill(self) -> None:
        """See BuildContainer."""
        self._container.kill()

    def remove(self) -> None:
        """See BuildContainer."""
        self._container.remove()

    def _watch(self) -> None:
        failed = 0
        while not self._ended.wait(self._pause):
            try:
                self._verdict = self._verdict or self._judge()
                failed = 0
            except Exception as error:  # noqa: BLE001  # Whatever it is, the container must not be left unwatched.
                failed += 1
                log.warning("look %d at a build's disk failed: %s", failed, type(error).__name__)
                if failed >= FAILED_LOOKS:
                    self._verdict = ContainerFailed(
                        reason="how much of the disk it takes could not be told, so it was stopped"
                    )
            if self._verdict:
                self._container.kill()  # Each time: podman may not have answered the last.

    def _judge(self) -> InfraError | None:
        limit, reserve = self._settings.container_disk_mb, self._settings.disk_reserve_mb
        # Judged first, since a build cannot keep podman from telling it.
        if self._container.disk_taken() > limit * MIB:
            return ContainerTooLarge(limit_mb=limit)
        # New builds are kept from the reserve; those that run may use half of it, and the rest is
        # for Redis and those who download.
        if self._container.disk_free() < reserve * MIB // 2:
            return StoreFailed(reason="the disk of the build containers is nearly full")
        return None
