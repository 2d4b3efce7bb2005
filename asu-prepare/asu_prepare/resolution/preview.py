"""The preview as clients receive it: built by hand from frozen values, since a model per answer would cost more than the decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .outcome import Change, PackageRequest, Problem, Resolution
from .request_hash import request_hash
from .versions import Version, is_older_package


def package_request(fields: Mapping[str, Any]) -> PackageRequest:
    """Return what a resolution needs of a normalised request."""
    from_version = fields["from_version"]
    return PackageRequest(
        version=Version.parse(fields["version"]),
        target=fields["target"],
        profile=fields["profile"],
        packages=tuple(fields["packages"]),
        packages_versions=fields["packages_versions"],
        diff_packages=fields["diff_packages"],
        from_version=Version.parse(from_version) if from_version else None,
        ignored_changes=frozenset(fields["ignored_changes"]),
        feeds=tuple(sorted(fields["repositories"])),
        replaces_feeds=bool(fields["repositories"]) and fields["repositories_mode"] == "replace",
    )


def resolved_fields(fields: Mapping[str, Any], resolution: Resolution) -> dict[str, Any]:
    """Return the complete request that builds exactly what was resolved."""
    return {
        **fields,
        "packages": list(resolution.packages),
        "packages_versions": dict(resolution.packages_versions),
        "diff_packages": resolution.diff_packages,
    }


def preview(fields: Mapping[str, Any], resolution: Resolution) -> dict[str, Any]:
    """Return the answer to a normalised request: what it leads to, why, and what cannot work."""
    prepared = resolved_fields(fields, resolution)
    told = resolution.from_version
    versions = _versions(fields["packages_versions"], resolution)
    return {
        "status": "prepared",
        "original_packages": list(fields["packages"]),
        "original_diff_packages": fields["diff_packages"],
        "resolved_packages": prepared["packages"],
        "changes": [_change(change) for change in resolution.changes],
        "problems": [_problem(problem) for problem in resolution.problems],
        "warnings": list(resolution.warnings),
        "checked": resolution.checked,
        "from_version": {
            "version": told.version,
            "inferred": told.inferred,
            "evidence": told.evidence,
        }
        if told
        else None,
        "ignored_changes": list(resolution.ignored),
        "versions": versions,
        "counts": _counts(resolution, versions if fields["packages_versions"] else {}),
        "resolved_profile": fields["profile"],
        "prepared_request": prepared,
        "request_hash": request_hash(prepared),
    }


def _versions(old: Mapping[str, str], resolution: Resolution) -> dict[str, Any]:
    """Return the version of each resolved package; with versions in the request, old and new beside one another."""
    if not old:
        return {name: {"new": version} for name, version in resolution.versions.items()}
    return {
        name: {"new": version, "old": old[name], "downgrade": is_older_package(version, old[name])}
        if name in old
        else {"new": version}
        for name, version in resolution.versions.items()
    }


def _counts(resolution: Resolution, versions: Mapping[str, Any]) -> dict[str, int]:
    changes = resolution.changes
    return {
        "installed": len([name for name in resolution.packages if name[0] != "-"]),
        "added": sum(change.action == "add" for change in changes),
        "replaced": sum(change.action == "replace" for change in changes),
        "removed": sum(change.action == "remove" for change in changes),
        "problems": len(resolution.problems),
        "warnings": len(resolution.warnings),
        "downgrades": sum(entry.get("downgrade", False) for entry in versions.values()),
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "type": change.type,
        "action": change.action,
        "package": change.package,
        "from_package": change.from_package,
        "to_package": change.to_package,
        "reason": change.reason,
        "automatic": change.automatic,
        "rule": change.rule,
        "reference": change.reference,
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "package": problem.package,
        "kind": problem.kind,
        "suggestion": problem.suggestion,
        "detail": problem.detail,
    }
