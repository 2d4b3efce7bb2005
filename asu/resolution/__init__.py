"""The decision core: which packages a request leads to, what changes and why, and its identity.

Pure standard library, no input or output but the rule file beside it, frozen values only. Both
services carry a byte-identical copy (`make sync-resolution`; a contract test compares them), so a
preview and a build cannot disagree.

`versions`             one total order over releases, candidates, branches and snapshots
`package_changes`      the rules of `package_changes.toml`
`rule_application`     takes packages through the rules between the old and the new version
`metadata`             reads the downloads server's documents
`opkg_index`, `apk_index`  read the package managers' own indexes into the values of `package_feed`
`knowledge`            the facts of these documents: default packages, package indexes
`device_defaults`      compares an absolute list with the defaults
`existence`            names that do not exist, and packages that exclude one another
`package_resolution`   all of these in their order
`documents`            how a service hands out these documents
`device_history`       finds a device in older releases, under other names and in other targets
`gathering`            looks up what a decision needs, through the service's own client, and decides
`preview`              the answer as clients receive it
`outcome`              the values that go in and come out
`feeds`                addresses and public keys of a request's own package feeds
`request_hash`         the canonical form of a resolved request and its SHA-256
"""

from .documents import DocumentMissingError, Documents, DocumentUnavailableError
from .feeds import FeedKey, FeedUrl, InvalidFeedError
from .gathering import Gatherer
from .knowledge import NOTHING_KNOWN, DeviceDefaults, Knowledge, PackageIndex
from .metadata import (
    AmbiguousProfileError,
    Releases,
    TargetProfiles,
    UnknownProfileError,
    directory,
    overview_path,
    profiles_path,
    read_json,
    targets_path,
)
from .outcome import Change, InferredVersion, PackageRequest, Problem, Resolution
from .package_changes import Rule, RuleBook, load_rules
from .package_resolution import resolve
from .preview import package_request, preview, resolved_fields
from .request_hash import (
    canonical_request,
    normalised_profile,
    normalised_request,
    ordered_packages,
    request_hash,
)
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
    "ordered_packages",
    "overview_path",
    "package_request",
    "preview",
    "profiles_path",
    "read_json",
    "request_hash",
    "resolve",
    "resolved_fields",
    "targets_path",
]
