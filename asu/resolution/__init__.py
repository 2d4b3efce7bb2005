"""The decision core: which packages a request leads to, what changes and why, and the one identity of the result.

Pure standard library, no input or output but the rule file beside it, frozen values only. Both
services carry a byte-identical copy of this package (`make sync-resolution`; a contract test
compares them), so that a preview and a build can never disagree.

`versions`             one total order over releases, candidates, branches and snapshots
`package_changes`      the rules of `package_changes.toml`: what was replaced, added or removed, since when and why
`rule_application`     takes packages through the rules that lie between the old and the new version
`metadata`             the downloads server's documents, read, and where they are
`opkg_index`, `apk_index`  the package managers' own indexes, read into the values of `package_feed`
`knowledge`            what the downloads server tells: default packages of the device, package indexes
`device_defaults`      an absolute list against the defaults: what became default is kept, what the user removed stays away
`existence`            names that do not exist, and packages that exclude one another
`package_resolution`   all of these in their order; each change is recorded where it is made
`gathering`            looks up what a decision needs to know, through the service's own client, and decides
`preview`              the answer as clients receive it
`outcome`              the values that go in and come out
`feeds`, `feed_keys`   addresses and public keys of a request's own package feeds, each in one spelling
`request_hash`         the canonical form of a resolved request and its SHA-256
"""

from .feed_keys import FeedKey
from .feeds import FeedUrl, InvalidFeedError
from .gathering import DocumentMissingError, Documents, DocumentUnavailableError, Gatherer
from .knowledge import NOTHING_KNOWN, DeviceDefaults, Knowledge, PackageIndex
from .metadata import (
    AmbiguousProfileError,
    Releases,
    TargetProfiles,
    UnknownProfileError,
    directory,
    profiles_path,
    read_json,
    read_targets,
)
from .outcome import Change, InferredVersion, PackageRequest, Problem, Resolution
from .package_changes import Rule, RuleBook, load_rules
from .package_resolution import resolve
from .preview import package_request, preview, resolved_fields
from .request_hash import canonical_request, normalised_profile, normalised_request, request_hash
from .versions import InvalidVersionError, Version, is_older_package

__all__ = [
    "NOTHING_KNOWN",
    "AmbiguousProfileError",
    "Change",
    "DeviceDefaults",
    "DocumentMissingError",
    "DocumentUnavailableError",
    "Documents",
    "FeedKey",
    "FeedUrl",
    "Gatherer",
    "InferredVersion",
    "InvalidFeedError",
    "InvalidVersionError",
    "Knowledge",
    "PackageIndex",
    "PackageRequest",
    "Problem",
    "Releases",
    "Resolution",
    "Rule",
    "RuleBook",
    "TargetProfiles",
    "UnknownProfileError",
    "Version",
    "canonical_request",
    "directory",
    "is_older_package",
    "load_rules",
    "normalised_profile",
    "normalised_request",
    "package_request",
    "preview",
    "profiles_path",
    "read_json",
    "read_targets",
    "request_hash",
    "resolve",
    "resolved_fields",
]
