"""The decision core: which packages a request leads to, what changes and why, and its identity.

Pure standard library; its only input is the rule file beside it, and its values are frozen. Both
services carry a byte-identical copy (`make sync-resolution`), so preview and build cannot disagree.
"""

from .device_advice import Advice, advise, shown
from .documents import ABSENT, DocumentMissingError, Documents, DocumentUnavailableError
from .feeds import FeedKey, FeedUrl, InvalidFeedError
from .gathering import Gatherer
from .knowledge import NOTHING_KNOWN, DeviceDefaults, Knowledge, PackageIndex
from .metadata import (
    AmbiguousProfileError,
    Releases,
    TargetProfiles,
    UnknownProfileError,
    directory,
    feeds_path,
    overview_path,
    profiles_path,
    read_json,
    targets_path,
)
from .outcome import Change, InferredVersion, PackageRequest, Problem, Resolution
from .package_changes import Rule, RuleBook, RuleSource
from .package_resolution import resolve, resolve_unchanged
from .preview import package_request, preview, resolved_fields
from .request_hash import (
    canonical_request,
    normalised_profile,
    normalised_request,
    ordered_packages,
    request_hash,
)
from .request_mistakes import BROKEN_BODY, MUST_BE, WITHHELD, described, summary
from .rule_files import LOOK_SECONDS, LiveRules, load_rules
from .versions import InvalidVersionError, Version, is_older_package
