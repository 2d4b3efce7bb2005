"""How the stand-in apk selects packages, and how it explains that it cannot.

The genuine solver searches; here the newest package that fits is taken at once, which gives the
same answer unless several versions of one package lie in the feeds and only an older one fits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .standin_index import Dependency, Package, compare_versions

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass
class Explanation:
    """Why no selection is possible: entries as apk prints them, and how many errors apk would
    count.
    """

    missing: dict[str, list[str]] = field(default_factory=dict)
    entries: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    virtual: dict[str, list[str]] = field(default_factory=dict)
    providers: dict[str, list[str]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """All lines below `ERROR: unable to select packages:`."""
        lines = []
        for name, requirers in self.missing.items():
            lines += [f"  {name} (no such package):", *_aligned("    required by: ", requirers)]
        for name, requirers in self.virtual.items():
            lines += [
                f"  {name} (virtual):",
                "    note: please select one of the 'provided by' packages explicitly",
                *_aligned("    provided by: ", [" ".join(self.providers[name])]),
                *_aligned("    required by: ", requirers),
            ]
        return lines + self.entries

    @property
    def errors(self) -> int:
        """The exit code of apk: each entry, and each package that cannot be had because of one."""
        entries = sum(1 for line in self.entries if not line.startswith("    "))
        return min(len(self.missing) + len(self.virtual) + entries + len(self.broken), 255)


def _aligned(label: str, words: list[str]) -> list[str]:
    return [
        f"{label if number == 0 else ' ' * len(label)}{word}" for number, word in enumerate(words)
    ]


class Solver:
    """Selects packages for a world, which is the list of what was asked for."""

    def __init__(self, available: Iterable[Package]) -> None:
        self.by_name: dict[str, list[Package]] = {}
        for package in available:
            for name in {package.name, *(provided.name for provided in package.provides)}:
                self.by_name.setdefault(name, []).append(package)
        self.selected: dict[str, Package] = {}
        self.order: list[Package] = []
        self.reasons: dict[str, list[str]] = {}
        self.why = Explanation()
        # What only packages provide that apk does not choose by itself, and what needs it.
        self._later: list[tuple[Dependency, str]] = []

    def solve(self, world: Iterable[Dependency]) -> Explanation:
        """Select all that the world needs, dependencies first; `order` and `selected` hold the
        result.
        """
        wanted = sorted(set(world), key=lambda need: need.name)
        unwanted = [need for need in wanted if need.name.startswith("!")]
        needs = [need for need in wanted if not need.name.startswith("!")]
        self._prefer = {need.name for need in needs}
        for need in needs:
            self._require(need, f"world[{need.apk()}]", None)
        # What only one package can be is settled first; it may be what others need, too.
        for need in sorted(needs, key=lambda need: len(self._candidates(need)) > 1):
            self._select(need, f"world[{need.apk()}]")
        while self._later:
            need, requirer = self._later.pop()
            if not any(package.name in self.selected for package in self._candidates(need)):
                self.why.virtual.setdefault(need.name, []).append(requirer)
                self.why.providers[need.name] = [other.name for other in self._candidates(need)]
        self._find_conflicts(unwanted)
        return self.why

    def _candidates(self, need: Dependency) -> list[Package]:
        return [package for package in self.by_name.get(need.name, []) if package.satisfies(need)]

    def _best(self, candidates: list[Package], need: Dependency) -> Package:
        """Choose one that is there or was asked for, then the newest under that name, by priority,
        the first.
        """
        best = candidates[0]
        for package in candidates[1:]:
            order = self._age(package, best, need.name)
            if (*self._rank(package), order, self._priority(package)) > (
                *self._rank(best),
                0,
                self._priority(best),
            ):
                best = package
        return best

    def _rank(self, package: Package) -> tuple[bool, bool]:
        return package.name in self.selected, self._is_wanted(package)

    @staticmethod
    def _priority(package: Package) -> int:
        return int(package.fields.get("Priority", 0))

    @staticmethod
    def _age(package: Package, best: Package, name: str) -> int:
        """Compare the versions that two packages have under a name, then their own if they are
        one.
        """
        versions = [
            (
                one.version
                if one.name == name
                else next((other.version for other in one.provides if other.name == name), "")
            )
            for one in (package, best)
        ]
        order = compare_versions(*versions) if all(versions) else 0
        if order or package.name != best.name:
            return order
        return compare_versions(package.version, best.version)

    def _is_wanted(self, package: Package) -> bool:
        """Whether the package was asked for by its own name."""
        return package.name in self._prefer

    @staticmethod
    def _is_versioned(package: Package, name: str) -> bool:
        return package.name == name or any(
            provided.name == name and provided.version for provided in package.provides
        )

    def _is_choosable(self, package: Package, name: str) -> bool:
        """Whether apk takes a package for a name by itself: not where that has neither version nor
        priority.
        """
        return (
            package.name in self.selected
            or self._is_wanted(package)
            or self._is_versioned(package, name)
            or "Priority" in package.fields
        )

    def _require(self, need: Dependency, requirer: str, broken: str | None) -> bool:
        """Whether something fits; otherwise note why not."""
        if self._candidates(need):
            return True
        others = self.by_name.get(need.name, [])
        if others:
            self.why.entries += [f"  {others[0].identity}:", f"    breaks: {requirer}"]
        else:
            self.why.missing.setdefault(need.name, []).append(requirer)
        if broken:
            self.why.broken.add(broken)
        return False

    def _select(self, need: Dependency, why: str) -> None:
        known = self._candidates(need)
        candidates = [package for package in known if self._is_choosable(package, need.name)]
        if not candidates:
            self._later += [(need, why)] if known else []
            return
        package = self._best(candidates, need)
        if package.name in self.selected:
            return
        self.selected[package.name] = package
        for dependency in sorted(package.depends, key=lambda other: other.name):
            requirer = f"{package.identity}[{dependency.apk()}]"
            if not dependency.name.startswith("!") and self._require(
                dependency, requirer, package.name
            ):
                self._select(dependency, requirer)
        self.order.append(package)

    def _satisfied_by(self, package: Package) -> list[str]:
        """Who wants this package, in the words of the error message."""
        names = {package.name, *(provided.name for provided in package.provides)}
        found = [f"world[{name}]" for name in sorted(names & self._prefer)]
        for other in self.selected.values():
            found += [
                f"{other.identity}[{need.apk()}]"
                for need in other.depends
                if need.name in names and other is not package
            ]
        return found

    def _find_conflicts(self, unwanted: list[Dependency]) -> None:
        for need in unwanted:
            conflict = Dependency(need.name.removeprefix("!"), need.op, need.version)
            for package in [
                package for package in self.selected.values() if package.satisfies(conflict)
            ]:
                self._explain(package, "breaks", [f"world[{need.apk()}]"], package.name)
        explained: set[frozenset[str]] = set()
        self._find_shared_names(explained)
        for package in sorted(self.selected.values(), key=lambda package: package.name):
            forbidden = [
                *package.conflicts,
                *(
                    Dependency(d.name[1:], d.op, d.version)
                    for d in package.depends
                    if d.name.startswith("!")
                ),
            ]
            for conflict in forbidden:
                for other in [
                    other
                    for other in self.selected.values()
                    if other.name != package.name and other.satisfies(conflict)
                ]:
                    pair = frozenset((package.name, other.name))
                    if pair not in explained:
                        explained.add(pair)
                        self._explain_conflict(package, other, conflict)

    def _find_shared_names(self, explained: set[frozenset[str]]) -> None:
        """Two packages may not have one name with a version."""
        owners: dict[str, list[Package]] = {}
        for package in sorted(self.selected.values(), key=lambda package: package.name):
            for name in {package.name, *(provided.name for provided in package.provides)}:
                owners.setdefault(name, []).append(package)
        for name, packages in sorted(owners.items()):
            for number, one in enumerate(packages):
                for other in packages[number + 1 :]:
                    pair = frozenset((one.name, other.name))
                    versioned = self._is_versioned(one, name) or self._is_versioned(other, name)
                    if versioned and pair not in explained:
                        explained.add(pair)
                        self._explain_conflict(one, other, Dependency(name))

    def _explain_conflict(self, package: Package, other: Package, conflict: Dependency) -> None:
        """Variants that provide one name exclude each other by that name; any other pair by the
        conflict itself.
        """
        shared = {provided.name for provided in package.provides if provided.version} & {
            provided.name for provided in other.provides if provided.version
        }
        if shared:
            words = [f"{other.identity}[{name}={other.version}]" for name in sorted(shared)]
            self._explain(package, "conflicts", words, other.name)
        else:
            self._explain(other, "breaks", [f"{package.identity}[!{conflict.apk()}]"], package.name)

    def _explain(self, package: Package, verb: str, words: list[str], broken: str) -> None:
        self.why.entries += [f"  {package.identity}:", *_aligned(f"    {verb}: ", words)]
        wanted = self._satisfied_by(package)
        if wanted:
            self.why.entries += _aligned("    satisfies: ", wanted)
        if broken:
            self.why.broken.add(broken)
