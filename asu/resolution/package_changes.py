"""The rules of `package_changes.toml`: which packages were replaced, added or removed between releases, and why.

A rule holds from its version `since` on (and before `until`, where it ends), for every device or
for one target, and there for all or some profiles. What it does is one of: replace one name by
another, replace a prefix by another, remove a name or a pattern, add names. Rules are data; adding
one needs no code. Rules are found by lookup, not by search: the cost of a resolution does not grow
with the number of rules that concern other devices.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from .versions import Version

_MOMENTS = ("add", "replace", "replace_prefix", "remove", "remove_pattern")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One change of OpenWrt's packages.

    Exactly one of `replace`, `replace_prefix`, `remove`, `remove_pattern` and `add` says what to
    do; `with_package` is the name or prefix that takes the place of a replaced one. `revision` is
    OpenWrt's rNNNNN counter on the main branch, where known; device clients receive it in
    overview.json. `mandatory` is handed to them too and means nothing here.
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

    def holds_for(self, *, target: str, profile: str) -> bool:
        """Whether this rule concerns a device."""
        return (self.target is None or self.target == target) and (
            self.profiles is None or profile in self.profiles
        )

    def successor_of(self, package: str) -> str | None:
        """Return the name that takes the place of a package that this rule concerns; None where it is removed."""
        if self.with_package is None or self.replace:
            return self.with_package
        return self.with_package + package[len(self.replace_prefix or "") :]

    def lies_between(self, old: Version | None, new: Version) -> bool:
        """Whether an upgrade from `old` to `new` crosses this rule.

        Without `old`, and from SNAPSHOT (a name that does not tell how far its device had come),
        every rule up to `new` is crossed.
        """
        if self.until is not None and self.until <= new:
            return False
        if self.since is None:
            return True
        if self.since > new:
            return False
        return old is None or old.is_development or old < self.since


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusive:
    """Packages of which an image can hold one only: variants of the same program.

    `virtual` is a name that each of them provides and that is no package itself: lists of defaults
    may have it, lists of installed packages never do.
    """

    id: str
    members: re.Pattern[str]
    heads: tuple[str, ...]  # With which the members' names begin.
    reason: str
    virtual: str | None = None


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules, arranged for lookup by package name and by device."""

    rules: tuple[Rule, ...]
    branch_off_revisions: Mapping[str, int]
    position: Mapping[str, int]  # Of each rule id in the file; rules apply in this order.
    by_name: Mapping[str, tuple[Rule, ...]]
    # Prefix and pattern rules, by the first `head_length` characters of what they match.
    by_head: Mapping[str, tuple[Rule, ...]]
    head_length: int
    additions_by_place: Mapping[tuple[str | None, str | None], tuple[Rule, ...]]
    exclusives: tuple[Exclusive, ...]
    # The first `exclusive_length` characters of every name that is exclusive.
    exclusive_heads: frozenset[str]
    exclusive_length: int

    @staticmethod
    def of(
        rules: Iterable[Rule],
        branch_off_revisions: Mapping[str, int],
        exclusives: Iterable[Exclusive] = (),
    ) -> RuleBook:
        """Arrange rules; their order is the order in which they apply. Raises ValueError for an id that stands twice."""
        rules = tuple(rules)
        position = {rule.id: number for number, rule in enumerate(rules)}
        if len(position) != len(rules):
            raise ValueError("the ids of rules must be unique")
        by_name: dict[str, list[Rule]] = {}
        by_head: dict[str, list[Rule]] = {}
        by_place: dict[tuple[str | None, str | None], list[Rule]] = {}
        shapes = [rule for rule in rules if rule.replace_prefix or rule.remove_pattern]
        head_length = min(map(len, map(_head, shapes)), default=0)
        exclusives = tuple(exclusives)
        exclusive_heads = [head for exclusive in exclusives for head in exclusive.heads]
        exclusive_length = min(map(len, exclusive_heads), default=0)
        for rule in rules:
            name = rule.replace or rule.remove
            if name:
                by_name.setdefault(name, []).append(rule)
            elif rule.add:
                for profile in rule.profiles or (None,):
                    by_place.setdefault((rule.target, profile), []).append(rule)
            else:
                by_head.setdefault(_head(rule)[:head_length], []).append(rule)
        return RuleBook(
            rules=rules,
            branch_off_revisions=branch_off_revisions,
            position=position,
            by_name={name: tuple(some) for name, some in by_name.items()},
            by_head={head: tuple(some) for head, some in by_head.items()},
            head_length=head_length,
            additions_by_place={place: tuple(some) for place, some in by_place.items()},
            exclusives=exclusives,
            exclusive_heads=frozenset(head[:exclusive_length] for head in exclusive_heads),
            exclusive_length=exclusive_length,
        )

    def concerned(self, names: Iterable[str]) -> list[str]:
        """Return those of the names that a rule may replace or remove; two lookups a name, as most names concern no rule."""
        by_name, by_head, length = self.by_name, self.by_head, self.head_length
        return [name for name in names if name in by_name or name[:length] in by_head]

    def rules_for(self, package: str) -> list[Rule]:
        """Return the rules that replace or remove a package of this name, in the order of the file."""
        named = self.by_name.get(package, ())
        shaped = [
            rule
            for rule in self.by_head.get(package[: self.head_length], ())
            if _fits(rule, package)
        ]
        return self._in_order([*named, *shaped]) if shaped else list(named)

    def additions_for(self, *, target: str, profile: str) -> list[Rule]:
        """Return the rules that add packages to a device, in the order of the file."""
        places = ((None, None), (None, profile), (target, None), (target, profile))
        return self._in_order(
            [rule for place in places for rule in self.additions_by_place.get(place, ())]
        )

    def variants(self, names: Iterable[str]) -> list[str]:
        """Return those of the names that may be exclusive; one lookup a name, as most names are variants of nothing."""
        heads, length = self.exclusive_heads, self.exclusive_length
        return [name for name in names if name[:length] in heads]

    def rival(self, name: str, others: Iterable[str]) -> str | None:
        """Return a package among `others` that takes the place of `name`, being a variant of it; None if there is none."""
        for exclusive in self.exclusives:
            if exclusive.virtual == name or exclusive.members.fullmatch(name):
                # The least one, since the order of the user's packages must not decide.
                return min(
                    (
                        other
                        for other in others
                        if other != name and exclusive.members.fullmatch(other)
                    ),
                    default=None,
                )
        return None

    def _in_order(self, rules: list[Rule]) -> list[Rule]:
        return sorted(rules, key=lambda rule: self.position[rule.id]) if len(rules) > 1 else rules


