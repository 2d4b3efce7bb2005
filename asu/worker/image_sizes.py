"""Images that are too big for their device, as the tools say so that make images.

Most tools end with exit code 0. check-size prints the image's size, or none when there is no file;
mktplinkfw and tplink-safeloader omit the image's name, which stands only in the lines that follow;
make_ext4fs speaks of a whole root file system; and some tools print nothing: the image is missing.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace

from asu.errors import ImageTooBig

EXT4_BLOCK = 4096  # Bytes; make_ext4fs says so of every root file system of OpenWrt.

_CHECK_SIZE = re.compile(r"Image file (\S+) is too big: (\d*) > (\d+)")
_TOO_BIG_BY = re.compile(r"images are too big by (\d+) bytes")
_PARTITION = re.compile(r"partition too big \(more than (\d+) bytes\)")
_NO_SUCH_IMAGE = re.compile(r"cannot statx? '(/[^\s']+)': No such file")
_EXT4 = re.compile(r"ext4_allocate\w{0,32}: failed to allocate (\d+) blocks, out of space\?")
_EXT4_SIZE = re.compile(r"Creating filesystem with parameters:\n +Size: (\d+)\n")
_SKIPPED = re.compile(r"Skip JSON creation for non existing file (/\S+)")
_FILESYSTEM = re.compile(r"-(squashfs|ext4|ubifs|jffs2|initramfs)-")

NO_NAME = ("", "")
_ADVICE = "ask for fewer packages"
_EXT4_ADVICE = "ask for fewer packages, a larger `rootfs_size_mb`, or the file system squashfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class TooBig:
    """An image that does not fit; sizes in bytes, None where unknown.

    Without `image` it is a root file system.
    """

    image: str | None = None
    filesystem: str | None = None
    bytes: int | None = None
    limit: int | None = None
    excess: int | None = None

    def words(self) -> str:
        """Return it as a part of a sentence."""
        what = self.image or (
            f"the {self.filesystem} root file system" if self.filesystem else "an image"
        )
        if self.bytes is not None:
            return (
                f"{what} has {self.bytes} bytes, {self.excess} more than the {self.limit} that fit"
            )
        if self.excess is not None:
            least = "at least " if self.filesystem == "ext4" else ""
            return f"{what} has {least}{self.excess} bytes more than fit"
        if self.limit is not None:
            return f"{what} has more than the {self.limit} bytes that fit"
        return f"{what} was left out without a word"


def size_error(stdout: str, stderr: str) -> ImageTooBig | None:
    """Return what is too big and by how much, all images in one error; None where all fit."""
    return _error([*_ext4(stdout, stderr), *_images(stderr)])


def check(stdout: str, stderr: str, made: Collection[str]) -> None:
    """Raise ImageTooBig if a builder ended well without an image for upgrades, or without any.

    `made` are the names of the files. An image for the first installation is of no use for an
    upgrade. Where nothing was made without a message, the images that the builder skipped in
    profiles.json are those that did not fit.
    """
    if any("-sysupgrade" in name for name in made):
        return
    error = size_error(stdout, stderr)
    if error is None and "profiles.json" not in made:
        names = dict.fromkeys(map(_file_name, _SKIPPED.findall(stdout)))
        error = _error([_named(name) for name in names if name])
    if error:
        raise error


def _error(found: list[TooBig]) -> ImageTooBig | None:
    if not found:
        return None
    advice = _EXT4_ADVICE if any(entry.filesystem == "ext4" for entry in found) else _ADVICE
    return ImageTooBig(
        reason="; ".join(entry.words() for entry in found),
        advice=advice,
        too_big=[asdict(entry) for entry in found],
    )


def _images(stderr: str) -> list[TooBig]:
    """Return each image once; a message without a name belongs to the next missing image."""
    found: dict[str, TooBig] = {}
    nameless: TooBig | None = None
    for line in stderr.splitlines():
        nameless = _nameless(line) or nameless
        check, missing = _CHECK_SIZE.search(line), _NO_SUCH_IMAGE.search(line)
        image = _file_name((check or missing or NO_NAME)[1])
        unmeasured = image if missing or (check and not check[2]) else ""
        if nameless and unmeasured:
            found[unmeasured] = replace(
                _named(unmeasured), limit=nameless.limit, excess=nameless.excess
            )
            nameless = None
        elif check and image not in found:
            found[image] = _measured(image, check[2], int(check[3]))
    return [*found.values(), *([nameless] if nameless else [])]


def _file_name(path: str) -> str:
    """Return the name of a file; empty for a directory."""
    name = path.rpartition("/")[2]
    return name if name[:1].isalnum() else ""


def _nameless(line: str) -> TooBig | None:
    by, partition = _TOO_BIG_BY.search(line), _PARTITION.search(line)
    if by:
        return TooBig(excess=int(by[1]))
    return TooBig(limit=int(partition[1])) if partition else None


def _measured(image: str, size: str, limit: int) -> TooBig:
    named = replace(_named(image), limit=limit)
    return replace(named, bytes=int(size), excess=int(size) - limit) if size else named


def _named(image: str) -> TooBig:
    filesystem = _FILESYSTEM.search(image)
    return TooBig(image=image, filesystem=filesystem[1] if filesystem else None)


def _ext4(stdout: str, stderr: str) -> Iterator[TooBig]:
    """Yield the root file system that was full, with the least that is missing.

    The blocks in the message are those of the one file for which there was no space.
    """
    full = _EXT4.search(stderr)
    if full:
        sizes = _EXT4_SIZE.findall(stdout)
        yield TooBig(
            filesystem="ext4",
            limit=int(sizes[-1]) if sizes else None,
            excess=int(full[1]) * EXT4_BLOCK,
        )
