"""The preview of a build request: what it leads to and why, as a plain mapping that is the answer's JSON.

Built by hand from the frozen values of the decision core: a model per answer would cost more than the decision.
"""

from collections.abc import Mapping
from typing import Any

from .resolution import Change, PackageRequest, Problem, Resolution, RuleBook, Version, normalised_request, request_hash, resolve


def preview(request: Mapping[str, Any], rules: RuleBook) -> dict[str, Any]:
    """Return the preview of a complete, valid request; equal requests lead to equal previews.

    `original_packages` is what the client asked for, in its own order, each once; where it sent versions alone, their names.
    """
    wanted = normalised_request(request)
    resolution = resolve(_package_request(wanted), rules)
    prepared = {
        **wanted,
        "packages": list(resolution.packages),
        "packages_versions": dict(resolution.packages_versions),
        "diff_packages": resolution.diff_packages,
        "ignored_changes": list(wanted["ignored_changes"]),
    }
    return {
        "status": "prepared",
        "original_packages": wanted["packages"],
        "original_diff_packages": wanted["diff_packages"],
        "resolved_packages": prepared["packages"],
        **_findings(resolution),
        "resolved_profile": wanted["profile"],
        "prepared_request": prepared,
        "request_hash": request_hash(prepared),
    }


def _package_request(wanted: Mapping[str, Any]) -> PackageRequest:
    return PackageRequest(
        version=Version.parse(wanted["version"]),
        target=wanted["target"],
        profile=wanted["profile"],
        packages=tuple(wanted["packages"]),
        packages_versions=wanted["packages_versions"],
        diff_packages=wanted["diff_packages"],
        from_version=Version.parse(wanted["from_version"]) if wanted["from_version"] else None,
    )


def _findings(resolution: Resolution) -> dict[str, Any]:
    stated = resolution.from_version
    return {
        "changes": [_change(change) for change in resolution.changes],
        "problems": [_problem(problem) for problem in resolution.problems],
        "warnings": list(resolution.warnings),
        "checked": resolution.checked,
        "from_version": {"version": stated.version, "inferred": stated.inferred, "evidence": stated.evidence} if stated else None,
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
    return {"package": problem.package, "kind": problem.kind, "suggestion": problem.suggestion, "detail": problem.detail}
