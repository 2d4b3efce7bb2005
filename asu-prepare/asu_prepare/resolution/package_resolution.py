"""What a request leads to: the packages that will be asked of the ImageBuilder, each change with its reason.

First the rules between the old and the new version (`rule_application`), then, for an absolute
list, the defaults (`device_defaults`), then what cannot work (`existence`). A change is recorded
where it is made, so that it can say why; nothing is found out afterwards by comparing sets. The
order of the user's packages is kept, nothing is doubled, and applying twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .device_defaults import Origin, Settlement, find_origin
from .existence import find_problems
from .knowledge import NOTHING_KNOWN, Knowledge
from .outcome import Change, InferredVersion, PackageRequest, Problem, Resolution
from .package_changes import RuleBook
from .rule_application import add_the_new, is_crossed, kept_versions, without_the_gone

# Without these a device does not start, or starts without network; what a package's absence means
# is said where it is known.
ESSENTIAL = {
    "base-files": "the device will not start",
    "libc": "the device will not start",
    "kernel": "the device will not start",
    "procd": "the device will not start",
    "busybox": "the device will not start",
    "netifd": "the device will have no network",
}


def resolve(
    request: PackageRequest, rules: RuleBook, knowledge: Knowledge = NOTHING_KNOWN
) -> Resolution:
    """Decide what a request leads to, from the rules and from what is known of the device and its release."""
    changes: list[Change] = []
    ignored: list[str] = []
    packages = without_the_gone(request, rules, changes)
    origin = find_origin(request, knowledge) if request.diff_packages else None
    defaults = knowledge.defaults if request.diff_packages else None
    if defaults is not None:
        packages = Settlement(request, knowledge, defaults, origin, rules, changes, ignored).settle(
            packages
        )
    # Each default of the release is in the list by now, wanted or taken away, so the rules add what
    # no default tells.
    add_the_new(packages, request, rules, changes)
    diff_packages = request.diff_packages and defaults is None
    versions = knowledge.index.versions_of(packages) if knowledge.index else {}
    problems = find_problems(
        packages, versions, request, knowledge, rules, diff_packages=diff_packages
    )
    promised = kept_versions(
        packages, request, rules, {change.package for change in changes if change.action != "add"}
    )
    warnings = [
        *_warnings(request, packages, knowledge, origin),
        *_broken_promises(promised, versions, request),
        *(
            f"{problem.detail} {problem.package} is expected from {_feeds(request)}."
            for problem in problems
            if _is_lenient(problem, request)
        ),
    ]
    return Resolution(
        packages=tuple(packages),
        packages_versions=promised,
        diff_packages=diff_packages,
        changes=tuple(changes),
        problems=tuple(problem for problem in problems if not _is_lenient(problem, request)),
        warnings=tuple(warnings),
        from_version=_told(request, origin),
        checked=knowledge.index is not None and knowledge.index.complete,
        versions={name: versions[name] for name in packages if name in versions},
        ignored=tuple(dict.fromkeys([*_ignored_rules(request, rules), *ignored])),
    )


def _broken_promises(
    promised: Mapping[str, str], versions: Mapping[str, str], request: PackageRequest
) -> Iterable[str]:
    """Warn of versions that a build would insist on and that the release does not have."""
    broken = [
        f"{name} is {versions[name]}, not {version}"
        for name, version in promised.items()
        if versions.get(name, version) != version
    ]
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""  # noqa: PLR2004  # As many as are named.
        unless = f"Unless {_feeds(request)} brings these versions, the" if request.feeds else "The"
        yield f"{unless} build would fail, as it insists on packages_versions: {'; '.join(broken[:3])}{more}. Leave them out to take what there is."


def _told(request: PackageRequest, origin: Origin | None) -> InferredVersion | None:
    stated = request.from_version
    if stated is not None:
        return InferredVersion(version=stated.text, inferred=False)
    return origin.told if origin else None


def _is_lenient(problem: Problem, request: PackageRequest) -> bool:
    """Whether a problem is only a warning: a request with feeds of its own may know packages that we do not."""
    return bool(request.feeds) and problem.kind != "conflict"


def _feeds(request: PackageRequest) -> str:
    """Return the request's own feeds for a sentence, three at most: it may stand there for each of a thousand packages."""
    names = request.feeds
    if len(names) == 1:
        return f"the feed {names[0]}"
    named = ", ".join(names[:3])
    return f"one of the feeds {named}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"  # noqa: PLR2004  # As many as are named.


def _ignored_rules(request: PackageRequest, rules: RuleBook) -> Iterable[str]:
    """Yield the rules that the request vetoes and that would have had something to do."""
    if not request.ignored_changes:
        return
    wanted = set(request.packages)
    concerned = [
        rule
        for name in rules.concerned([name.removeprefix("-") for name in request.packages])
        for rule in rules.rules_for(name)
    ]
    adding = [
        rule
        for rule in rules.additions_for(target=request.target, profile=request.profile)
        if not wanted.issuperset(rule.add)
    ]
    for rule in [*concerned, *adding]:
        if (
            rule.id in request.ignored_changes
            and rule.holds_for(target=request.target, profile=request.profile)
            and is_crossed(rule, request)
        ):
            yield rule.id


def _warnings(
    request: PackageRequest, packages: Sequence[str], knowledge: Knowledge, origin: Origin | None
) -> Iterable[str]:
    old = request.from_version
    if old is not None and not old.is_snapshot and old > request.version:
        yield f"This is a downgrade from {old} to {request.version}: settings of the newer release may not work in the older one."
    if request.diff_packages and knowledge.defaults is None:
        yield "The default packages of this device are not known at the moment; the builder takes away each one that the list does not hold."
    elif request.diff_packages and origin is None:
        yield "The list holds too few default packages of any release to tell where it comes from; what it lacks is left out."
    if request.replaces_feeds:
        yield f"OpenWrt's own feeds are not used, as repositories_mode is replace: what the ImageBuilder lacks must come from {_feeds(request)}."
    device_packages = knowledge.defaults.device_packages if knowledge.defaults else frozenset()
    for name in packages:
        if name[0] != "-":
            continue
        if name[1:] in ESSENTIAL:
            yield f"WITHOUT {name[1:]} {ESSENTIAL[name[1:]]}."
        elif name[1:] in device_packages:
            yield f"WITHOUT {name[1:]}, which this device needs for its own hardware, some of it will not work."
