"""Where files are gathered before they are published: private local directories."""

import shutil
import tempfile
import time
from pathlib import Path

from asu.errors import StoreFailed

NAME = ".incoming"


class Workplaces:
    """The workplaces below one directory.

    If that is a local store's directory, they are on its file system and can be renamed into it.
    """

    def __init__(self, root: Path) -> None:
        self._directory = root / NAME

    def open(self) -> None:
        """Make the directory; raises StoreFailed."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreFailed(reason=f"the store is not writable ({error.strerror})") from error

    def are_there(self) -> bool:
        """Whether the directory exists; if not, the disk was taken away."""
        return self._directory.is_dir()

    def new(self, key: str) -> Path:
        """Return a new private directory; raises StoreFailed."""
        try:
            return Path(tempfile.mkdtemp(prefix=f"{key}.", dir=self._directory))
        except OSError as error:
            raise StoreFailed(reason=f"no workplace ({error.strerror})") from error

    def probe(self) -> None:
        """Write a file into a new one and remove both; raises StoreFailed."""
        place = self.new("probe")
        try:
            (place / "probe").write_bytes(b"asu")
        except OSError as error:
            raise StoreFailed(reason=f"the store is not writable ({error.strerror})") from error
        finally:
            self.discard(place)

    def discard(self, directory: Path) -> None:
        """Remove one, if it is still there."""
        shutil.rmtree(directory, ignore_errors=True)

    def expire(self, seconds: float) -> None:
        """Remove those that nobody has changed for so long."""
        for place in self._directory.iterdir() if self.are_there() else ():
            if is_older(place, seconds):
                self.discard(place)


def is_older(directory: Path, seconds: float) -> bool:
    """Whether nothing was put into a directory for so long; False if it is gone."""
    try:
        return time.time() - directory.stat().st_mtime > seconds
    except FileNotFoundError:
        return False
