"""The store on a local disk: one directory per build, published by rename, served by the gateway or by the API."""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from asu.errors import StoreFailed

from .base import Lifetimes, StoredFile, is_older

KEY = re.compile(r"[0-9a-f]{64}")
# Names as the ImageBuilder makes them; a leading dot would hide a file, a slash leave the directory.
FILE_NAME = re.compile(r"[A-Za-z0-9_+%~-][A-Za-z0-9_.+%~-]{0,254}")
WORKPLACES = ".incoming"


class LocalStore:
    """A store in a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self) -> None:
        """Make the directories; raises StoreFailed where that is not possible."""
        try:
            (self._root / WORKPLACES).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreFailed(reason=f"the store is not writable ({error.strerror})") from error

    def has(self, key: str) -> bool:
        """See Store."""
        return KEY.fullmatch(key) is not None and (self._root / key).is_dir()

    def find(self, key: str, name: str) -> StoredFile | None:
        """See Store."""
        if KEY.fullmatch(key) is None or FILE_NAME.fullmatch(name) is None:
            return None
        path = self._root / key / name
        if path.is_symlink() or not path.is_file():
            return None
        return StoredFile(name, path.stat().st_size, path)

    def workplace(self, key: str) -> Path:
        """See Store."""
        try:
            return Path(tempfile.mkdtemp(prefix=f"{key}.", dir=self._root / WORKPLACES))
        except OSError as error:
            raise StoreFailed(reason=f"no workplace ({error.strerror})") from error

    def publish(self, key: str, directory: Path) -> None:
        """See Store."""
        try:
            # The gateway reads the files under another user's name.
            directory.chmod(0o755)
            for path in directory.iterdir():
                path.chmod(0o644)
            try:
                os.rename(directory, self._root / key)  # noqa: PTH104  # os.rename never replaces a directory that holds files.
            except FileExistsError:
                self._publish_again(key, directory)
            except OSError:
                if not self.has(key):
                    raise
                self._publish_again(key, directory)
        except OSError as error:
            raise StoreFailed(reason=f"not published ({error.strerror})") from error

    def discard(self, directory: Path) -> None:
        """See Store."""
        shutil.rmtree(directory, ignore_errors=True)

    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        """See Store."""
        for place in (self._root / WORKPLACES).iterdir():
            if is_older(place, lifetimes.workplaces):
                self.discard(place)
        removed = []
        for directory in self._root.iterdir():
            key = directory.name
            if KEY.fullmatch(key) and is_older(directory, lifetimes.builds) and not is_known(key) and self._remove(key, lifetimes):
                removed.append(key)
        return removed

    def _remove(self, key: str, lifetimes: Lifetimes) -> bool:
        """Take a build out of sight in one step, then remove it; one that was published anew in between goes back."""
        place = self.workplace(key)
        with contextlib.suppress(OSError):  # Another worker may have been faster.
            os.rename(self._root / key, place / key)  # noqa: PTH104
            if not is_older(place / key, lifetimes.builds):
                os.rename(place / key, self._root / key)  # noqa: PTH104
        is_removed = (place / key).is_dir()
        self.discard(place)
        return is_removed

    def _publish_again(self, key: str, directory: Path) -> None:
        """Put a later build in the place of an earlier one whose record is gone: the old files go first."""
        old = self.workplace(key)
        os.rename(self._root / key, old / "old")  # noqa: PTH104
        os.rename(directory, self._root / key)  # noqa: PTH104
        shutil.rmtree(old, ignore_errors=True)
