"""Reads what a successful ImageBuilder leaves: images, and what it says about them."""

import errno
import hashlib
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from asu.builds.capacity import MIB, expect_room, free_bytes
from asu.errors import BuildFailed, DiskFull, OutputTooLarge, StoreFailed
from asu.provenance.envelope import PROVENANCE_FILE
from asu.stores.manifest import FILE_NAME

MAX_FILES = 256  # The largest real target leaves about 40 files per device.
# Of all kinds; a real build leaves nothing but files, and each is remembered while the stream is
# read.
MAX_MEMBERS = 4096
# Bytes. A genuine profiles.json of one device has some KiB, but a document of this size may still
# become 16 times as many of memory.
MAX_PROFILES = 256 * 1024
# Bytes of sha256sums: MAX_FILES lines with names of the greatest length have a third of it.
MAX_SUMS = 256 * 1024
COPY_CHUNK = 1024 * 1024
# These are rewritten after they were hashed, so none of them can be an image with the hash that is
# told of it.
OUR_FILES = ("profiles.json", "sha256sums", PROVENANCE_FILE)
# What a write says when the disk, or the share of this user, is full.
FULL = (errno.ENOSPC, errno.EDQUOT)
SUM = re.compile(r"[0-9a-f]{64} [ *](?P<name>.+)")  # A line of sha256sums.


class _PieceReader:
    """A file-like reader over pieces, as tarfile wants it; however large they are, each byte is copied about once."""

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

    Names must be plain, no file may come twice, count and size are bounded; links, devices, sparse
    files and directories are passed over. What is passed over counts as well, since a file with
    holes costs a build nothing and us its whole size to read. Nothing is written that would leave
    fewer than `reserve_mb` MiB free. Raises OutputTooLarge, StoreFailed, DiskFull.
    """
    hashes: dict[str, str] = {}
    left = max_bytes
    try:
        with tarfile.open(
            fileobj=cast("IO[bytes]", _PieceReader(pieces)), mode="r|", bufsize=COPY_CHUNK
        ) as archive:
            for number, member in enumerate(archive):
                left = _left_after(member, number, left, max_bytes)
                name = member.name.rpartition("/")[2]
                if not _is_plain(member) or FILE_NAME.fullmatch(name) is None or name in hashes:
                    continue
                if len(hashes) >= MAX_FILES:
                    raise OutputTooLarge(limit=f"{MAX_FILES} files")
                expect_room(directory, reserve_mb, member.size)
                source = archive.extractfile(member)
                hashes[name] = _write(source, directory / name, reserve_mb) if source else ""
    except (tarfile.TarError, OSError, ValueError) as error:
        # tarfile tells some broken headers by ValueError.
        if isinstance(error, OSError) and error.errno in FULL:
            raise DiskFull(free=(free_bytes(directory) or 0) // MIB, reserve=reserve_mb) from error
        raise StoreFailed(
            reason=f"the images could not be copied ({type(error).__name__})"
        ) from error
    return hashes


def _left_after(member: tarfile.TarInfo, number: int, left: int, max_bytes: int) -> int:
    """Return how many more bytes may come after a member; raises OutputTooLarge, and ValueError for a size that would make room."""
    if member.size < 0:
        raise ValueError(member.size)
    if number >= MAX_MEMBERS:
        raise OutputTooLarge(limit=f"{MAX_MEMBERS} files")
    if member.size > left:
        raise OutputTooLarge(limit=f"{max_bytes // MIB} MiB")
    return left - member.size


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether a member is a regular file at the top of the output directory, whole and without holes."""
    return (
        member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        and not member.issparse()
        and member.name.count("/") <= 1
    )


def _write(source: IO[bytes], path: Path, reserve_mb: int) -> str:
    digest = hashlib.sha256()
    with path.open("xb") as target:
        while piece := source.read(COPY_CHUNK):
            # Others write meanwhile; asking takes microseconds.
            expect_room(path.parent, reserve_mb, len(piece))
            digest.update(piece)
            target.write(piece)
    return digest.hexdigest()


def read_profiles(directory: Path, hashes: Mapping[str, str]) -> dict[str, Any]:
    """Read the profiles.json of a build and check its images against what was copied; raises BuildFailed, StoreFailed."""
    if "profiles.json" not in hashes:
        raise BuildFailed(reason="it made no image and gave no reason")
    path = directory / "profiles.json"
    _expect_length(path, MAX_PROFILES)
    try:
        document: dict[str, Any] = json.loads(
            path.read_text(encoding="utf-8"), parse_constant=_refused, parse_float=_finite
        )
        # A list: were it a mapping, an image that is named twice would be checked once only.
        images = [
            (image["name"], image["sha256"])
            for profile in document["profiles"].values()
            for image in profile["images"]
        ]
        kinds = [
            image.get("type", "")
            for profile in document["profiles"].values()
            for image in profile["images"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BuildFailed(reason="its profiles.json cannot be read") from error
    if not images:
        raise BuildFailed(reason="it made no image and gave no reason")
    if not all(isinstance(value, str) for value in chain(*images, kinds)) or any(
        name in OUR_FILES for name, _ in images
    ):
        raise BuildFailed(reason="its profiles.json cannot be read")
    for name, digest in images:
        if hashes.get(name) != digest:
            raise StoreFailed(reason=f"{name} is not what the ImageBuilder made")
    return document


def _refused(word: str) -> NoReturn:
    """Refuse what Python reads and writes as a number although JSON has no such thing."""
    raise ValueError(word)


def _finite(text: str) -> float:
    """Read a number with a point or an exponent; 1e999 would be read as infinite."""
    number = float(text)
    return number if isfinite(number) else _refused(text)


def _expect_length(path: Path, most: int) -> None:
    if path.stat().st_size > most:
        raise BuildFailed(reason=f"its {path.name} is longer than any genuine one")


def rewrite_lists(directory: Path, document: Mapping[str, Any], changed: Mapping[str, str]) -> None:
    """Write profiles.json as it is now, and the new SHA-256 of it and of `changed` files into sha256sums, where there is one.

    Raises BuildFailed where sha256sums is too long, OSError, and ValueError where it is no text.
    """
    # One line, as the ImageBuilder writes it.
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    (directory / "profiles.json").write_bytes(text)
    sums = directory / "sha256sums"
    if sums.exists():
        _expect_length(sums, MAX_SUMS)
        hashes = {**changed, "profiles.json": hashlib.sha256(text).hexdigest()}
        lines = sums.read_text(encoding="utf-8").splitlines()
        sums.write_text(
            "".join(f"{_with_hash(line, hashes)}\n" for line in lines), encoding="utf-8"
        )


def _with_hash(line: str, hashes: Mapping[str, str]) -> str:
    found = SUM.fullmatch(line)
    return hashes[found["name"]] + line[64:] if found and found["name"] in hashes else line


def offered(images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the images of a profile that a device can start from; raises BuildFailed when there are none.

    The ImageBuilders of 25.12.0 to 25.12.4 take the archive of the root file system for one, and
    make disk images of it that start nothing. They cannot be left unmade without the archive as
    such, which is of use: one switch makes both.
    """
    bootable = [image for image in images if image.get("filesystem") != "targz"]
    if not bootable:
        raise BuildFailed(reason="it made no image and gave no reason")
    return bootable
