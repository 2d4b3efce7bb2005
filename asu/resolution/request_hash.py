"""The one identity of a build: job id, store directory and provenance subject.

SHA-256, whole, over canonical JSON with named fields. Named fields keep boundaries unambiguous;
canonical JSON (sorted keys, no spaces, ASCII) makes equal requests equal bytes. Everything that can
change the image is in it and nothing else: a test goes through the fields of the request and wants
each one either here or in `NOT_IDENTITY` with its reason. The hash is never cut short and nothing
is hashed unescaped: both were how CVE-2024-54143 poisoned caches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .feed_keys import key_spelling
from .feeds import feed_spelling

IDENTITY = (
    "version",
    "version_code",
    "target",
    "profile",
    "packages",
    "packages_versions",
    "diff_packages",
    "defaults",
    "rootfs_size_mb",
    "filesystem",
    "repositories",
    "repositories_mode",
    "repository_keys",
)

NOT_IDENTITY = {
    "distro": "Only openwrt is served; a request for another distribution is refused before it has an identity.",
    "client": "Says who asks, not for what.",
    "from_version": "Steers the resolution; its effect is in the resolved packages.",
    "ignored_changes": "Steers the resolution; its effect is in the resolved packages.",
}

_CANONICAL_JSON = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
)


def normalised_profile(profile: str) -> str:
    """Return a profile id for a board name: LuCI sends `tplink,archer-c7-v5` where profiles.json says `tplink_archer-c7-v5`."""
    return profile.replace(",", "_")


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names in their order, each once."""
    return tuple(dict.fromkeys(names))


def wanted_packages(
    packages: Sequence[str], packages_versions: Mapping[str, str]
) -> tuple[str, ...]:
    """Return what a request wants installed: `packages`, or the names of `packages_versions`, as owut and auc send them."""
    return unique(packages or packages_versions)


def normalised_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request with the spellings that mean the same brought to one, its fields otherwise as they were.

    An empty first-boot script is none; an empty mapping or list is the same as an absent one;
    doubled packages count once; addresses and keys of feeds have one spelling each.
    """
    packages_versions = dict(request.get("packages_versions") or {})
    return {
        **request,
        "profile": normalised_profile(request["profile"]),
        "packages": list(wanted_packages(request.get("packages") or (), packages_versions)),
        "packages_versions": packages_versions,
        "diff_packages": bool(request.get("diff_packages")),
        "version_code": request.get("version_code") or "",
        "defaults": request.get("defaults") or None,
        "rootfs_size_mb": request.get("rootfs_size_mb"),
        "filesystem": request.get("filesystem") or None,
        "repositories": {
            name: feed_spelling(url) for name, url in (request.get("repositories") or {}).items()
        },
        "repositories_mode": request.get("repositories_mode") or "replace",
        "repository_keys": list(unique(map(key_spelling, request.get("repository_keys") or ()))),
    }


def canonical_request(request: Mapping[str, Any]) -> bytes:
    """Return the bytes whose hash is the identity of a resolved request."""
    fields = normalised_request(request)
    identity = {name: fields[name] for name in IDENTITY}
    # The builder is always handed the sorted list, so order cannot matter.
    identity["packages"] = sorted(fields["packages"])
    identity["repository_keys"] = sorted(fields["repository_keys"])
    if not fields["repositories"]:
        # Without repositories there is nothing to append or to replace.
        identity["repositories_mode"] = "replace"
    return _CANONICAL_JSON.encode(identity).encode("ascii")


def request_hash(request: Mapping[str, Any]) -> str:
    """Return the identity of a resolved request: 64 hexadecimal digits."""
    return hashlib.sha256(canonical_request(request)).hexdigest()
