"""The JSON files about releases, targets and devices, and feeds.conf."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from .catalogue import FEEDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .catalogue import Catalogue, Profile, Release, Target

MEBIBYTE = 2**20


def json_bytes(content: object) -> bytes:
    """Return one line of JSON with sorted keys, as OpenWrt writes its metadata."""
    return f"{json.dumps(content, sort_keys=True)}\n".encode()


def versions_json(catalogue: Catalogue) -> bytes:
    """Return .versions.json: releases only, branch snapshots are not listed in the real one
    either.
    """
    content = {
        "stable_version": catalogue.stable,
        "oldstable_version": catalogue.oldstable,
        "upcoming_version": catalogue.upcoming,
        "versions_list": [
            release.version
            for release in catalogue.releases
            if not release.version.endswith("SNAPSHOT")
        ],
    }
    return f"{json.dumps(content)}\n".encode()


def targets_json(targets: Iterable[Target]) -> bytes:
    """Return .targets.json: which package architecture a target has."""
    return json_bytes({target.name: target.arch for target in targets})


def overview_json(release: Release, targets: Iterable[Target]) -> bytes:
    """Return .overview.json, the list of devices of a release."""
    devices = [
        {"id": profile.name, "titles": list(profile.titles), "target": target.name}
        for target in targets
        for profile in target.profiles
    ]
    return f"{json.dumps({'release': release.version, 'profiles': devices})}\n".encode()


def profiles_json(release: Release, target: Target) -> bytes:
    """Return profiles.json of a target."""
    content: dict[str, Any] = {
        "arch_packages": target.arch,
        "default_packages": list(target.default_packages),
        "metadata_version": 1,
        "profiles": {
            profile.name: _profile(release, target, profile) for profile in target.profiles
        },
        "source_date_epoch": release.epoch,
        "target": target.name,
        "version_code": release.revision,
        "version_number": release.version,
    }
    if release.linux_kernel:
        content["linux_kernel"] = {
            "release": "1",
            "vermagic": release.vermagic(target.name),
            "version": release.kernel,
        }
    return json_bytes(content)


def feeds_conf(release: Release) -> bytes:
    """Return feeds.conf; its commits are made up, its form is that of `scripts/feeds list -s
    -f`.
    """
    lines = []
    for feed in FEEDS:
        commit = hashlib.sha256(f"{release.series} {feed}".encode()).hexdigest()[:40]
        kind, place = (
            ("src-git-full", "openwrt/openwrt") if feed == "base" else ("src-git", f"feed/{feed}")
        )
        if feed == "luci":
            place = "project/luci"
        lines.append(f"{kind} {feed} https://git.openwrt.org/{place}.git^{commit}\n")
    return "".join(lines).encode()


def image_prefix(release: Release, target: Target, profile: Profile) -> str:
    """Return the part of an image's name that goes before the file system."""
    version = {"SNAPSHOT": ""}.get(release.version, f"-{release.version}")
    if release.version.endswith("-SNAPSHOT"):
        version = f"-{release.version.lower()}-{release.revision}"
    return f"openwrt{version}-{target.name.replace('/', '-')}-{profile.name}"


def _profile(release: Release, target: Target, profile: Profile) -> dict[str, Any]:
    content: dict[str, Any] = {
        "device_packages": list(profile.packages),
        "image_prefix": image_prefix(release, target, profile),
        "images": [_image(release, target, profile, entry) for entry in profile.images],
        "supported_devices": list(profile.supported_devices),
        "titles": [dict(title) for title in profile.titles],
    }
    if release.format == "apk" and profile.limit:
        content["file_size_limits"] = {"image": profile.limit}
    return content


def _image(release: Release, target: Target, profile: Profile, entry: str) -> dict[str, Any]:
    filesystem, kind, extension = entry.split()
    part = "" if filesystem == "-" else f"-{filesystem}"
    name = f"{image_prefix(release, target, profile)}{part}-{kind}.{extension}"
    unsigned = hashlib.sha256(f"{name} {release.revision}".encode()).hexdigest()
    # Builds with opkg sign whatever carries metadata, so the two sums differ there; builds with apk
    # do not sign images.
    signed = release.format == "opkg" and kind in {"sysupgrade", "combined", "combined-efi"}
    content: dict[str, Any] = {
        "name": name,
        "sha256": hashlib.sha256(f"{unsigned} signed".encode()).hexdigest() if signed else unsigned,
        "sha256_unsigned": unsigned,
        "type": kind,
    }
    if filesystem != "-":
        content["filesystem"] = filesystem
    if release.format == "apk":
        content["size"] = (5 + int(unsigned[:1], 16) % 3) * MEBIBYTE
    return content
