"""A build that fills the disk is ended, and told apart from one that was stopped for another reason."""

from __future__ import annotations

import threading

import pytest

from asu.errors import AsuError, ContainerFailed, ContainerTooLarge, StoreFailed
from asu.room import MIB
from asu.settings import Settings
from asu.worker.container import BuildContainer, DiskUse
from asu.worker.disk_watch import WatchedContainer
from asu.worker.memory_container import ROOMY, MemoryContainer, Script

SETTINGS = Settings(container_disk_mb=100, disk_reserve_mb=1000)
PATIENCE = 10.0  # Seconds until a test gives up waiting for a kill.


class Filling(MemoryContainer):
    """A container whose `make image` goes on until it is killed."""

    def __init__(self, disk: DiskUse) -> None:
        self._death = threading.Event()
        super().__init__(Script(disk=disk, before={"image": self._go_on}), key="0" * 64, attempt=1)

    def wait(self, seconds: float = PATIENCE) -> bool:
        """Wait for the kill; return whether it came."""
        return self._death.wait(seconds)

    def _go_on(self) -> None:
        self.wait()

    def kill(self) -> None:
        """See BuildContainer."""
        super().kill()
        self._death.set()


def make_image(container: BuildContainer) -> None:
    """Run what takes long."""
    container.run(["make", "image", "PROFILE=tplink_archer-c7-v5", "PACKAGES=", "EXTRA_IMAGE_NAME=x"], deadline=60)


@pytest.mark.parametrize(
    ("disk", "error", "words"),
    [
        (DiskUse(100 * MIB + 1, 2**40), ContainerTooLarge, "took more than 100 MiB of disk"),
        (DiskUse(0, 500 * MIB - 1), StoreFailed, "the disk of the build containers is nearly full"),
    ],
)
def test_a_build_that_fills_the_disk_is_ended(disk: DiskUse, error: type[AsuError], words: str) -> None:
    """Beyond its own limit, or with half of the reserve used up by whomever; the running command ends with the reason."""
    with WatchedContainer(Filling(disk), SETTINGS, pause=0.01) as container, pytest.raises(error, match=words):
        make_image(container)


@pytest.mark.parametrize("disk", [DiskUse(100 * MIB, 500 * MIB), ROOMY])
def test_a_build_within_its_limits_is_left_alone(disk: DiskUse) -> None:
    """The limits themselves may be reached."""
    filling = Filling(disk)
    with WatchedContainer(filling, SETTINGS, pause=0.01):
        assert not filling.wait(0.2)


def test_a_container_that_was_stopped_otherwise_says_so() -> None:
    """A lost lease ends a build too, and has nothing to do with its disk."""
    filling = Filling(ROOMY)
    with WatchedContainer(filling, SETTINGS) as container:
        container.kill()
        with pytest.raises(ContainerFailed, match="stopped from outside"):
            make_image(container)
