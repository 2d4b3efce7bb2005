"""The values of a resolution: what goes in and what comes out, all frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRequest:
    """The part of a request that a resolution needs.

    `packages` holds names to install and `-names` to take away, in the user's order, each once;
    with `diff_packages` it is absolute: what is not in it is not wanted. `packages_versions` are
    the versions that the image must have. `ignored_changes` are ids of unwanted changes. `feeds`
    names the request's own package feeds, which may hold packages that no index holds.
    """

    version: Version
    target: str
    profile: str
    packages: tuple[str, ...]
    packages_versions: Mapping[str, str] = field(default_factory=dict)
    diff_packages: bool = False
    from_version: Version | None = None
    ignored_changes: frozenset[str] = frozenset()
    feeds: tuple[str, ...] = ()
    replaces_feeds: bool = False
    leave_out_missing: bool = False

    @property
    def known_origin(self) -> Version | None:
        """The version that the device runs, if the request states one that means something.

        From a snapshot to the snapshot of the same name means nothing: its content has changed.
        """
        old = self.from_version
        return None if old is not None and old.is_snapshot and old == self.version else old


AUTOMATIC = True  # The prepared request holds each change already.


class Change(NamedTuple):
    """One difference between what was asked for and what the ImageBuilder will be asked for."""

    type: Literal["migration", "addition", "removal"]
    action: Literal["replace", "add", "remove"]
    package: str
    from_package: str | None
    to_package: str | None
    reason: str
    automatic: bool
    rule: str
    reference: str | None

    @staticmethod
    def replaced(
        old: str, new: str, reason: str, rule: str, reference: str | None = None
    ) -> Change:
        """Return the replacement of one package by another."""
        return Change("migration", "replace", old, old, new, reason, AUTOMATIC, rule, reference)

    @staticmethod
    def added(name: str, reason: str, rule: str, reference: str | None = None) -> Change:
        """Return the addition of a package."""
        return Change("addition", "add", name, None, name, reason, AUTOMATIC, rule, reference)

    @staticmethod
    def removed(name: str, reason: str, rule: str, reference: str | None = None) -> Change:
        """Return the removal of a package."""
        return Change("removal", "remove", name, name, None, reason, AUTOMATIC, rule, reference)


class Problem(NamedTuple):
    """A wanted package that cannot be had."""

    package: str
    kind: Literal[
        "unknown", "removed", "renamed", "conflict", "elsewhere", "missing-dependency", "version"
    ]
    suggestion: str | None
    detail: str


class InferredVersion(NamedTuple):
    """The version that the device runs, as the client stated it or as it was inferred."""

    version: str
    inferred: bool
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The outcome: packages, changes in the order of their application, and what users should know.

    Unless every name was looked up (`checked`), no package counts as missing. `versions` are those
    of the packages to install, as far as indexes have them; `ignored` are changes left out.
    `missing` are the problems of names that no index has, also where a feed of the request may have
    them; with `is_certain`, nobody has these packages. `documents` are the paths of the documents
    that say so.
    """

    packages: tuple[str, ...]
    packages_versions: Mapping[str, str]
    diff_packages: bool
    changes: tuple[Change, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    from_version: InferredVersion | None = None
    checked: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    missing: tuple[Problem, ...] = ()
    is_certain: bool = False
    documents: tuple[str, ...] = ()

    @property
    def has_unknown(self) -> bool:
        """Whether a package is missing, or was left out, for no reason that the index shows."""
        kinds = {problem.kind for problem in self.missing}
        return "unknown" in kinds or any(one.rule.startswith("missing-") for one in self.changes)

    def why(self, package: str) -> str | None:
        """Return why a package (or `-name`) was changed; None if it was not."""
        for change in self.changes:
            if package in (change.package, change.to_package):
                return change.reason
        return None
