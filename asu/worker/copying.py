"""Copy the images out of a build container: hostile input until it lies on our disk."""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, cast

from asu.disk_space import FULL, MIB, disk_error, expect_disk_space
from asu.errors import OutputTooLarge, StoreFailed
from asu.stores.manifest import FILE_NAME

MAX_FILES = 256  # The largest real target leaves about 40 files per device.
# Of all kinds. A real build leaves only files; tarfile remembers each member while it reads.
MAX_MEMBERS = 4096
COPY_CHUNK = MIB


class _PieceReader:
    """A file-like reader over pieces, as tarfile wants it; each byte is copied about once."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._rest, self._at = iter(pieces), b"", 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""
        while len(self._rest) - self._at < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest, self._at = self._rest[self._at :] + piece, 0
        found = self._rest[self._at : self._at + size]
        self._at += len(found)
        return found


def copy_out(
    pieces: Iterator[bytes], directory: Path, *, max_bytes: int, reserve_mb: int = 0
) -> dict[str, str]:
    """Write the regular files of a tar stream into `directory`; return name → SHA-256.

    Names must be plain and unique, count and size are bounded; links, devices, sparse files and
    directories are skipped. They count as well: a file with holes costs a build nothing, and us its
    whole size to read. Writing stops where fewer than `reserve_mb` MiB would be free. Raises
    OutputTooLarge, StoreFailed, DiskFull.
    """
    hashes: dict[str, str] = {}
    stream = cast("IO[bytes]", _PieceReader(pieces))
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=COPY_CHUNK) as archive:
            for name, member in _wanted(archive, max_bytes):
                expect_disk_space(directory, reserve_mb, member.size)
                source = cast("IO[bytes]", archive.extractfile(member))
                hashes[name] = _write(source, directory / name, reserve_mb)
    except (tarfile.TarError, OSError, ValueError) as error:
        # tarfile raises ValueError for some broken headers.
        if isinstance(error, OSError) and error.errno in FULL:
            raise disk_error(error, "the images could not be copied") from error
        reason = f"the images could not be copied ({type(error).__name__})"
        raise StoreFailed(reason=reason) from error
    return hashes


def _wanted(archive: tarfile.TarFile, max_bytes: int) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Yield the plain files, each name once; raises as `_bounded`."""
    seen: set[str] = set()
    for member in _bounded(archive, max_bytes):
        name = member.name.rpartition("/")[2]
        if _is_plain(member) and FILE_NAME.fullmatch(name) and name not in seen:
            if len(seen) >= MAX_FILES:
                raise OutputTooLarge(limit=f"{MAX_FILES} files")
            seen.add(name)
            yield name, member


def _bounded(archive: tarfile.TarFile, max_bytes: int) -> Iterator[tarfile.TarInfo]:
    """Yield the members; raises OutputTooLarge, and ValueError for a negative size."""
    left = max_bytes
    for number, member in enumerate(archive):
        if member.size < 0:
            raise ValueError(member.size)
        if number >= MAX_MEMBERS:
            raise OutputTooLarge(limit=f"{MAX_MEMBERS} files")
        left -= member.size
        if left < 0:
            raise OutputTooLarge(limit=f"{max_bytes // MIB} MiB")
        yield member


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether a member is a regular file without holes at the top of the output directory."""
    return (
        member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        and not member.issparse()
        and member.name.count("/") <= 1
    )


def _write(source: IO[bytes], path: Path, reserve_mb: int) -> str:
    digest = hashlib.sha256()
    with path.open("xb") as target:
        while piece := source.read(COPY_CHUNK):
            # Others write at the same time; asking takes microseconds.
            expect_disk_space(path.parent, reserve_mb, len(piece))
            digest.update(piece)
            target.write(piece)
    return digest.hexdigest()
