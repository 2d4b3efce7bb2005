"""Estimates how large an image will be, and says what changes between two of them."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from asu_prepare.resolution import is_older_package

from .universe import Candidate

# An estimate is within this part of the real size for nine of ten images.
ERROR = 0.05
# Two releases differ in hundreds of versions, and the same ones are compared for each preview.
_is_older = lru_cache(maxsize=16_384)(is_older_package)


def size_of(
    installed: Iterable[Candidate],
    usual: Iterable[Candidate] | None,
    *,
    official: int,
    limit: int,
) -> dict[str, Any]:
    """Return the sizes of an image; `usual` are the packages of the official one of that device.

    The image is the official one, plus what is new in it and minus what it lacks, each package as
    large as its download.
    """
    here = {one.name: one.size for one in installed}
    estimate = None
    basis = "This release does not say how large the official image of the device is."
    if official and usual is not None:
        there = {one.name: one.size for one in usual}
        more = sum(size for name, size in here.items() if name not in there)
        less = sum(size for name, size in there.items() if name not in here)
        estimate = max(official + more - less, 0)
        basis = (
            f"The official image has {official} bytes; packages add {more} and free {less} bytes, "
            "compressed."
        )
    return {
        "download": sum(here.values()),
        "installed": sum(one.installed_size for one in installed),
        "image_estimate": estimate,
        "image_limit": limit or None,
        "fits": _fits(estimate, limit),
        "basis": basis,
    }


def _fits(estimate: int | None, limit: int) -> str:
    if estimate is None or not limit:
        return "unknown"
    if estimate * (1 + ERROR) <= limit:
        return "yes"
    return "no" if estimate * (1 - ERROR) > limit else "tight"


def difference(old: Mapping[str, str], new: Mapping[str, str], since: str) -> dict[str, Any]:
    """Return what comes, goes and changes its version between two manifests."""
    both = [name for name in new if name in old]
    changed = [
        ({"package": name, "old": old[name], "new": new[name]}, _is_older(new[name], old[name]))
        for name in both
        if old[name] != new[name]
    ]
    parts = {
        "added": [{"package": name, "version": new[name]} for name in new if name not in old],
        "removed": [{"package": name, "version": old[name]} for name in old if name not in new],
        "upgraded": [one for one, is_older in changed if not is_older],
        "downgraded": [one for one, is_older in changed if is_older],
    }
    counts = {name: len(part) for name, part in parts.items()}
    counts["unchanged"] = len(both) - len(changed)
    return {"from_version": since, **parts, "counts": counts}
