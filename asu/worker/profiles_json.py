"""Read a build's profiles.json, a document that the build may have forged.

So answers repeat only what the ImageBuilders of all releases write, in the shape that it has there.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

from asu.errors import BuildDisrupted, BuildFailed
from asu.provenance.envelope import PROVENANCE_FILE

# Bytes. A genuine profiles.json of one device has some KiB; one of this size may still become 16
# times as many bytes of memory.
MAX_PROFILES = 256 * 1024
# Of a text in an answer, in characters, and of a list or a mapping; a genuine list of supported
# devices or default packages has some dozen entries.
MAX_TEXT, MAX_ENTRIES = 256, 256
# These are rewritten after they were hashed, so no image may have their names.
OUR_FILES = ("profiles.json", "sha256sums", PROVENANCE_FILE)
NO_IMAGE = "it made no image and gave no reason"
_TITLE = ("vendor", "model", "variant")
# As "squashfs" and "jffs2-nand-2048k-128k".
_FILESYSTEM = re.compile(
    r"(?:squashfs|ext4|ubifs|erofs|jffs2|cpiogz|initramfs|targz)[a-z0-9-]{0,32}"
)

MAX_NUMBER = 2**53 - 1  # The largest that JavaScript, and so a browser, reads as it is.
MAX_EPOCH = 2**32 - 1  # Seconds: the year 2106, which every reader of RFC 3339 understands.

FLAT = "flat"  # A mapping of texts and numbers.
OF_TARGET: Mapping[str, Any] = {
    **dict.fromkeys(("arch_packages", "target", "version_code", "version_number"), str),
    **dict.fromkeys(("metadata_version", "source_date_epoch"), int),
    "default_packages": [str],
    "linux_kernel": FLAT,
}
OF_PROFILE: Mapping[str, Any] = {
    "device_packages": [str],
    "supported_devices": [str],
    "file_size_limits": FLAT,
    "image_prefix": str,
}
OF_IMAGE: Mapping[str, Any] = {
    **dict.fromkeys(("filesystem", "name", "sha256", "sha256_unsigned", "type"), str),
    "size": int,
}


def read_profiles(directory: Path, hashes: Mapping[str, str]) -> dict[str, Any]:
    """Read profiles.json and check its images against the copied files, name → SHA-256.

    Raises BuildFailed and BuildDisrupted.
    """
    if "profiles.json" not in hashes:
        raise BuildFailed(reason=NO_IMAGE)
    path = directory / "profiles.json"
    _expect_length(path, MAX_PROFILES)
    try:
        document: dict[str, Any] = json.loads(
            path.read_text(encoding="utf-8"), parse_constant=_refused, parse_float=_finite
        )
        # A list: in a mapping, an image that is named twice would be checked only once.
        listed = images_of(document)
        images = [(image["name"], image["sha256"], image.get("type", "")) for image in listed]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BuildFailed(reason="its profiles.json cannot be read") from error
    if not images:
        raise BuildFailed(reason=NO_IMAGE)
    for name, digest, kind in images:
        is_text = all(isinstance(value, str) for value in (name, digest, kind))
        if not is_text or name in OUR_FILES:
            raise BuildFailed(reason="its profiles.json cannot be read")
        if hashes.get(name) != digest:
            raise BuildDisrupted(reason=f"{name} was changed after it was made")
    return document


def images_of(document: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Return the images of all profiles."""
    return (image for profile in document["profiles"].values() for image in profile["images"])


def written(document: Mapping[str, Any]) -> bytes:
    """Return profiles.json on one line, as the ImageBuilder writes it."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def sums_of(hashes: Mapping[str, str]) -> bytes:
    """Return sha256sums for files, name → SHA-256; the builder's own may name what is not there."""
    names = sorted(hashes.keys() - {"sha256sums", PROVENANCE_FILE})
    return "".join(f"{hashes[name]} *{name}\n" for name in names).encode()


def titles_of(told: Any, known: Sequence[str], profile: str) -> list[dict[str, Any]]:
    """Return the titles in profiles.json that are names the ImageBuilder has for the device.

    Where none is, return those names.
    """
    kept = []
    for title in told if isinstance(told, list) else ():
        if _has_shape(title, FLAT):
            keys = ("title",) if "title" in title else _TITLE
            named = {key: title[key] for key in keys if title.get(key)}
            if " ".join(" ".join(map(str, named.values())).split()) in known:
                kept.append(named)
    return kept or [{"title": name} for name in known] or [{"title": profile}]


def facts_of(document: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """Return what a profiles.json says of its target and a profile, on one level for clients.

    `build_at` is when its sources were made, or now where that is unknown. Raises BuildFailed where
    there is no image of that profile.
    """
    entry = document["profiles"].get(profile)
    if entry is None:
        raise BuildFailed(reason=f"it made no image for {profile}")
    facts = _known(document, OF_TARGET) | _known(entry, OF_PROFILE)
    if facts.get("source_date_epoch", 0) > MAX_EPOCH:
        del facts["source_date_epoch"]
    epoch = facts.get("source_date_epoch")
    built_at = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
    return {
        **facts,
        "images": [_known_image(image) for image in offered(entry["images"])],
        "id": profile,
        "build_at": built_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def offered(images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the images of a profile that a device can start; raises BuildFailed without any.

    The ImageBuilders of 25.12.0 to 25.12.4 take the archive of the root file system for a file
    system and make disk images of it that start nothing.
    """
    bootable = [image for image in images if image.get("filesystem") != "targz"]
    if not bootable:
        raise BuildFailed(reason=NO_IMAGE)
    return bootable


def _refused(word: str) -> NoReturn:
    """Refuse what Python reads as a number although JSON has no such thing."""
    raise ValueError(word)


def _finite(text: str) -> float:
    """Read a number with a point or an exponent; Python would read 1e999 as infinite."""
    number = float(text)
    return number if isfinite(number) else _refused(text)


def _expect_length(path: Path, most: int) -> None:
    if path.stat().st_size > most:
        raise BuildFailed(reason=f"its {path.name} is longer than any genuine one")


def _known(values: Mapping[str, Any], shapes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: values[name]
        for name, shape in shapes.items()
        if name in values and _has_shape(values[name], shape)
    }


def _known_image(image: Mapping[str, Any]) -> dict[str, Any]:
    known = _known(image, OF_IMAGE)
    if _FILESYSTEM.fullmatch(known.get("filesystem", "")) is None:
        known.pop("filesystem", None)
    return known


def _has_shape(value: Any, shape: Any) -> bool:
    """Whether a value is a text, a number that JavaScript can read, a list of those, or flat."""
    if shape is int:
        return type(value) is int and 0 <= value <= MAX_NUMBER  # JSON's true is an int, too.
    if isinstance(shape, list):
        is_list = isinstance(value, list) and len(value) <= MAX_ENTRIES
        return is_list and all(_has_shape(entry, shape[0]) for entry in value)
    if shape == FLAT:
        return (
            isinstance(value, dict)
            and len(value) <= MAX_ENTRIES
            and all(_has_shape(name, str) for name in value)
            and all(_has_shape(entry, str) or _has_shape(entry, int) for entry in value.values())
        )
    return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()
