"""Directories on a disk: those of builds, and those where files lie before they are published."""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from asu.disk_space import disk_error

from .manifest import ACCOUNT, FILE_NAME, MANIFEST, Manifest, is_of_another_release, read_manifest


def manifest_in(directory: Path) -> Manifest | None:
    """Return the manifest of a build; None where there is none to read."""
    try:
        document = _document_in(directory)
    except OSError:
        return None
    return read_manifest(document, directory.name) if document is not None else None


def is_damaged(directory: Path) -> bool:
    """Whether less of a build is there than was published, or its manifest cannot be understood.

    Raises OSError where the disk does not hand out the manifest, so that it may be whole.
    """
    document = _document_in(directory)
    if document is None:  # A power failure, or an earlier release, which wrote neither file.
        return (directory / ACCOUNT).exists()
    manifest = read_manifest(document, directory.name)
    return not (is_whole(directory, manifest) if manifest else is_of_another_release(document))


def is_whole(directory: Path, manifest: Manifest) -> bool:
    """Whether each file of a build is there and has its size."""
    return all(_has_size(f"{directory}/{file.name}", file.size) for file in manifest.files)


def bytes_in(directory: Path) -> int:
    """Return the size of the files that clients may download; 0 if the build was just removed."""
    try:
        return sum(
            path.stat().st_size for path in directory.iterdir() if FILE_NAME.fullmatch(path.name)
        )
    except FileNotFoundError:
        return 0


def remove_in_place(directory: Path, may_go: Callable[[Path], bool]) -> bool:
    """Remove a build where it lies, if it may go; return whether it is gone. Raises StoreFailed.

    The manifest goes last, so what a crash leaves is known to be damaged. Only what was opened
    before the question is removed, so a build that is put in its place meanwhile stays.
    """
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if not may_go(directory):
                return False
            # A path cannot list a directory that was opened before.
            for name in sorted(os.listdir(opened), key=MANIFEST.__eq__):  # noqa: PTH208
                os.unlink(name, dir_fd=opened)
        finally:
            os.close(opened)
    except FileNotFoundError:  # Another worker was faster.
        return False
    except OSError as error:
        raise disk_error(error, "a build was not removed") from error
    with contextlib.suppress(OSError):  # What stays is empty, or another build.
        directory.rmdir()
    return True


def sync_build(directory: Path) -> None:
    """Write the regular files of a directory and their names to the disk; raises OSError."""
    for path in directory.iterdir():
        if path.is_file() and not path.is_symlink():
            sync(path)
    sync(directory)


def sync(path: Path) -> None:
    """Write a file, or the names in a directory, to the disk itself; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _has_size(path: str, size: int) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def _document_in(directory: Path) -> bytes | None:
    try:
        return (directory / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


class Workplaces:
    """The workplaces of one store, on the file system of a local one: they are renamed into it."""

    def __init__(self, root: Path) -> None:
        self._directory = root / ".incoming"

    def open(self) -> None:
        """Make the directory; raises StoreFailed."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, "the store is not writable") from error

    def are_there(self) -> bool:
        """Whether the directory exists; if not, the disk was taken away."""
        return self._directory.is_dir()

    def new(self, key: str) -> Path:
        """Return a new private directory; raises StoreFailed."""
        try:
            return Path(tempfile.mkdtemp(prefix=f"{key}.", dir=self._directory))
        except OSError as error:
            raise disk_error(error, "no workplace") from error

    def probe(self) -> None:
        """Write a file into a new one and remove both; raises StoreFailed."""
        place = self.new("probe")
        try:
            (place / "probe").write_bytes(b"asu")
        except OSError as error:
            raise disk_error(error, "the store is not writable") from error
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def expire(self, seconds: float) -> None:
        """Remove those that nobody has changed for so long."""
        for place in self._directory.iterdir() if self.are_there() else ():
            if is_older(place, seconds):
                shutil.rmtree(place, ignore_errors=True)


def is_older(directory: Path, seconds: float) -> bool:
    """Whether nothing was put into a directory for so long; False if it is gone."""
    try:
        return time.time() - directory.stat().st_mtime > seconds
    except FileNotFoundError:
        return False
