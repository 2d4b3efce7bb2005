"""What a request leads to: the packages that will be asked of the ImageBuilder, each change with its reason.

The rules between the old and the new version are applied to the wanted packages in the order of the rule file. A change is
recorded where it is made, so that it can say why; nothing is found out afterwards by comparing sets. The order of the
user's packages is kept, nothing is doubled, and applying twice changes nothing.

What the user takes away stays away: `-name` is never undone by a rule, and it follows its package through a replacement
(`-wpad-basic-wolfssl` becomes `-wpad-basic-mbedtls`, or the new default would come back beside the user's own choice).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from .package_changes import Rule, RuleBook
from .versions import Version

# A chain of replacements is as long as the releases it crosses; rules that go in a circle would never end.
MAX_REPLACEMENTS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRequest:
    """What a resolution needs to know of a request: versions, device, wanted packages.

    `packages` holds names to install and `-names` to take away, in the user's order, each once. `packages_versions` maps
    names to the versions that the finished image must have.
    """

    version: Version
    target: str
    profile: str
    packages: tuple[str, ...]
    packages_versions: Mapping[str, str] = field(default_factory=dict)
    diff_packages: bool = False
    from_version: Version | None = None


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

    `checked` says whether every name was looked up in the package indexes; without indexes there are no `problems` and it
    is False.
    """

    packages: tuple[str, ...]
    packages_versions: Mapping[str, str]
    diff_packages: bool
    changes: tuple[Change, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    from_version: InferredVersion | None = None
    checked: bool = False


def resolve(request: PackageRequest, rules: RuleBook) -> Resolution:
    """Apply the rules that lie between the device's version and the wanted one."""
    changes: list[Change] = []
    packages = _without_the_gone(request, rules, changes)
    _add_the_new(packages, request, rules, changes)
    stated = request.from_version
    return Resolution(
        packages=tuple(packages),
        packages_versions=_kept_versions(packages, request, rules),
        diff_packages=request.diff_packages,
        changes=tuple(changes),
        warnings=tuple(_warnings(request)),
        from_version=InferredVersion(version=stated.text, inferred=False) if stated else None,
    )


def _without_the_gone(request: PackageRequest, rules: RuleBook, changes: list[Change]) -> list[str]:
    """Return the packages with each replaced or removed name taken through its rules."""
    refused = {entry[1:] for entry in request.packages if entry[0] == "-"}
    fates = {name: _follow(name, request, rules) for name in rules.concerned((*request.packages, *refused))}
    if not fates:
        return list(request.packages)
    wanted = set(request.packages)  # Removals are in it too, and no name is mistaken for one: names begin with no dash.
    arriving = wanted - fates.keys() | {fates[name][0] for name in wanted & fates.keys()}
    concerned = fates.keys() | {f"-{name}" for name in refused & fates.keys()}
    kept: dict[str, None] = {}
    for entry in request.packages:
        if entry not in concerned:
            kept[entry] = None
            continue
        mark, name = ("-", entry[1:]) if entry[0] == "-" else ("", entry)
        final, steps = fates[name]
        if steps and final is not None:
            # The new name of a wanted package may be one that the user takes away: the old goes and nothing comes. And a
            # removal whose new name would hit a package that the user wants has done its work with the old one.
            clash = final in arriving and name not in wanted if mark else final in refused
            if clash:
                final, steps = None, (_ended(name, steps[-1], "asks for" if mark else "takes away"),)
        changes.extend(_marked(step, mark) for step in steps)
        if final is not None:
            kept[mark + final] = None
    return list(kept)


def _ended(name: str, last: Change, what: str) -> Change:
    """Return the removal that stands in place of a replacement whose new name the request itself decides about."""
    reason = f"{last.reason} The request {what} {last.to_package} itself."
    return replace(last, type="removal", action="remove", package=name, from_package=name, to_package=None, reason=reason)


def _kept_versions(packages: Sequence[str], request: PackageRequest, rules: RuleBook) -> dict[str, str]:
    """Return the promised versions without those of names that are gone: a version was promised for the old name only.

    Where no package is left, none is promised either, since versions alone would mean that their names are wanted.
    """
    versions = dict(request.packages_versions) if packages else {}
    for name in rules.concerned(list(versions)):
        if _follow(name, request, rules)[1]:
            del versions[name]
    return versions


def _follow(name: str, request: PackageRequest, rules: RuleBook) -> tuple[str | None, Sequence[Change]]:
    """Return what has become of a package (None: removed) and the steps that led there."""
    steps: list[Change] = []
    while len(steps) < MAX_REPLACEMENTS:
        rule = _first_applicable(rules.rules_for(name), request)
        if rule is None:
            break
        if rule.with_package is None:
            steps.append(_change("removal", "remove", name, rule, from_package=name))
            return None, steps
        new = rule.with_package if rule.replace else rule.with_package + name[len(rule.replace_prefix or "") :]
        steps.append(_change("migration", "replace", name, rule, from_package=name, to_package=new))
        name = new
    return name, steps


def _first_applicable(rules: Iterable[Rule], request: PackageRequest) -> Rule | None:
    for rule in rules:
        if rule.holds_for(target=request.target, profile=request.profile) and _is_crossed(rule, request):
            return rule
    return None


def _is_crossed(rule: Rule, request: PackageRequest) -> bool:
    return rule.lies_between(request.from_version, request.version)


def _add_the_new(packages: list[str], request: PackageRequest, rules: RuleBook, changes: list[Change]) -> None:
    """Append what the device needs from the new release on, unless the user has it or has taken it away."""
    additions = [rule for rule in rules.additions_for(target=request.target, profile=request.profile) if _is_crossed(rule, request)]
    present = set(packages) if additions else set()
    for rule in additions:
        for name in rule.add:
            if name not in present and f"-{name}" not in present:
                present.add(name)
                packages.append(name)
                changes.append(_change("addition", "add", name, rule, to_package=name))


def _change(
    kind: Literal["migration", "addition", "removal"],
    action: Literal["replace", "add", "remove"],
    package: str,
    rule: Rule,
    *,
    from_package: str | None = None,
    to_package: str | None = None,
) -> Change:
    return Change(
        type=kind,
        action=action,
        package=package,
        from_package=from_package,
        to_package=to_package,
        reason=rule.reason,
        rule=rule.id,
        reference=rule.reference or (f"r{rule.revision}" if rule.revision else None),
    )


def _marked(change: Change, mark: str) -> Change:
    """Return the change as one of a `-name` where `mark` is a dash."""
    if not mark:
        return change
    return replace(
        change,
        package=mark + change.package,
        from_package=mark + change.from_package if change.from_package else None,
        to_package=mark + change.to_package if change.to_package else None,
    )


def _warnings(request: PackageRequest) -> Iterable[str]:
    old = request.from_version
    if old is not None and not old.is_snapshot and old > request.version:
        yield f"This is a downgrade from {old} to {request.version}: settings of the newer release may not work in the older one."
