"""Takes a request's packages through the rules between the device's version and the wanted one.

What the user takes away stays away: no rule undoes `-name`, and the removal follows its package
through a replacement. `-wpad-basic-wolfssl` becomes `-wpad-basic-mbedtls`, or else the new default
would come back beside the user's own choice.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from .outcome import Change, PackageRequest
from .package_changes import Rule, RuleBook

# A chain of replacements is as long as the releases it crosses. Rules in a circle would never end.
MAX_REPLACEMENTS = 32
# What became of a package: its last name (None if it was removed), and the steps that led there.
Fate = tuple[str | None, Sequence[Change]]


def apply_replacements(
    request: PackageRequest, rules: RuleBook, changes: list[Change]
) -> list[str]:
    """Return the packages after all replacements and removals, and record each change."""
    refused = {entry[1:] for entry in request.packages if entry[0] == "-"}
    fates = {
        name: _follow(name, request, rules)
        for name in rules.concerned((*request.packages, *refused))
    }
    if not fates:
        return list(request.packages)
    wanted = set(request.packages)
    arriving = wanted - fates.keys() | {fates[name][0] for name in wanted & fates.keys()}
    kept: dict[str, None] = {}
    for entry in request.packages:
        is_removal = entry[0] == "-"
        name = entry[1:] if is_removal else entry
        if name not in fates:
            kept[entry] = None
            continue
        final, steps = fates[name]
        if steps and final is not None:
            # The request may take the new name away: then the old one goes and nothing comes. Or a
            # removal would hit a package that the user wants: then it ends with its old name.
            clashes = final in arriving and name not in wanted if is_removal else final in refused
            if clashes:
                what = "asks for" if is_removal else "takes away"
                final, steps = None, [_ended(name, steps[-1], what)]
        changes += map(_of_removal, steps) if is_removal else steps
        new = f"-{final}" if is_removal else final
        # A name that the list holds itself keeps its own place.
        if final is not None and new is not None and (final == name or new not in wanted):
            kept[new] = None
    return list(kept)


def kept_versions(
    packages: Sequence[str], request: PackageRequest, rules: RuleBook, gone: Container[str]
) -> dict[str, str]:
    """Return the promised versions, without those of names that were replaced or are `gone`.

    Without packages no version is promised either: versions alone would mean that their names are
    wanted.
    """
    if not packages:
        return {}
    versions = {
        name: version for name, version in request.packages_versions.items() if name not in gone
    }
    for name in rules.concerned(list(versions)):
        if _follow(name, request, rules)[1]:
            del versions[name]
    return versions


def add_by_rules(
    packages: list[str], request: PackageRequest, rules: RuleBook, changes: list[Change]
) -> None:
    """Append what the rules add for the device, unless the list has it or takes it away."""
    present = set(packages)
    for rule in rules.additions_for(target=request.target, profile=request.profile):
        if rule.id in request.ignored_changes or not is_crossed(rule, request):
            continue
        for name in rule.add:
            if name not in present and f"-{name}" not in present:
                present.add(name)
                packages.append(name)
                changes.append(Change.added(name, rule.reason, rule.id, rule.source))


def is_crossed(rule: Rule, request: PackageRequest) -> bool:
    """Whether the rule lies between the device's version and the wanted one."""
    return rule.lies_between(request.from_version, request.version)


def ignored_rules(request: PackageRequest, rules: RuleBook) -> Iterable[str]:
    """Yield the rules that the request left out and that would have had an effect."""
    if not request.ignored_changes:
        return
    wanted = set(request.packages)
    concerned = rules.concerned([name.removeprefix("-") for name in request.packages])
    additions = rules.additions_for(target=request.target, profile=request.profile)
    for rule in [
        *(rule for name in concerned for rule in rules.rules_for(name)),
        *(rule for rule in additions if not wanted.issuperset(rule.add)),
    ]:
        if (
            rule.id in request.ignored_changes
            and rule.holds_for(target=request.target, profile=request.profile)
            and is_crossed(rule, request)
        ):
            yield rule.id


def _follow(name: str, request: PackageRequest, rules: RuleBook) -> Fate:
    steps: list[Change] = []
    while len(steps) < MAX_REPLACEMENTS:
        rule = _first_applicable(rules.rules_for(name), request)
        if rule is None:
            break
        new = rule.successor_of(name)
        if new is None:
            return None, [*steps, Change.removed(name, rule.reason, rule.id, rule.source)]
        steps.append(Change.replaced(name, new, rule.reason, rule.id, rule.source))
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
