"""Takes a request's packages through the rules that lie between the device's version and the wanted one.

What the user takes away stays away: `-name` is never undone by a rule, and it follows its package
through a replacement (`-wpad-basic-wolfssl` becomes `-wpad-basic-mbedtls`, or the new default would
come back beside the user's own choice).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from .outcome import Change, PackageRequest
from .package_changes import Rule, RuleBook

# A chain of replacements is as long as the releases it crosses; rules that go in a circle would
# never end.
MAX_REPLACEMENTS = 32


def without_the_gone(request: PackageRequest, rules: RuleBook, changes: list[Change]) -> list[str]:
    """Return the packages with each replaced or removed name taken through its rules."""
    refused = {entry[1:] for entry in request.packages if entry[0] == "-"}
    fates = {
        name: _follow(name, request, rules)
        for name in rules.concerned((*request.packages, *refused))
    }
    if not fates:
        return list(request.packages)
    # Removals are in it too, and no name is mistaken for one: names begin with no dash.
    wanted = set(request.packages)
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
            # The new name of a wanted package may be one that the user takes away: the old goes and
            # nothing comes. And a removal whose new name would hit a package that the user wants
            # has done its work with the old one.
            clash = final in arriving and name not in wanted if mark else final in refused
            if clash:
                final, steps = (
                    None,
                    (_ended(name, steps[-1], "asks for" if mark else "takes away"),),
                )
        changes.extend(_marked(step, mark) for step in steps)
        # What the list holds itself keeps its own place.
        if final is not None and (final == name or mark + final not in wanted):
            kept[mark + final] = None
    return list(kept)


def _ended(name: str, last: Change, what: str) -> Change:
    """Return the removal that stands in place of a replacement whose new name the request itself decides about."""
    reason = f"{last.reason} The request {what} {last.to_package} itself."
    return replace(
        last,
        type="removal",
        action="remove",
        package=name,
        from_package=name,
        to_package=None,
        reason=reason,
    )


def kept_versions(
    packages: Sequence[str], request: PackageRequest, rules: RuleBook, gone: Container[str] = ()
) -> dict[str, str]:
    """Return the promised versions without those of names that are `gone`: a version was promised for the old name only.

    Where no package is left, none is promised either, since versions alone would mean that their
    names are wanted.
    """
    versions = (
        {name: version for name, version in request.packages_versions.items() if name not in gone}
        if packages
        else {}
    )
    for name in rules.concerned(list(versions)):
        if _follow(name, request, rules)[1]:
            del versions[name]
    return versions


def _follow(
    name: str, request: PackageRequest, rules: RuleBook
) -> tuple[str | None, Sequence[Change]]:
    """Return what has become of a package (None: removed) and the steps that led there."""
    steps: list[Change] = []
    while len(steps) < MAX_REPLACEMENTS:
        rule = _first_applicable(rules.rules_for(name), request)
        if rule is None:
            break
        new = rule.successor_of(name)
        if new is None:
            steps.append(change_by("removal", "remove", name, rule, from_package=name))
            return None, steps
        steps.append(
            change_by("migration", "replace", name, rule, from_package=name, to_package=new)
        )
        name = new
    return name, steps


def _first_applicable(rules: Iterable[Rule], request: PackageRequest) -> Rule | None:
    for rule in rules:
        if (
            rule.id not in request.ignored_changes
            and rule.holds_for(target=request.target, profile=request.profile)
            and is_crossed(rule, request)
        ):
            return rule
    return None


def is_crossed(rule: Rule, request: PackageRequest) -> bool:
    """Whether the rule lies on the way from the device's version to the wanted one."""
    return rule.lies_between(request.from_version, request.version)


def add_the_new(
    packages: list[str], request: PackageRequest, rules: RuleBook, changes: list[Change]
) -> None:
    """Append what the rules add for the device, unless the user has it or has taken it away."""
    present = set(packages)
    for rule in device_additions(request, rules):
        if not is_crossed(rule, request):
            continue
        for name in rule.add:
            if name not in present and f"-{name}" not in present:
                present.add(name)
                packages.append(name)
                changes.append(change_by("addition", "add", name, rule, to_package=name))


def device_additions(request: PackageRequest, rules: RuleBook) -> list[Rule]:
    """Return the rules that add packages to the device and that the request does not veto."""
    return [
        rule
        for rule in rules.additions_for(target=request.target, profile=request.profile)
        if rule.id not in request.ignored_changes
    ]


def change_by(
    kind: Literal["migration", "addition", "removal"],
    action: Literal["replace", "add", "remove"],
    package: str,
    rule: Rule,
    *,
    from_package: str | None = None,
    to_package: str | None = None,
) -> Change:
    """Return a change that a rule makes, with the rule's own words."""
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
