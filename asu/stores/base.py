"""What every store can do."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A published file: its name, its size in bytes and where it can be read."""

    name: str
    size: int
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How many seconds the directories of a store stay at least: builds that nobody knows any more, and workplaces."""

    builds: float
    workplaces: float


class Store(Protocol):
    """Keeps the files of finished builds, each build a flat directory named by its key.

    A build is published all at once or not at all, and never changed afterwards.
    """

    def has(self, key: str) -> bool:
        """Whether the build is published."""

    def find(self, key: str, name: str) -> StoredFile | None:
        """Return a published file; None for anything else, whatever the name holds."""

    def workplace(self, key: str) -> Path:
        """Return a new private directory in which the files of a build are gathered."""

    def publish(self, key: str, directory: Path) -> None:
        """Make a workplace the published build, in one step; raises StoreFailed."""

    def discard(self, directory: Path) -> None:
        """Remove a workplace that will not be published."""

    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        """Remove builds that have outlived their time and whose key is not known, and workplaces of the dead.

        Return the keys of the builds that were removed. What is known stays, however old it is.
        """


def is_older(directory: Path, seconds: float) -> bool:
    """Whether nothing was put into a directory for so long; one that is gone is not old."""
    try:
        return time.time() - directory.stat().st_mtime > seconds
    except FileNotFoundError:
        return False