def read_rules(text: str) -> RuleBook:
    """Read rules from TOML; raises ValueError that names the rule that is wrong."""
    document = tomllib.loads(text)
    return RuleBook.of(
        map(_rule, document["rule"]),
        document["branch_off_revision"],
        map(_exclusive, document.get("exclusive", ())),
    )


@lru_cache(maxsize=1)
def load_rules() -> RuleBook:
    """Return the shipped rules, read once per process when first needed."""
    return read_rules(
        files(__package__).joinpath("package_changes.toml").read_text(encoding="utf-8")
    )


def _exclusive(entry: Mapping[str, Any]) -> Exclusive:
    shape = "|".join(fnmatch.translate(pattern) for pattern in entry["packages"])
    heads = tuple(map(_literal_head, entry["packages"]))
    return Exclusive(
        id=entry["id"],
        members=re.compile(shape),
        heads=heads,
        reason=entry["reason"],
        virtual=entry.get("virtual"),
    )


def _head(rule: Rule) -> str:
    """Return the literal beginning of every name that a prefix or pattern rule matches."""
    return rule.replace_prefix or _literal_head(rule.remove_pattern or "")


def _literal_head(pattern: str) -> str:
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def _fits(rule: Rule, package: str) -> bool:
    if rule.replace_prefix:
        return package.startswith(rule.replace_prefix)
    return fnmatch.fnmatchcase(package, rule.remove_pattern or "")


def _rule(entry: Mapping[str, Any]) -> Rule:
    fields = dict(entry)
    if sum(moment in fields for moment in _MOMENTS) != 1:
        raise ValueError(
            f"rule {fields.get('id')!r} must have exactly one of {', '.join(_MOMENTS)}"
        )
    if ("with" in fields) != ("replace" in fields or "replace_prefix" in fields):
        raise ValueError(
            f"rule {fields.get('id')!r}: `with` belongs to `replace` and `replace_prefix`, and to nothing else"
        )
    for bound in ("since", "until"):
        if bound in fields:
            fields[bound] = Version.parse(fields[bound])
    if "profiles" in fields:
        fields["profiles"] = frozenset(fields["profiles"])
    if "add" in fields:
        fields["add"] = tuple(fields["add"])
    if "with" in fields:
        fields["with_package"] = fields.pop("with")
    try:
        return Rule(**fields)
    except TypeError as error:
        raise ValueError(f"rule {fields.get('id')!r}: {error}") from None
