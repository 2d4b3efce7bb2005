"""The one identity of a build: job id, store directory and provenance subject.

It is the whole SHA-256 over canonical JSON (sorted keys, no spaces, ASCII) of all that can change
the image. A short hash, or names without escaping, let others poison caches (CVE-2024-54143).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .feeds import FeedKey, FeedUrl, one_spelling
from .versions import InvalidVersionError, Version

# Always in the canonical form.
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

# Fields that came after the first release, with the value that means "not used". At that value a
# field is left out, so the hashes of requests that do not use it stay as they were.
LATER_IDENTITY: Mapping[str, Any] = {}

NOT_IDENTITY = {
    "distro": "Only openwrt is served; other distributions are refused before they have a hash.",
    "client": "Says who asks, not for what.",
    "from_version": "Steers the resolution; its effect is in the resolved packages.",
    "ignored_changes": "Steers the resolution; its effect is in the resolved packages.",
    "leave_out_missing": "Steers the resolution; its effect is in the resolved packages.",
    "any_order": "Its effect is the order of the packages that are hashed.",
}

_CANONICAL_JSON = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
)


def normalised_profile(profile: str) -> str:
    """Return the profile id of a board name: `tplink,archer-c7-v5` is `tplink_archer-c7-v5`."""
    return profile.replace(",", "_")


def normalised_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request with one spelling for each meaning; other fields stay as they are.

    Empty means absent, doubled packages count once, and a script has the line ends of Unix. Without
    `packages` the names of `packages_versions` are meant, as owut and auc send them.
    """
    versions = dict(request.get("packages_versions") or {})
    packages = [name for name in request.get("packages") or () if name]
    feeds = request.get("repositories") or {}
    keys = [one_spelling(FeedKey, key) for key in request.get("repository_keys") or ()]
    return {
        **request,
        "profile": normalised_profile(request["profile"]),
        "packages": list(dict.fromkeys(packages or versions)),
        "packages_versions": versions,
        "diff_packages": bool(request.get("diff_packages")),
        "version_code": request.get("version_code") or "",
        "defaults": (request.get("defaults") or "").replace("\r\n", "\n") or None,
        "rootfs_size_mb": request.get("rootfs_size_mb"),
        "filesystem": request.get("filesystem") or None,
        "repositories": {name: one_spelling(FeedUrl, url) for name, url in feeds.items()},
        "repositories_mode": request.get("repositories_mode") or "replace",
        "repository_keys": list(dict.fromkeys(keys)),
        "leave_out_missing": bool(request.get("leave_out_missing")),
        "any_order": bool(request.get("any_order")),
    }


def ordered_packages(fields: Mapping[str, Any]) -> list[str]:
    """Return a normalised request's packages in the order in which the ImageBuilder gets them.

    The order of wanted packages means something to opkg, so a list that a person wrote keeps it.
    The lists of devices are sorted: an absolute list, one with versions, and `any_order`.
    """
    packages = fields["packages"]
    has_no_order = fields["diff_packages"] or fields["packages_versions"] or fields["any_order"]
    if has_no_order or not _is_for_opkg(fields["version"]):
        return sorted(packages)
    removals = sorted(name for name in packages if name.startswith("-"))
    return [*removals, *(name for name in packages if not name.startswith("-"))]


def _is_for_opkg(version: str) -> bool:
    """Whether a version installs with opkg; a plan that somebody changed may hold no version."""
    try:
        return not Version.parse(version).has_apk
    except InvalidVersionError:
        return False


def canonical_request(
    request: Mapping[str, Any], later: Mapping[str, Any] = LATER_IDENTITY
) -> bytes:
    """Return the bytes whose hash is the identity of a resolved request."""
    return _canonical(normalised_request(request), later)


def request_hash(request: Mapping[str, Any]) -> str:
    """Return the identity of a resolved request: 64 hexadecimal digits."""
    return hash_of_normalised(normalised_request(request))


def hash_of_normalised(fields: Mapping[str, Any]) -> str:
    """Return the identity of a request that was normalised already."""
    return hashlib.sha256(_canonical(fields, LATER_IDENTITY)).hexdigest()


def _canonical(fields: Mapping[str, Any], later: Mapping[str, Any]) -> bytes:
    identity = {name: fields[name] for name in IDENTITY}
    identity["packages"] = ordered_packages(fields)
    identity["repository_keys"] = sorted(fields["repository_keys"])
    if not fields["repositories"]:
        # Without repositories there is nothing to append or to replace.
        identity["repositories_mode"] = "replace"
    for name, unused in later.items():
        if fields.get(name, unused) != unused:
            identity[name] = fields[name]
    return _CANONICAL_JSON.encode(identity).encode("ascii")
