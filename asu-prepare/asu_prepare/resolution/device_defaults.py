"""An absolute list and the defaults: what became default is added, what the user removed stays removed.

A client that sends `diff_packages` says "exactly these packages". Taken literally that subtracts
every package that became default in the new release, and a device without its new switch driver has
no network. So each default of the new release that the list lacks is either *new* (it was no
default where the device comes from) and kept, or *removed by the user* (it was) and stays away, by
name.

Where the device comes from is what the client says, or what the list itself tells: the release from
whose defaults it differs least. Removing too little is a nuisance and removing too much takes a
device off the network, so a package counts as removed only if every release that explains the list
nearly as well had it as a default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .knowledge import BUILT_IN, DeviceDefaults, Knowledge
from .outcome import Change, InferredVersion, PackageRequest
from .package_changes import Rule, RuleBook
from .rule_application import change_by

# A release explains the list nearly as well as the best one if at most this many packages more
# speak against it. Measured over the devices of eight targets in three releases, with five defaults
# left out at random: 0 loses a driver now and then, 2 brings removed packages back.
MARGIN = 1
# A list that holds less than this part of any release's defaults was not made from them.
EVIDENCE = 0.5


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a list comes from: the releases that explain it, the best one first."""

    releases: tuple[DeviceDefaults, ...]
    told: InferredVersion

    def had(self, package: str) -> bool:
        """Whether the package was surely a default."""
        return all(package in release.defaults for release in self.releases)


def find_origin(request: PackageRequest, knowledge: Knowledge) -> Origin | None:
    """Return where the list comes from; None without evidence."""
    stated = request.known_origin
    known = {release.version: release for release in knowledge.earlier}
    if stated is not None and stated in known:
        return Origin((known[stated],), InferredVersion(version=stated.text, inferred=False))
    wanted = set(request.packages)
    candidates = [release for release in knowledge.earlier if release.defaults]
    universe = {name for release in candidates for name in release.defaults}
    distances = {release.version: _distance(release, wanted, universe) for release in candidates}
    # Of equals the older one: it has more to gain from what became default since.
    ranked = sorted(candidates, key=lambda release: (distances[release.version], release.version))
    if not ranked or _share(ranked[0], wanted) < EVIDENCE:
        return None
    best = ranked[0]
    releases = tuple(
        release
        for release in ranked
        if distances[release.version] - distances[best.version] <= MARGIN
    )
    found = sum(name in wanted for name in best.defaults)
    evidence = f"The list holds {found} of the {len(best.defaults)} default packages of {best.version} for this device, more like it than any other."
    return Origin(
        releases, InferredVersion(version=best.version.text, inferred=True, evidence=evidence)
    )


def _distance(release: DeviceDefaults, wanted: set[str], universe: set[str]) -> int:
    """Return how many packages speak against a release: its defaults that the list lacks, other releases' that it holds."""
    missing = sum(name not in wanted for name in release.defaults)
    foreign = sum(name in wanted for name in universe if name not in release.defaults)
    return missing + foreign


def _share(release: DeviceDefaults, wanted: set[str]) -> float:
    return sum(name in wanted for name in release.defaults) / len(release.defaults)


@dataclass(frozen=True, slots=True)
class Settlement:
    """Makes an absolute list explicit, recording each change and each veto that has an effect as it goes."""

    request: PackageRequest
    knowledge: Knowledge
    defaults: DeviceDefaults
    origin: Origin | None
    rules: RuleBook
    changes: list[Change]
    ignored: list[str]

    def settle(self, packages: Iterable[str]) -> list[str]:
        """Return the packages with what became default added and what the user removed as `-name`."""
        ended = self._ended()
        kept = (
            [name for name in packages if name not in ended or self._is_kept(name)]
            if ended
            else list(packages)
        )
        present = set(kept)
        missing = [
            name
            for name in self.defaults.defaults
            if name not in present and f"-{name}" not in present
        ]
        additions = {
            name: rule
            for rule in self.rules.additions_for(
                target=self.request.target, profile=self.request.profile
            )
            for name in rule.add
        }
        added, removed, succeeded = [], [], {}
        variants = self.rules.variants(kept)
        for name in missing:
            rival = self.rules.rival(name, variants)
            absence = self._absence(name, rival, additions)
            if absence is not None:
                removed += self._take_away(name, absence)
            elif rival is not None and rival not in succeeded:
                succeeded[rival] = name
                self._record_succession(rival, name)
            else:
                added.append(name)
                self._record_addition(name, additions.get(name))
        if succeeded:
            kept = [succeeded.get(name, name) for name in kept]
        return [*kept, *added, *removed]

    def _absence(self, name: str, rival: str | None, additions: Mapping[str, Rule]) -> str | None:
        """Return why a default that the list lacks stays away; None if it is to be added."""
        if self.origin is None:
            return "The list does not hold it."
        if self.origin.had(name):
            return (
                f"{rival}, which the list holds, takes its place."
                if rival is not None
                else "removed by the user before the upgrade"
            )
        if rival is not None and (rival in self.defaults.defaults or not self.origin.had(rival)):
            return f"{rival}, which the list holds, takes its place."
        rule = additions.get(name)
        for change in (f"new-default-{name}", rule.id if rule else ""):
            if change in self.request.ignored_changes:
                self.ignored.append(change)
                return "The request asks to ignore that it became a default package."
        return None

    def _take_away(self, name: str, absence: str) -> list[str]:
        """Return the removal of a default, or nothing if the request does not want it taken away."""
        change = f"absent-{name}"
        if change in self.request.ignored_changes:
            self.ignored.append(change)
            return []
        self.changes.append(_removal(change, name, absence))
        return [f"-{name}"]

    def _record_succession(self, old: str, name: str) -> None:
        """Record that a default gave way to another variant of the same program; the device cannot hold both."""
        reason = f"{name} took the place of {old} as a default package of this device in {self.defaults.version.branch}."
        rule = f"new-default-{name}"
        self.changes.append(
            Change(
                type="migration",
                action="replace",
                package=old,
                from_package=old,
                to_package=name,
                reason=reason,
                rule=rule,
            )
        )

    def _record_addition(self, name: str, rule: Rule | None) -> None:
        if rule is not None:
            self.changes.append(change_by("addition", "add", name, rule, to_package=name))
            return
        reason = (
            f"{name} is a new default package of this device in {self.defaults.version.branch}."
        )
        self.changes.append(
            Change(
                type="addition",
                action="add",
                package=name,
                to_package=name,
                reason=reason,
                rule=f"new-default-{name}",
            )
        )

    def _ended(self) -> set[str]:
        """Return the packages that were there only as defaults, are none any more and do not exist any more."""
        index = self.knowledge.index
        if self.origin is None or index is None or not index.complete or self.request.feeds:
            return set()
        no_more = self.origin.releases[0].defaults.keys() - self.defaults.defaults.keys() - BUILT_IN
        return no_more - index.versions_of(no_more).keys()

    def _is_kept(self, name: str) -> bool:
        """Whether the request wants to keep a package that has ended; else it is dropped, and that recorded."""
        change = f"gone-default-{name}"
        if change in self.request.ignored_changes:
            self.ignored.append(change)
            return True
        old = self.origin.releases[0].version if self.origin else ""
        reason = f"{name} was a default package in {old} and does not exist in {self.defaults.version} any more."
        self.changes.append(_removal(change, name, reason))
        return False


def _removal(change: str, name: str, reason: str) -> Change:
    return Change(
        type="removal", action="remove", package=name, from_package=name, reason=reason, rule=change
    )
