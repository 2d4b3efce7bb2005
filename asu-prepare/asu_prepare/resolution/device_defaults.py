"""Compares an absolute list with the device's default packages.

A default that the list lacks is either new, then it is added, or the user removed it, then it stays
away. The old release is the stated one, or that whose defaults differ least from the list. Removing
too much takes a device off the network, so every release that explains the list must agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .knowledge import BUILT_IN, DeviceDefaults, Knowledge
from .outcome import Change, InferredVersion, PackageRequest
from .package_changes import Rule, RuleBook

# How many more packages may speak against a release than against the best one. Measured over the
# devices of eight targets in three releases, with five defaults left out at random: with 0 a driver
# is lost now and then, with 2 removed packages come back.
MARGIN = 1
# A list that holds less than this part of any release's defaults was not made from them.
EVIDENCE = 0.5


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a list comes from: the releases that explain it, best first; `unseen` of Knowledge."""

    releases: tuple[DeviceDefaults, ...]
    version: InferredVersion
    unseen: tuple[DeviceDefaults, ...] | None = None

    def had(self, package: str) -> bool:
        """Whether the package was surely a default."""
        return not self.is_unexplained(package) and all(
            package in release.defaults for release in self.releases
        )

    def is_unexplained(self, package: str) -> bool:
        """Whether no older release knows the device, nor the package as a default of its target."""
        if self.unseen is None:
            return False
        return not self.unseen or not all(package in one.defaults for one in self.unseen)


def find_origin(request: PackageRequest, knowledge: Knowledge) -> Origin | None:
    """Return where the list comes from; None without evidence."""
    stated = request.known_origin
    there = tuple(release for release in knowledge.earlier if release.version == stated)
    if stated is not None and there:
        return Origin(there, InferredVersion(stated.text, inferred=False))
    unseen = knowledge.unseen
    if stated is not None and unseen is not None and not knowledge.earlier:
        return Origin((), InferredVersion(stated.text, inferred=False), unseen)
    wanted = set(request.packages)
    candidates = [release for release in knowledge.earlier if release.defaults]
    universe = {name for release in candidates for name in release.defaults}
    distances = {
        # The release's defaults that the list lacks, and other releases' that it holds.
        id(release): sum(name not in wanted for name in release.defaults)
        + sum(name in wanted for name in universe if name not in release.defaults)
        for release in candidates
    }
    # Of equals the older one: it has more to gain from what became default since.
    ranked = sorted(candidates, key=lambda release: (distances[id(release)], release.version))
    if not ranked:
        return None
    best = ranked[0]
    found, total = sum(name in wanted for name in best.defaults), len(best.defaults)
    if found / total < EVIDENCE:
        return None
    limit = distances[id(best)] + MARGIN
    evidence = (
        f"The list holds {found} of the {total} default packages of {best.version} for this "
        "device, more like it than any other."
    )
    return Origin(
        tuple(release for release in ranked if distances[id(release)] <= limit),
        InferredVersion(best.version.text, inferred=True, evidence=evidence),
        unseen,
    )


@dataclass(frozen=True, slots=True)
class AbsoluteList:
    """Makes an absolute list explicit; records each change, and each ignored one, as it goes."""

    request: PackageRequest
    knowledge: Knowledge
    defaults: DeviceDefaults
    origin: Origin | None
    rules: RuleBook
    changes: list[Change]
    ignored: list[str]
    unexplained: list[str]

    def explicit(self, packages: Iterable[str]) -> list[str]:
        """Return the packages with new defaults added and removed defaults as `-name`."""
        ended = self._ended()
        kept = [name for name in packages if name not in ended or self._is_kept(name)]
        present = set(kept)
        missing = [
            name
            for name in self.defaults.defaults
            if name not in present and f"-{name}" not in present
        ]
        by_rule = {
            name: rule
            for rule in self.rules.additions_for(
                target=self.request.target, profile=self.request.profile
            )
            for name in rule.add
        }
        added, removed, successors = [], [], {}
        variants = self.rules.variants(kept)
        for name in missing:
            rival = self.rules.rival(name, variants)
            absence = self._absence(name, rival, by_rule)
            if absence is not None:
                change = f"absent-{name}"
                if not self._is_ignored(change):
                    self.changes.append(Change.removed(name, absence, change))
                    removed.append(f"-{name}")
            elif rival is not None and rival not in successors:
                successors[rival] = name
                self._record_succession(rival, name)
            else:
                added.append(name)
                self._record_addition(name, by_rule.get(name))
                if self.origin and self.origin.is_unexplained(name):
                    self.unexplained.append(name)
        return [*(successors.get(name, name) for name in kept), *added, *removed]

    def _absence(self, name: str, rival: str | None, by_rule: Mapping[str, Rule]) -> str | None:
        """Return why a default that the list lacks stays away; None if it is to be added."""
        if self.origin is None:
            return "The list does not hold it."
        replaced = f"{rival}, which the list holds, takes its place."
        if self.origin.had(name):
            return replaced if rival else "removed by the user before the upgrade"
        if rival is not None and (rival in self.defaults.defaults or not self.origin.had(rival)):
            return replaced
        rule = by_rule.get(name)
        for change in (f"new-default-{name}", rule.id if rule else ""):
            if self._is_ignored(change):
                return "The request asks to ignore that it became a default package."
        return None

    def _is_ignored(self, change: str) -> bool:
        if change not in self.request.ignored_changes:
            return False
        self.ignored.append(change)
        return True

    def _record_succession(self, old: str, name: str) -> None:
        reason = (
            f"{name} took the place of {old} as a default package of this device in "
            f"{self.defaults.version.branch}."
        )
        self.changes.append(Change.replaced(old, name, reason, f"new-default-{name}"))

    def _record_addition(self, name: str, rule: Rule | None) -> None:
        if rule is not None:
            change = Change.added(name, rule.reason, rule.id, rule.source)
        else:
            branch = self.defaults.version.branch
            reason = f"{name} is a new default package of this device in {branch}."
            change = Change.added(name, reason, f"new-default-{name}")
        self.changes.append(change)

    def _ended(self) -> set[str]:
        """Return the old defaults that are no defaults and do not exist any more."""
        index = self.knowledge.index
        if index is None or not index.complete or self.request.feeds:
            return set()
        if self.origin is None or not self.origin.releases:
            return set()
        old = self.origin.releases[0].defaults
        no_more = old.keys() - self.defaults.defaults.keys() - BUILT_IN
        return no_more - index.versions_of(no_more).keys()

    def _is_kept(self, name: str) -> bool:
        """Whether the request keeps a package that has ended; else its removal is recorded."""
        change = f"gone-default-{name}"
        if self._is_ignored(change):
            return True
        old = self.origin.releases[0].version if self.origin else ""
        reason = (
            f"{name} was a default package in {old} and does not exist in "
            f"{self.defaults.version} any more."
        )
        self.changes.append(Change.removed(name, reason, change))
        return False
