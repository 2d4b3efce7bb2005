"""A build that fills the disk is ended, and told apart from one that was stopped for another
reason.
"""

from __future__ import annotations

import threading

import pytest

from asu.disk_space import INODE_BYTES, MIB, FreeSpace
from asu.errors import AsuError, ContainerFailed, ContainerTooLarge, DiskFull
from asu.settings import Settings
from asu.worker.container import BuildContainer
from asu.worker.disk_watch import disk_watched
from tests.twins.memory_container import ROOMY, MemoryContainer, Script

UNTOLD = ContainerFailed(reason="nobody knows")

SETTINGS = Settings(container_disk_mb=100, disk_reserve_mb=1000)
PATIENCE = 10.0  # Seconds until a test gives up waiting for a kill.


class Filling(MemoryContainer):
    """A container whose `make image` goes on until it is killed."""

    def __init__(self, taken: int | AsuError = 0, free: int | AsuError = ROOMY) -> None:
        self._death = threading.Event()
        super().__init__(
            Script(disk_taken=taken, disk_free=free, before={"image": self._go_on}),
            key="0" * 64,
            attempt=1,
        )

    def wait(self, seconds: float = PATIENCE) -> bool:
        """Wait for the kill; return whether it came."""
        return self._death.wait(seconds)

    def _go_on(self) -> None:
        self.wait()

    def kill(self) -> None:
        """See BuildContainer."""
        super().kill()
        self._death.set()


class Shy(Filling):
    """One of whose disk two looks of three fail."""

    looks = 0

    def disk_free(self) -> FreeSpace:
        """See BuildContainer."""
        self.looks += 1
        if self.looks % 3:
            raise UNTOLD
        return super().disk_free()


class Immortal(Filling):
    """One that podman does not kill when it is asked for the first time."""

    kills = 0

    def kill(self) -> None:
        """See BuildContainer."""
        self.kills += 1
        if self.kills > 1:
            super().kill()


def make_image(container: BuildContainer) -> None:
    """Run what takes long."""
    container.run(
        ["make", "image", "PROFILE=tplink_archer-c7-v5", "PACKAGES=", "EXTRA_IMAGE_NAME=x"],
        deadline=60,
    )


@pytest.mark.parametrize(
    ("taken", "free", "error", "words"),
    [
        (100 * MIB + 1, ROOMY, ContainerTooLarge, "took more than 100 MiB of disk"),
        (0, 500 * MIB - 1, DiskFull, "the disk of the build containers is nearly full"),
        (100 * MIB + 1, UNTOLD, ContainerTooLarge, "took more than 100 MiB of disk"),
        (0, UNTOLD, ContainerFailed, "its use of the disk could not be measured"),
        (UNTOLD, ROOMY, ContainerFailed, "its use of the disk could not be measured"),
    ],
)
def test_a_build_that_fills_the_disk_is_ended(
    taken: int | AsuError, free: int | AsuError, error: type[AsuError], words: str
) -> None:
    """Beyond its limit, with half of the reserve used up by whomever, or if nobody can tell; the
    running command ends with the reason.
    """
    container = Filling(taken, free)
    with pytest.raises(error, match=words), disk_watched(container, SETTINGS, pause=0.01):
        make_image(container)


@pytest.mark.parametrize(("taken", "free"), [(100 * MIB, 500 * MIB), (0, ROOMY)])
def test_a_build_within_its_limits_is_left_alone(taken: int, free: int) -> None:
    """The limits themselves may be reached."""
    filling = Filling(taken, free)
    with disk_watched(filling, SETTINGS, pause=0.01):
        assert not filling.wait(0.2)


class Crowding(Filling):
    """One that holds `count` files, while the disk loses `lost` inodes."""

    def __init__(self, count: int, lost: int) -> None:
        super().__init__(taken=1)
        self._count, self._lost, self._looks = count, lost, 0

    def disk_free(self) -> FreeSpace:
        """See BuildContainer."""
        self._looks += 1
        return FreeSpace(ROOMY, MANY if self._looks == 1 else MANY - self._lost)

    def count_files(self) -> int:
        """See BuildContainer."""
        return self._count


MOST = 100 * MIB // INODE_BYTES  # Files.
MANY = ROOMY // INODE_BYTES


def test_a_build_that_takes_all_inodes_is_ended() -> None:
    """Empty files take no bytes, and a disk without inodes is as full."""
    with (
        pytest.raises(ContainerTooLarge, match="as many files"),
        disk_watched(crowding := Crowding(MOST + 1, MOST + 1), SETTINGS, pause=0.01),
    ):
        make_image(crowding)


@pytest.mark.parametrize(("count", "lost"), [(MOST, MOST + 1), (MOST + 1, MOST)])
def test_the_files_of_others_end_no_build(count: int, lost: int) -> None:
    """Another build may take the disk, and an ImageBuilder brings files."""
    crowding = Crowding(count, lost)
    with disk_watched(crowding, SETTINGS, pause=0.01):
        assert not crowding.wait(0.2)


def test_a_container_that_was_stopped_otherwise_says_so() -> None:
    """A lost lease ends a build too, and has nothing to do with its disk."""
    filling = Filling()
    filling.kill()
    with (
        pytest.raises(ContainerFailed, match="stopped from outside"),
        disk_watched(filling, SETTINGS),
    ):
        make_image(filling)


def test_a_look_that_fails_by_chance_ends_nothing() -> None:
    """Podman may be busy for a moment; only several in a row say that nobody watches."""
    filling = Shy()
    with disk_watched(filling, SETTINGS, pause=0.001):
        assert not filling.wait(0.2)
    assert filling.looks > 6


def test_a_kill_that_went_astray_is_sent_again() -> None:
    """A build that must end does not go on because podman's service restarted just then."""
    container = Immortal(taken=100 * MIB + 1)
    with pytest.raises(ContainerTooLarge), disk_watched(container, SETTINGS, pause=0.01):
        make_image(container)
