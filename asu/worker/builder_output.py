"""Reads what a successful ImageBuilder prints and leaves: manifests, images and what it says about them."""

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from asu.errors import BuildFailed, StoreFailed, WrongPackageVersions
from asu.stores.base import FILE_NAME

MAX_FILES = 256  # The largest real target leaves about 40 files per device.
COPY_CHUNK = 1024 * 1024


def parse_manifest(output: str) -> dict[str, str]:
    """Read `make manifest`: name and version per line, with either separator that ImageBuilders have used."""
    manifest = {}
    for line in output.splitlines():
        match line.split():
            case [name, "-", version] | [name, version]:
                manifest[name] = version
    return manifest


def check_versions(wanted: Mapping[str, str], manifest: Mapping[str, str]) -> None:
    """Compare the versions that a client insists on; raises WrongPackageVersions with all that differ."""
    wrong = [
        f"{name} is {manifest[name]}, not {version}" if name in manifest else f"{name} is not in the image"
        for name, version in sorted(wanted.items())
        if manifest.get(name) != version
    ]
    if wrong:
        raise WrongPackageVersions(reason="; ".join(wrong))


class _PieceReader:
    """A file-like reader over pieces, as tarfile wants it."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces, self._rest = iter(pieces), b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""
        gathered = bytearray(self._rest)
        while len(gathered) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            gathered += piece
        self._rest = bytes(gathered[size:])
        return bytes(gathered[:size])


def copy_out(pieces: Iterator[bytes], directory: Path, *, max_bytes: int) -> dict[str, str]:
    """Write the regular files of a tar stream into `directory`; return name → SHA-256.

    Names must be plain, no file may come twice, count and size are bounded; links, devices and directories are passed over.
    Raises StoreFailed.
    """
    hashes: dict[str, str] = {}
    left = max_bytes
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", _PieceReader(pieces)), mode="r|") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if not member.isreg() or member.name.count("/") > 1 or FILE_NAME.fullmatch(name) is None or name in hashes:
                    continue
                left -= member.size
                if left < 0 or len(hashes) >= MAX_FILES:
                    raise StoreFailed(reason="the build left more than the store takes")
                source = archive.extractfile(member)
                hashes[name] = _write(source, directory / name) if source else ""
    except (tarfile.TarError, OSError) as error:
        raise StoreFailed(reason=f"the images could not be copied ({type(error).__name__})") from error
    return hashes


def _write(source: IO[bytes], path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("xb") as target:
        while piece := source.read(COPY_CHUNK):
            digest.update(piece)
            target.write(piece)
    return digest.hexdigest()


def read_profiles(directory: Path, hashes: Mapping[str, str]) -> dict[str, Any]:
    """Read the profiles.json of a build and check its images against what was copied; raises BuildFailed, StoreFailed."""
    if "profiles.json" not in hashes:
        raise BuildFailed(reason="it made no image and gave no reason")
    try:
        document: dict[str, Any] = json.loads((directory / "profiles.json").read_text(encoding="utf-8"))
        images = {image["name"]: image["sha256"] for profile in document["profiles"].values() for image in profile["images"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildFailed(reason="its profiles.json cannot be read") from error
    if not images:
        raise BuildFailed(reason="it made no image and gave no reason")
    for name, digest in images.items():
        if hashes.get(name) != digest:
            raise StoreFailed(reason=f"{name} is not what the ImageBuilder made")
    return document
