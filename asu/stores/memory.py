"""The store's in-memory twin: what is published is a mapping, the files lie in a temporary directory that goes with it."""

import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path

from .base import Lifetimes, StoredFile, is_older
from .local import FILE_NAME, KEY


class MemoryStore:
    """A store that nothing outlives."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="asu-store-"))
        self._published: dict[str, Path] = {}
        weakref.finalize(self, shutil.rmtree, self._root, ignore_errors=True)

    def has(self, key: str) -> bool:
        """See Store."""
        return key in self._published

    def find(self, key: str, name: str) -> StoredFile | None:
        """See Store."""
        directory = self._published.get(key)
        if directory is None or FILE_NAME.fullmatch(name) is None:
            return None
        path = directory / name
        if path.is_symlink() or not path.is_file():
            return None
        return StoredFile(name, path.stat().st_size, path)

    def workplace(self, key: str) -> Path:
        """See Store."""
        return Path(tempfile.mkdtemp(prefix=f"{key}.", dir=self._root))

    def publish(self, key: str, directory: Path) -> None:
        """See Store."""
        if KEY.fullmatch(key) is None:
            raise ValueError("a build is published under its key")
        self._published[key] = directory

    def discard(self, directory: Path) -> None:
        """See Store."""
        if directory not in self._published.values():
            shutil.rmtree(directory, ignore_errors=True)

    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        """See Store."""
        for place in self._root.iterdir():
            if is_older(place, lifetimes.workplaces):
                self.discard(place)
        removed = [key for key, directory in self._published.items() if is_older(directory, lifetimes.builds) and not is_known(key)]
        for key in removed:
            self.discard(self._published.pop(key))
        return removed
