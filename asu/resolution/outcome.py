"""The values of a resolution: what goes in and what comes out, all frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRequest:
    """What a resolution needs to know of a request: versions, device, wanted packages.

    `packages` holds names to install and `-names` to take away, in the user's order, each once.
    `packages_versions` maps names to the versions that the finished image must have.
    `diff_packages` says that the list is absolute: what is not in it is not wanted.
    `ignored_changes` are the ids of changes that the user does not want. `feeds` names the package
    feeds that the request brings, which may hold packages that no index of OpenWrt does;
    `replaces_feeds` says that they stand in the place of OpenWrt's own.
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

    @property
    def known_origin(self) -> Version | None:
        """The version whose defaults the device came with, if the request tells.

        From a snapshot to the snapshot of the same name tells nothing: what that name means has
        moved on since.
        """
        if (
            self.from_version is not None
            and self.from_version.is_snapshot
            and self.from_version == self.version
        ):
            return None
        return self.from_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between what was asked for and what will be asked of the ImageBuilder."""

    type: Literal["migration", "addition", "removal"]
    action: Literal["replace", "add", "remove"]
    package: str
    from_package: str | None = None
    to_package: str | None = None
    reason: str
    automatic: bool = True
    rule: str
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A wanted package that cannot be had; `kind` is unknown, removed, renamed, conflict or elsewhere."""

    package: str
    kind: Literal["unknown", "removed", "renamed", "conflict", "elsewhere"]
    suggestion: str | None = None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InferredVersion:
    """The version that the device runs now, as the client said it or as it was inferred, and from what."""

    version: str
    inferred: bool
    evidence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """The outcome: packages, changes as they were applied, and what the user should know.

    `checked` says whether every name was looked up in the package indexes; without indexes there
    are no `problems` and it is False. `versions` says of each package to be installed which version
    it will have, where an index tells; `ignored` names the changes that were left out because the
    request asked for that.
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

    def why(self, package: str) -> str | None:
        """Return the reason of the change that concerns a package (`-name` for a removal); None if nothing changed it."""
        for change in self.changes:
            if package in (change.package, change.to_package):
                return change.reason
        return None
