"""What an answer repeats of a build's profiles.json, and nothing else of it.

The scripts of packages run beside the ImageBuilder, and those of feeds are anybody's: each key of
the document may have been put there, or its value exchanged. So answers repeat only what the
ImageBuilders of all releases write, in the shape that it has there. All else is left out; and what
this server vouches for has names that are not among these.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from asu.errors import BuildFailed

from .builder_output import offered

Shape = Callable[[Any], bool]

MAX_NUMBER = 2**53 - 1  # The largest that JavaScript, and so a browser, reads as it is.
MAX_EPOCH = 2**32 - 1  # Seconds; the year 2106, and whatever reads RFC 3339 understands it.


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_NUMBER  # JSON's true is an int, too.


def _is_epoch(value: Any) -> bool:
    return _is_number(value) and value <= MAX_EPOCH


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_flat(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_text(entry) or _is_number(entry) for entry in value.values()
    )


def _are_flat(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_flat, value))


OF_TARGET: Mapping[str, Shape] = {
    "arch_packages": _is_text,
    "default_packages": _are_texts,
    "linux_kernel": _is_flat,
    "metadata_version": _is_number,
    "source_date_epoch": _is_epoch,
    "target": _is_text,
    "version_code": _is_text,
    "version_number": _is_text,
}
OF_PROFILE: Mapping[str, Shape] = {
    "device_packages": _are_texts,
    "file_size_limits": _is_flat,
    "image_prefix": _is_text,
    "supported_devices": _are_texts,
    "titles": _are_flat,
}
OF_IMAGE: Mapping[str, Shape] = {
    "filesystem": _is_text,
    "name": _is_text,
    "sha256": _is_text,
    "sha256_unsigned": _is_text,
    "size": _is_number,
    "type": _is_text,
}


def facts_of(document: Mapping[str, Any], profile: str) -> dict[str, Any]:
    """Return what a profiles.json that `read_profiles` has read says of its target and of a profile, on one level as clients expect it.

    `build_at` is when its sources were, or now where it does not tell. Raises BuildFailed where
    there is no image of that profile.
    """
    entry = document["profiles"].get(profile)
    if entry is None:
        raise BuildFailed(reason=f"it made no image for {profile}")
    facts = _known(document, OF_TARGET) | _known(entry, OF_PROFILE)
    images = [_known(image, OF_IMAGE) for image in offered(entry["images"])]
    built_at = (
        datetime.fromtimestamp(facts["source_date_epoch"], UTC)
        if "source_date_epoch" in facts
        else datetime.now(UTC)
    )
    return {
        **facts,
        "images": images,
        "id": profile,
        "build_at": built_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _known(values: Mapping[str, Any], shapes: Mapping[str, Shape]) -> dict[str, Any]:
    return {
        name: values[name]
        for name, has_shape in shapes.items()
        if name in values and has_shape(values[name])
    }
