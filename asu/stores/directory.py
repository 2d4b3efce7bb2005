"""The directory of one build on a disk: what its manifest says of it, what is really there, and how it gets onto the disk itself."""

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from asu.errors import StoreFailed

from .manifest import MANIFEST, Manifest, is_of_another_release, read_manifest
from .store import ACCOUNT, FILE_NAME


def manifest_in(directory: Path) -> Manifest | None:
    """Return the manifest of a build; None where there is none, or none that can be read."""
    try:
        document = _document_in(directory)
    except OSError:
        return None
    return read_manifest(document, directory.name) if document is not None else None


def is_damaged(directory: Path) -> bool:
    """Whether less of a build is there than was published: a file is gone or has another size, or the manifest tells nothing any more.

    An empty manifest, or an account without one, is what a power failure left of a publication that
    was not on the disk yet. A build without either was published by an earlier release, one with a
    manifest of another version by a later one; neither is damaged. Raises OSError where the
    manifest is there and the disk does not hand it out, so that nobody can say.
    """
    document = _document_in(directory)
    if document is None:
        return (directory / ACCOUNT).exists()
    manifest = read_manifest(document, directory.name)
    if manifest is None:
        return not is_of_another_release(document)
    return not all(has_size(path, size) for path, size in sizes_in(directory, manifest))


def sizes_in(directory: Path, manifest: Manifest) -> tuple[tuple[str, int], ...]:
    """Return the paths that the files of a build have in a directory, and the sizes that they should have."""
    return tuple((f"{directory}/{file.name}", file.size) for file in manifest.files)


def has_size(path: str, size: int) -> bool:
    """Whether there is a regular file of this size."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def bytes_in(directory: Path) -> int:
    """Return the size of what clients may download; 0 for a build that another worker has just removed."""
    try:
        return sum(
            path.stat().st_size for path in directory.iterdir() if FILE_NAME.fullmatch(path.name)
        )
    except FileNotFoundError:
        return 0


def remove_in_place(directory: Path, may_go: Callable[[Path], bool]) -> bool:
    """Remove a build where it lies, if it may go; return whether it is gone. It needs no room, but for a moment others see a damaged build.

    The manifest goes last: whatever is left after a crash is known to be damaged. What goes is what
    was opened before the question, so a build that is put in its place meanwhile stays. Raises
    StoreFailed.
    """
    try:
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if not may_go(directory):
                return False
            for name in sorted(os.listdir(opened), key=MANIFEST.__eq__):  # noqa: PTH208  # A path cannot look through what was opened.
                os.unlink(name, dir_fd=opened)
        finally:
            os.close(opened)
    except FileNotFoundError:  # Another worker was faster.
        return False
    except OSError as error:
        raise StoreFailed(reason=f"a build was not removed ({error.strerror})") from error
    with contextlib.suppress(OSError):  # What stays is empty, or another build.
        directory.rmdir()
    return True


def sync_build(directory: Path) -> None:
    """Return when the regular files of a directory, and their names in it, are on the disk itself; raises OSError."""
    for path in directory.iterdir():
        if path.is_file() and not path.is_symlink():
            sync(path)
    sync(directory)


def sync(path: Path) -> None:
    """Return when what was written to a file, or the names in a directory, are on the disk itself; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _document_in(directory: Path) -> bytes | None:
    """Return what stands in the manifest's file, None if there is no such file; raises OSError."""
    try:
        return (directory / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
