"""Reads what the ImageBuilder prints and leaves: manifests, failures, images.

A failed download ends in the same "Cannot install package" lines as a wrong name, so signs of a failed download are looked
for first: they are never the user's fault. That stderr is not empty means nothing; a successful build fills it.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from asu.errors import AsuError, BuildFailed, ContainerFailed, DownloadFailed, ImageTooBig, ImpossibleSelection, StoreFailed, WrongPackageVersions
from asu.stores.local import FILE_NAME

from .container import CommandResult

MAX_FILES = 256  # The largest real target leaves about 40 files per device.
COPY_CHUNK = 1024 * 1024
TERMINATED = 137  # 128 + SIGKILL, as a shell tells it.

_DOWNLOAD_SIGNS = (
    r"Failed to download (?!the package list)(?P<what>\S+)",
    r"Failed to download the package list from (?P<what>\S+)",
    r"wget returned [1-9]",
    r"wget: exited with error",
    r"Signature check failed",
    r"UNTRUSTED signature",
    r"Checksum or size mismatch for package (?P<what>\S+?)\.",
    r"(?P<what>\S+): ADB block error",
    r"(?P<what>\S+): package mentioned in index not found",
)
_APK_VERSION = re.compile(r"-[0-9][^-]*(?:-r[0-9]+)?$")


def parse_manifest(output: str) -> dict[str, str]:
    """Read `make manifest`: name and version per line, with either separator that ImageBuilders have used."""
    manifest = {}
    for line in output.splitlines():
        name, separator, version = line.partition(" - ")
        if not separator:
            name, _, version = line.partition(" ")
        if name and version and " " not in name:
            manifest[name] = version.strip()
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


def failure(result: CommandResult) -> AsuError:
    """Return the error that a failed command means."""
    text = f"{result.stdout}\n{result.stderr}"
    if "No space left on device" in text:
        return StoreFailed(reason="the disk of the build container is full")
    for sign in _DOWNLOAD_SIGNS:
        match = re.search(sign, text)
        if match:
            what = match.groupdict().get("what")
            return DownloadFailed(reason=what.rstrip(",") if what else "the package server does not answer as it should")
    found = _package_errors(text)
    if found:
        return ImpossibleSelection(reason=", ".join(found))
    return _build_error(text) or _crash(result) or BuildFailed(reason=_last_words(result.stderr))


def _package_errors(text: str) -> list[str]:
    """Return each error of the package manager as words; opkg's and apk's forms differ, neither occurs in the other's output."""
    missing = re.findall(r"cannot find dependency ([^ \n]+(?: \([^)]*\))?) for", text)
    missing += re.findall(r"^ +([^ \n]+) \(no such package\):", text, re.MULTILINE)
    conflicts = re.findall(r"packages conflict with ([^ \n:]+):\n \* check_conflicts_for: \t(\S+)", text)
    clashes = re.findall(r"Package (\S+) wants to install file (\S+)\n\tBut that file is already provided by package  \* (\S+)", text)
    overwrites = re.findall(r"ERROR: (\S+): trying to overwrite (\S+) owned by (\S+)\.$", text, re.MULTILINE)
    errors = []
    uninstallable = dict.fromkeys(re.findall(r"Cannot install package ([^ \n]+)\.$", text, re.MULTILINE))
    explained = {name for pair in conflicts for name in pair} | {clash[0] for clash in clashes}
    explained |= set(re.findall(r"cannot find dependency [^\n]* for ([^ \n]+)", text))
    missing += [name for name in uninstallable if name not in explained]
    if missing:
        errors.append(f"missing ({', '.join(dict.fromkeys(missing))})")
    apk_conflicts = re.findall(r"^ +(\S+):\n +(?:breaks|conflicts): (\S+?)\[", text, re.MULTILINE)
    pairs = [f"{one} with {other}" for one, other in conflicts] + [f"{_bare(one)} with {_bare(other)}" for one, other in apk_conflicts]
    if pairs:
        errors.append(f"conflicts ({', '.join(dict.fromkeys(pairs))})")
    files = [f"{_inside(path)} of {one} and {other}" for one, path, other in clashes]
    files += [f"/{path} of {_bare(one)} and {_bare(other)}" for one, path, other in overwrites]
    if files:
        errors.append(f"same file in two packages ({', '.join(dict.fromkeys(files))})")
    return errors


def _bare(package: str) -> str:
    """Return an apk package's name without its version."""
    return _APK_VERSION.sub("", package)


def _inside(path: str) -> str:
    """Return a path as it is in the image, without the builder's directories."""
    return re.sub(r"^.*/root-[^/]+", "", path)


def _build_error(text: str) -> AsuError | None:
    too_big = size_error(text)
    if too_big:
        return too_big
    script = re.search(r"postinst script \S*?/([^/\s]+?)\.(?:postinst|post-install) has failed", text)
    if script:
        return BuildFailed(reason=f"the installation script of {script[1].split('.X')[0]} failed")
    profile = re.search(r'Profile "([^"\n]{1,128})" does not exist!', text)
    return BuildFailed(reason=f"it has no profile {profile[1]}") if profile else None


def size_error(text: str) -> ImageTooBig | None:
    """Return what is too big and by how much, or None; builders say it in four ways, mostly with exit code 0."""
    image = re.search(r"Image file \S*/(\S+) is too big: *(\d*) > (\d+)", text)
    if image and image[2]:
        return ImageTooBig(reason=f"{image[1]} has {image[2]} bytes, {int(image[2]) - int(image[3])} more than the device takes")
    by = re.search(r"images are too big by (\d+) bytes", text)
    if by:
        return ImageTooBig(reason=f"{by[1]} bytes more than the device takes")
    partition = re.search(r"partition too big \(more than (\d+) bytes\)", text)
    if partition:
        return ImageTooBig(reason=f"its file system has more than the {partition[1]} bytes that the device takes")
    if image:
        return ImageTooBig(reason=f"{image[1]} has more than the {image[3]} bytes that the device takes")
    if re.search(r"ext4_allocate\w*: failed to allocate \d+ blocks, out of space\?", text):
        return ImageTooBig(reason="the packages do not fit into the ext4 root file system, which a larger `rootfs_size_mb` may mend")
    return None


def _crash(result: CommandResult) -> AsuError | None:
    if result.exit_code in (-1, TERMINATED) or re.search(r"\bKilled\b", result.stderr):
        return ContainerFailed(reason="a program in it was killed, probably for want of memory")
    return None


def _last_words(stderr: str) -> str:
    """Return the last line that is not make's own report of failing."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not re.match(r"make(\[\d+\])?: ", line)]
    return lines[-1][:200] if lines else "it gave no reason"


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
    document: dict[str, Any] = json.loads((directory / "profiles.json").read_text(encoding="utf-8"))
    for profile in document["profiles"].values():
        for image in profile["images"]:
            if hashes.get(image["name"]) != image["sha256"]:
                raise StoreFailed(reason=f"{image['name']} is not what the ImageBuilder made")
    return document
