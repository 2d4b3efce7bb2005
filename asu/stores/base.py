"""What every store can do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A published file: its name, its size in bytes and where it can be read."""

    name: str
    size: int
    path: Path


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
