"""The decision core: which packages a request leads to, what changes and why, and the one identity of the result.

Pure standard library, no input or output but the rule file beside it, frozen values only. Both services carry a
byte-identical copy of this package (`make sync-resolution`; a contract test compares them), so that a preview and a
build can never disagree.

`versions`             one total order over releases, candidates, branches and snapshots
`package_changes`      the rules of `package_changes.toml`: what was replaced, added or removed, since when and why
`package_resolution`   applies the rules that lie between the old and the new version and records each change
`request_hash`         the canonical form of a resolved request and its SHA-256
"""

from .package_changes import Rule, RuleBook, load_rules
from .package_resolution import Change, InferredVersion, PackageRequest, Problem, Resolution, resolve
from .request_hash import canonical_request, normalised_profile, normalised_request, request_hash
from .versions import InvalidVersionError, Version

__all__ = [
    "Change",
    "InferredVersion",
    "InvalidVersionError",
    "PackageRequest",
    "Problem",
    "Resolution",
    "Rule",
    "RuleBook",
    "Version",
    "canonical_request",
    "load_rules",
    "normalised_profile",
    "normalised_request",
    "request_hash",
    "resolve",
]
