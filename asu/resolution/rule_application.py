"""Takes a request's packages through the rules, from the device's version to the wanted one.

A rule changes a name only if the user cannot have meant it: it does not exist in the wanted
release, or the device comes from before the rule. No rule undoes `-name`; the removal follows its
package: `-wpad-basic-wolfssl` becomes `-wpad-basic-mbedtls`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .knowledge import BUILT_IN, Knowledge, is_library, without_abi
from .outcome import Change, PackageRequest
from .package_changes import Rule, RuleBook
from .versions import Version

# A chain of replacements is as long as the releases it crosses. Rules in a circle would never end.
MAX_REPLACEMENTS = 32
# What became of a package: its last name (None if it was removed), and the steps that led there.
Fate = tuple[str | None, Sequence[Change]]


@dataclass(frozen=True, slots=True)
class RuleApplication:
    """Applies the rules to one request.

    `versions` are those of packages in the index; `origins`: the device surely runs one of these.
    """

    request: PackageRequest
    rules: RuleBook
    knowledge: Knowledge
    versions: Mapping[str, str]
    origins: tuple[Version, ...]
    _refused: set[str] = field(default_factory=set)
    _fates: dict[str, Fate] = field(default_factory=dict)

    def packages(self, changes: list[Change]) -> list[str]:
        """Return the packages after all replacements and removals, and record each change."""
        entries, wanted = self.request.packages, set(self.request.packages)
        self._refused.update([entry[1:] for entry in entries if entry[0] == "-"])
        names = self.rules.concerned(wanted | self._refused) | self._old_interfaces()
        fates = self._fates
        fates.update({name: fate for name in names if (fate := self._follow(name))[1]})
        if not fates:
            return list(entries)
        arriving = wanted - fates.keys()
        arriving |= {final for name, (final, _) in fates.items() if final and name in wanted}
        concerned = {f"-{name}" for name in fates} | fates.keys()
        kept: dict[str, None] = {}
        for entry in entries:
            if entry not in concerned:
                kept[entry] = None
                continue
            is_removal = entry[0] == "-"
            name = entry[1:] if is_removal else entry
            final, steps = fates[name]
            if final is not None:
                # The request may take the new name away: then the old one goes and nothing comes.
                # Or a removal would hit a package that the user wants: then it ends here.
                clashes = final in arriving and name not in wanted
                if clashes if is_removal else final in self._refused:
                    what = "asks for" if is_removal else "takes away"
                    final, steps = None, [_ended(name, steps[-1], what)]
            changes += map(_of_removal, steps) if is_removal else steps
            new = f"-{final}" if is_removal else final
            # A name that the list holds itself keeps its own place.
            if final is not None and new is not None and (final == name or new not in wanted):
                kept[new] = None
        return list(kept)

    def promised_versions(self, packages: Sequence[str], gone: Container[str]) -> dict[str, str]:
        """Return the promised versions, without those of names that were replaced or are `gone`.

        Without packages there are none: versions alone would mean that their names are wanted.
        """
        if not packages:
            return {}
        promised = self.request.packages_versions
        replaced = {
            name
            for name in self.rules.concerned(promised.keys())
            if (self._fates.get(name) or self._follow(name))[1]
        }
        return {
            name: version
            for name, version in promised.items()
            if name not in gone and name not in replaced
        }

    def add_new(self, packages: list[str], changes: list[Change]) -> None:
        """Append what the rules add for the device, unless the list has it or takes it away."""
        request, present = self.request, set(packages)
        for rule in self.rules.additions_for(target=request.target, profile=request.profile):
            if rule.id in request.ignored_changes or not self._is_crossed(rule):
                continue
            for name in rule.add:
                if name not in present and f"-{name}" not in present:
                    present.add(name)
                    packages.append(name)
                    changes.append(Change.added(name, rule.reason, rule.id, rule.source))

    def ignored(self) -> Iterable[str]:
        """Yield the rules that the request left out and that would have had an effect."""
        request = self.request
        if not request.ignored_changes:
            return
        wanted = set(request.packages)
        names = sorted(self.rules.concerned({name.removeprefix("-") for name in wanted}))
        additions = self.rules.additions_for(target=request.target, profile=request.profile)
        rules = [(rule, name) for name in names for rule in self.rules.rules_for(name)]
        for rule, name in [*rules, *((rule, "") for rule in additions)]:
            if rule.id in request.ignored_changes and (
                self._is_due(rule, name)
                if name
                else self._is_crossed(rule) and not wanted.issuperset(rule.add)
            ):
                yield rule.id

    def _follow(self, name: str) -> Fate:
        steps: list[Change] = []
        while len(steps) < MAX_REPLACEMENTS:
            step = self._step(name)
            if step is None:
                break
            steps.append(step)
            if step.to_package is None:
                return None, steps
            name = step.to_package
        return name, steps

    def _step(self, name: str) -> Change | None:
        """Return what the first rule that applies makes of a package, or its ABI."""
        for rule in self.rules.rules_for(name):
            if rule.id not in self.request.ignored_changes and self._is_due(rule, name):
                new = rule.successor_of(name)
                if new is None:
                    return Change.removed(name, rule.reason, rule.id, rule.source)
                return Change.replaced(name, new, rule.reason, rule.id, rule.source)
        plain, change = without_abi(name), f"abi-{name}"
        if plain == name or change in self.request.ignored_changes:
            return None
        if self._exists(name) is False and self._exists(plain):
            reason = (
                f"{name} names one version of a library's interface (ABI); {plain} is the library "
                f"in whatever version {self.request.version} has."
            )
            return Change.replaced(name, plain, reason, change)
        return None

    def _old_interfaces(self) -> set[str]:
        """Return the wanted libraries that the index does not hold."""
        if self.knowledge.index is None or not self.knowledge.index.complete or self.request.feeds:
            return set()
        return set(filter(is_library, set(self.request.packages) - self.versions.keys()))

    def _is_due(self, rule: Rule, name: str) -> bool:
        """Whether the user cannot have meant a name that the rule replaces or removes."""
        request = self.request
        if not rule.holds_for(
            target=request.target, profile=request.profile
        ) or not rule.lies_between(None, request.version):
            return False
        exists = self._exists(name)
        if exists is False:
            return True
        if rule.successor_of(name) in self._refused:
            return False
        # Where nobody knows whether the name exists, the rule is believed.
        return self._is_crossed(rule) if exists is None else self._comes_from_before(rule)

    def _is_crossed(self, rule: Rule) -> bool:
        """Whether the rule lies between the stated version, if any, and the wanted one."""
        return rule.lies_between(self.request.from_version, self.request.version)

    def _comes_from_before(self, rule: Rule) -> bool:
        """Whether the device surely runs a version from before the rule."""
        stated = self.request.from_version
        versions = self.origins if stated is None else (stated,)
        return bool(versions) and all(
            rule.since is not None and version < rule.since and not version.is_development
            for version in versions
        )

    def _exists(self, name: str) -> bool | None:
        """Whether a package exists in the wanted release for this target; None if unknown."""
        knowledge = self.knowledge
        defaults = knowledge.defaults.defaults if knowledge.defaults else ()
        if name in self.versions or name in defaults or name in BUILT_IN:
            return True
        if knowledge.index is None:
            return None
        if knowledge.index.version_of(name) is not None:
            return True
        return False if knowledge.index.complete and not self.request.feeds else None


def _ended(name: str, last: Change, what: str) -> Change:
    """Return the removal that stands for a replacement whose new name the request decides about."""
    reason = f"{last.reason} The request {what} {last.to_package} itself."
    return Change.removed(name, reason, last.rule, last.reference)


def _of_removal(change: Change) -> Change:
    """Return the change as one of `-name`."""
    return change._replace(
        package=f"-{change.package}",
        from_package=f"-{change.from_package}",
        to_package=f"-{change.to_package}" if change.to_package else None,
    )
