"""The preview of a request: resolved packages, changes, and the complete request that builds exactly that.

The same answer comes from asu-prepare, which has its own copy of the decision core; this one serves where that service is
not configured, and every direct build.
"""

from dataclasses import asdict, dataclass
from typing import Any

from .catalogue import ValidatedRequest
from .resolution import PackageRequest, Resolution, RuleBook, Version, request_hash, resolve


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """A request that nothing changes any more, and its identity."""

    fields: dict[str, Any]
    key: str


def as_it_stands(request: ValidatedRequest) -> ResolvedRequest:
    """Take a validated request without applying rules: what a prepared request is built from."""
    fields = dict(request.fields)
    return ResolvedRequest(fields, request_hash(fields))


def resolve_request(request: ValidatedRequest, rules: RuleBook) -> tuple[ResolvedRequest, Resolution]:
    """Apply the rules to a validated request."""
    fields = request.fields
    from_version = fields["from_version"]
    resolution = resolve(
        PackageRequest(
            version=Version.parse(fields["version"]),
            target=fields["target"],
            profile=fields["profile"],
            packages=tuple(fields["packages"]),
            packages_versions=fields["packages_versions"],
            diff_packages=fields["diff_packages"],
            from_version=Version.parse(from_version) if from_version else None,
        ),
        rules,
    )
    resolved = {
        **fields,
        "packages": list(resolution.packages),
        "packages_versions": dict(resolution.packages_versions),
        "diff_packages": resolution.diff_packages,
    }
    return ResolvedRequest(resolved, request_hash(resolved)), resolution


def preview(request: ValidatedRequest, rules: RuleBook) -> dict[str, Any]:
    """Return the answer of prepare, without what only the build service knows."""
    resolved, resolution = resolve_request(request, rules)
    return {
        "status": "prepared",
        "original_packages": list(request.fields["packages"]),
        "original_diff_packages": request.fields["diff_packages"],
        "resolved_packages": list(resolution.packages),
        "changes": [asdict(change) for change in resolution.changes],
        "problems": [asdict(problem) for problem in resolution.problems],
        "warnings": list(resolution.warnings),
        "checked": resolution.checked,
        "from_version": asdict(resolution.from_version) if resolution.from_version else None,
        "resolved_profile": resolved.fields["profile"],
        "prepared_request": resolved.fields,
        "request_hash": resolved.key,
    }
