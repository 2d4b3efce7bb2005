"""The rules of `package_changes.toml`: what OpenWrt replaced, added or removed, and since when.

Rules are found by lookup, so a resolution costs the same however many others there are.
"""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from .versions import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One change of OpenWrt's packages, from `since` on and before `until`.

    Exactly one of `_ACTIONS` says what to do; `with_package` is the name or prefix that replaces
    the old one. `revision` is OpenWrt's rNNNNN counter; device clients receive it and `mandatory`
    in overview.json. `without` says what happens if a device has neither the old nor the new one.
    """

    id: str
    reason: str
    since: Version | None = None
    until: Version | None = None
    target: str | None = None
    profiles: frozenset[str] | None = None
    replace: str | None = None
    replace_prefix: str | None = None
    with_package: str | None = None
    remove: str | None = None
    remove_pattern: str | None = None
    add: tuple[str, ...] = ()
    revision: int | None = None
    mandatory: bool = False
    reference: str | None = None
    without: str | None = None

    @property
    def source(self) -> str | None:
        """Where OpenWrt made the change: its commits, or else the revision."""
        return self.reference or (f"r{self.revision}" if self.revision else None)

    def holds_for(self, *, target: str, profile: str) -> bool:
        """Whether this rule concerns a device."""
        return (self.target is None or self.target == target) and (
            self.profiles is None or profile in self.profiles
        )

    def successor_of(self, package: str) -> str | None:
        """Return the name that replaces a package of this rule; None if the rule removes it."""
        if self.with_package is None or self.replace:
            return self.with_package
        return self.with_package + package[len(self.replace_prefix or "") :]

    def sources(self, names: AbstractSet[str]) -> list[str]:
        """Return the plain names that this rule replaces or removes, sorted.

        Of a prefix or pattern these are the ones among `names`, and those which lead to such a one:
        of `a-*-en` also `a-b-en` where there is an `a-b-de`, and of a prefix the old name of each
        new one.
        """
        if name := self.replace or self.remove:
            return [name]
        shape, head = _shape(self), _head(self)
        found = {name for name in names if shape.match(name)}
        if new := self.with_package:
            found |= {head + name.removeprefix(new) for name in names if name.startswith(new)}
        elif tail := (self.remove_pattern or "").rpartition("-")[2]:
            others = (name.rpartition("-")[0] for name in names if name.startswith(head))
            found |= {name for other in others if shape.match(name := f"{other}-{tail}")}
        return sorted(found)

    def lies_between(self, old: Version | None, new: Version) -> bool:
        """Whether an upgrade crosses this rule; from an unknown age, it crosses all up to `new`."""
        if self.until is not None and self.until <= new:
            return False
        if self.since is None:
            return True
        return self.since <= new and (old is None or old.is_development or old < self.since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusive:
    """Variants of one program, of which an image can hold one only.

    `virtual` is a name that each of them provides and that only lists of defaults have.
    """

    id: str
    members: re.Pattern[str]
    heads: tuple[str, ...]  # The literal beginnings of the members' names.
    reason: str
    virtual: str | None = None


class RuleSource(Protocol):
    """Where rules come from; they may change from one request to the next."""

    @property
    def current(self) -> RuleBook:
        """The rules as they are now."""

    @property
    def trouble(self) -> str:
        """What is wrong with further rules, which are not in use; empty if nothing is."""


class RuleBook:
    """All rules in the order of the file, arranged for lookup by package name and by device."""

    trouble = ""

    @property
    def current(self) -> RuleBook:
        """Rules that never change."""
        return self

    def __init__(
        self,
        rules: Iterable[Rule],
        branch_off_revisions: Mapping[str, int],
        exclusives: Iterable[Exclusive] = (),
    ) -> None:
        self.rules, self.exclusives = tuple(rules), tuple(exclusives)
        self.branch_off_revisions = branch_off_revisions
        self.by_successor: dict[str, list[Rule]] = defaultdict(list)
        self.by_name: dict[str, list[Rule]] = defaultdict(list)
        self._by_place: dict[tuple[str | None, str | None], list[Rule]] = defaultdict(list)
        # Prefix and pattern rules with what they match, by its first `_head_length` characters.
        self._by_head: dict[str, list[tuple[Rule, re.Pattern[str]]]] = defaultdict(list)
        shaped = [rule for rule in self.rules if rule.replace_prefix or rule.remove_pattern]
        self._head_length = min((len(_head(rule)) for rule in shaped), default=0)
        # The first `_variant_length` characters of every name that is exclusive.
        heads = [head for exclusive in self.exclusives for head in exclusive.heads]
        self._variant_length = min(map(len, heads), default=0)
        self._variant_heads = frozenset(head[: self._variant_length] for head in heads)
        self._position = {rule.id: number for number, rule in enumerate(self.rules)}
        if len(self._position) != len(self.rules):
            ids = [rule.id for rule in self.rules]
            doubled = next(name for name in ids if ids.count(name) > 1)
            raise ValueError(f"two rules have the id {doubled!r}")
        for rule in self.rules:
            self._enter(rule)

    def _enter(self, rule: Rule) -> None:
        if rule.replace and rule.with_package:
            self.by_successor[rule.with_package].append(rule)
        if name := rule.replace or rule.remove:
            self.by_name[name].append(rule)
        elif rule.add:
            for profile in rule.profiles or (None,):
                self._by_place[rule.target, profile].append(rule)
        else:
            self._by_head[_head(rule)[: self._head_length]].append((rule, _shape(rule)))

    def concerned(self, names: AbstractSet[str]) -> set[str]:
        """Return the names that a rule replaces or removes; most names cost one lookup."""
        by_head, length = self._by_head, self._head_length
        shaped = [name for name in names if name[:length] in by_head]
        return self.by_name.keys() & names | {name for name in shaped if self.rules_for(name)}

    def rules_for(self, package: str) -> Sequence[Rule]:
        """Return the rules that replace or remove a package, in the order of the file."""
        named, shaped = (
            self.by_name.get(package, ()),
            self._by_head.get(package[: self._head_length]),
        )
        if shaped is None:
            return named
        return self._in_order([*named, *(rule for rule, shape in shaped if shape.match(package))])

    def additions_for(self, *, target: str, profile: str) -> list[Rule]:
        """Return the rules that add packages to a device, in the order of the file."""
        places = ((None, None), (None, profile), (target, None), (target, profile))
        return self._in_order([rule for place in places for rule in self._by_place.get(place, ())])

    def since(self, rule: Rule) -> int:
        """Return the revision from which a rule holds; unknown, it is the first of its branch.

        Development follows the newest branch.
        """
        if rule.revision is not None or rule.since is None:
            return rule.revision or 1
        newest = max(self.branch_off_revisions.values(), default=0) + 1
        return self.branch_off_revisions.get(rule.since.branch, newest)

    def variants(self, names: Iterable[str]) -> list[str]:
        """Return the names that may be exclusive; one lookup a name."""
        heads, length = self._variant_heads, self._variant_length
        return [name for name in names if name[:length] in heads]

    def rival(self, name: str, others: Iterable[str]) -> str | None:
        """Return the package among `others` that is another variant of `name`; None without one."""
        for exclusive in self.exclusives:
            if exclusive.virtual == name or exclusive.members.fullmatch(name):
                # The least one, since the order of the user's packages must not decide.
                rivals = (other for other in others if exclusive.members.fullmatch(other))
                return min((other for other in rivals if other != name), default=None)
        return None

    def _in_order(self, rules: list[Rule]) -> list[Rule]:
        return sorted(rules, key=lambda rule: self._position[rule.id]) if len(rules) > 1 else rules


def _head(rule: Rule) -> str:
    """Return the literal beginning of every name that a prefix or pattern rule matches."""
    return rule.replace_prefix or literal_head(rule.remove_pattern or "")


def literal_head(pattern: str) -> str:
    """Return the beginning of a pattern that stands for itself."""
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def _shape(rule: Rule) -> re.Pattern[str]:
    """Return what matches the beginning of each name that a prefix or pattern rule concerns."""
    if rule.replace_prefix:
        return re.compile(re.escape(rule.replace_prefix))
    return re.compile(fnmatch.translate(rule.remove_pattern or ""))
