"""The preview as clients receive it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .outcome import PackageRequest, Resolution
from .request_hash import hash_of_normalised
from .versions import Version, is_older_package

# Targets whose images are disks with a root partition of a size that a request can set.
_DISKS = ("x86/", "armsr/", "loongarch64/")


def package_request(fields: Mapping[str, Any]) -> PackageRequest:
    """Return the part of a normalised request that a resolution needs."""
    from_version, feeds = fields["from_version"], fields["repositories"]
    return PackageRequest(
        version=Version.parse(fields["version"]),
        target=fields["target"],
        profile=fields["profile"],
        packages=tuple(fields["packages"]),
        packages_versions=fields["packages_versions"],
        diff_packages=fields["diff_packages"],
        from_version=Version.parse(from_version) if from_version else None,
        ignored_changes=frozenset(fields["ignored_changes"]),
        feeds=tuple(sorted(feeds)),
        leave_out_missing=fields["leave_out_missing"],
        replaces_feeds=bool(feeds) and fields["repositories_mode"] == "replace",
    )


def resolved_fields(fields: Mapping[str, Any], resolution: Resolution) -> dict[str, Any]:
    """Return the complete request that builds exactly what was resolved."""
    version = Version.parse(fields["version"])
    is_of_a_device = fields["diff_packages"] or bool(fields["packages_versions"])
    return {
        **fields,
        "packages": list(resolution.packages),
        "packages_versions": dict(resolution.packages_versions),
        "diff_packages": resolution.diff_packages,
        "any_order": fields["any_order"] or (is_of_a_device and not version.has_apk),
    }


def preview(fields: Mapping[str, Any], resolution: Resolution) -> dict[str, Any]:
    """Return the answer to a normalised request: its result, the reasons, and what cannot work."""
    prepared = resolved_fields(fields, resolution)
    origin = resolution.from_version
    warnings = [*resolution.warnings, *_usual_size(fields)]
    old = fields["packages_versions"]
    versions: dict[str, Any] = {name: {"new": new} for name, new in resolution.versions.items()}
    for name in old.keys() & versions.keys():
        versions[name]["old"] = old[name]
        versions[name]["downgrade"] = is_older_package(versions[name]["new"], old[name])
    return {
        "status": "prepared",
        "original_packages": list(fields["packages"]),
        "original_diff_packages": fields["diff_packages"],
        "resolved_packages": prepared["packages"],
        "changes": [change._asdict() for change in resolution.changes],
        "problems": [problem._asdict() for problem in resolution.problems],
        "warnings": warnings,
        "checked": resolution.checked,
        "from_version": origin._asdict() if origin else None,
        "ignored_changes": list(resolution.ignored),
        "versions": versions,
        "counts": _counts(resolution, old, versions) | {"warnings": len(warnings)},
        "resolved_profile": fields["profile"],
        "prepared_request": prepared,
        "request_hash": hash_of_normalised(prepared),
    }


def _usual_size(fields: Mapping[str, Any]) -> Iterator[str]:
    """Warn of an upgrade that takes back a root partition which somebody enlarged."""
    is_upgrade = fields["diff_packages"] or fields["packages_versions"] or fields["from_version"]
    if is_upgrade and not fields["rootfs_size_mb"] and fields["target"].startswith(_DISKS):
        yield (
            "The image has a root partition of the usual size. If that of the device is larger, "
            "send its size as `rootfs_size_mb`; otherwise settings kept outside the usual size are "
            "lost."
        )


def _counts(
    resolution: Resolution, old: Mapping[str, str], versions: Mapping[str, Any]
) -> dict[str, int]:
    actions = [change.action for change in resolution.changes]
    return {
        "installed": len([name for name in resolution.packages if name[0] != "-"]),
        "added": actions.count("add"),
        "replaced": actions.count("replace"),
        "removed": actions.count("remove"),
        "problems": len(resolution.problems),
        "downgrades": sum(versions[name]["downgrade"] for name in old.keys() & versions.keys()),
    }
