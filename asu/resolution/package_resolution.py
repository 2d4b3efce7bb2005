"""What a request leads to: the packages for the ImageBuilder, each change with its reason.

First the rules, then the defaults of an absolute list, then what cannot work. Each change is
recorded where it is made. The user's order is kept, and applying twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .device_advice import shown
from .device_defaults import AbsoluteList, Origin, find_origin
from .existence import conflicts, missing_packages, wrong_versions
from .knowledge import NOTHING_KNOWN, Knowledge, PackageIndex
from .outcome import Change, InferredVersion, PackageRequest, Problem, Resolution
from .package_changes import RuleBook
from .rule_application import RuleApplication

# What happens without these packages.
ESSENTIAL = {
    "base-files": "the device will not start",
    "libc": "the device will not start",
    "kernel": "the device will not start",
    "procd": "the device will not start",
    "busybox": "the device will not start",
    "netifd": "the device will have no network",
}
SHOWN = 3  # Names in one sentence; the same sentence may be in a thousand warnings.


def resolve(
    request: PackageRequest, rules: RuleBook, knowledge: Knowledge = NOTHING_KNOWN
) -> Resolution:
    """Decide what a request leads to."""
    changes: list[Change] = []
    ignored: list[str] = []
    unexplained: list[str] = []
    index, defaults = knowledge.index, knowledge.defaults
    versions = index.versions_of(request.packages) if index else {}
    origin = find_origin(request, knowledge) if request.diff_packages else None
    origins = tuple(release.version for release in origin.releases) if origin else ()
    applied = RuleApplication(request, rules, knowledge, versions, origins)
    packages = applied.packages(changes)
    if defaults is not None and request.diff_packages:
        listed = AbsoluteList(
            request, knowledge, defaults, origin, rules, changes, ignored, unexplained
        )
        packages = listed.explicit(packages)
    is_absolute = request.diff_packages and defaults is None
    # The list has each default by now, wanted or taken away, so rules add only what is none.
    applied.add_new(packages, changes)
    if index:
        versions |= index.versions_of(set(packages) - versions.keys())
    missing = missing_packages(packages, versions, request, knowledge, rules)
    if request.leave_out_missing and not request.feeds:
        missing = _leave_out(missing, request, packages, changes, ignored)
    given = defaults.defaults if defaults and not is_absolute else {}
    problems = conflicts(packages, given, rules)
    lenient = missing if request.feeds else []
    gone = {change.package for change in changes if change.action != "add"}
    promised = applied.promised_versions(packages, gone)
    wrong = wrong_versions(promised, versions, request, knowledge)
    removed = [entry[1:] for entry in packages if entry[0] == "-"]
    return Resolution(
        packages=tuple(packages),
        packages_versions=promised,
        diff_packages=is_absolute,
        changes=tuple(changes),
        problems=tuple(problems if request.feeds else [*missing, *wrong, *problems]),
        warnings=(
            *_warnings(request, removed, knowledge, origin),
            *_unexplained(unexplained),
            *_neither_of_a_pair(request, packages, removed, rules),
            *_broken_promises(promised, versions, request, wrong),
            *_expected_from_feeds(lenient, request),
            *_unchecked(request, index),
        ),
        from_version=_from_version(request, origin),
        checked=index is not None and index.complete,
        versions={name: versions[name] for name in packages if name in versions},
        ignored=tuple(dict.fromkeys([*applied.ignored(), *ignored])),
        missing=tuple(missing),
        is_certain=_is_certain(request, index),
        documents=index.documents if index else (),
    )


def resolve_unchanged(
    request: PackageRequest, rules: RuleBook, knowledge: Knowledge = NOTHING_KNOWN
) -> Resolution:
    """Change nothing, and say what certainly cannot work."""
    index, packages, promised = knowledge.index, request.packages, request.packages_versions
    versions = index.versions_of([*packages, *promised]) if index else {}
    missing = missing_packages(packages, versions, request, knowledge, rules)
    wrong = wrong_versions(promised, versions, request, knowledge)
    return Resolution(
        packages=packages,
        packages_versions=promised,
        diff_packages=request.diff_packages,
        problems=() if request.feeds else (*missing, *wrong),
        from_version=_from_version(request, None),
        missing=tuple(missing),
        is_certain=_is_certain(request, index),
        documents=index.documents if index else (),
    )


def _is_certain(request: PackageRequest, index: PackageIndex | None) -> bool:
    return index is not None and index.provides_known and not request.feeds


def _leave_out(
    missing: Iterable[Problem],
    request: PackageRequest,
    packages: list[str],
    changes: list[Change],
    ignored: list[str],
) -> list[Problem]:
    """Drop the missing packages; return those that the request keeps by ignoring the change."""
    kept = []
    for problem in missing:
        change = f"missing-{problem.package}"
        if change in request.ignored_changes:
            ignored.append(change)
            kept.append(problem)
        else:
            packages.remove(problem.package)
            changes.append(Change.removed(problem.package, problem.detail, change))
    return kept


def _from_version(request: PackageRequest, origin: Origin | None) -> InferredVersion | None:
    if request.from_version is not None:
        return InferredVersion(request.from_version.text, inferred=False)
    return origin.version if origin else None


def _warnings(
    request: PackageRequest, removed: Iterable[str], knowledge: Knowledge, origin: Origin | None
) -> Iterable[str]:
    old, defaults = request.from_version, knowledge.defaults
    if old is not None and not old.is_snapshot and old > request.version:
        yield (
            f"This is a downgrade from {old} to {request.version}: settings of the newer release "
            "may not work in the older one."
        )
    if request.diff_packages and defaults is None:
        yield (
            "The default packages of this device are not known at the moment; the builder takes "
            "away each one that the list does not hold."
        )
    elif request.diff_packages and origin is None:
        yield (
            "The list holds too few default packages of any release to show where it comes from; "
            "what it lacks is left out."
        )
    if request.replaces_feeds:
        yield (
            "OpenWrt's own feeds are not used, as repositories_mode is replace: what the "
            f"ImageBuilder lacks must come from {_feeds(request)}."
        )
    for name in removed:
        if name in ESSENTIAL:
            yield f"WITHOUT {name} {ESSENTIAL[name]}."
        elif defaults and name in defaults.device_packages:
            yield (
                f"WITHOUT {name}, which this device needs for its own hardware, some of it will "
                "not work."
            )


def _unchecked(request: PackageRequest, index: PackageIndex | None) -> Iterable[str]:
    if index is None or not index.complete:
        yield (
            f"Not all package lists of {request.version} for {shown(request.target)} can be had at "
            "the moment, so it was not checked whether the wanted packages exist."
        )


def _unexplained(names: Sequence[str]) -> Iterable[str]:
    if names:
        yield (
            "No older release has this device, under this name or another one, so nothing shows "
            "whether these default packages were removed on purpose. They are added: "
            f"{_shortened(names, ', ')}."
        )


def _neither_of_a_pair(
    request: PackageRequest, packages: Sequence[str], removed: Iterable[str], rules: RuleBook
) -> Iterable[str]:
    """Warn if the list takes a package away and holds neither the one before it nor a variant."""
    for new in removed:
        for rule in rules.by_successor.get(new, ()):
            if (
                rule.without
                and rule.replace not in packages
                and rule.lies_between(None, request.version)
                and rules.rival(new, rules.variants(packages)) is None
            ):
                yield f"WITHOUT {new} and without {rule.replace}, {rule.without}."


def _broken_promises(
    promised: Mapping[str, str],
    versions: Mapping[str, str],
    request: PackageRequest,
    wrong: Iterable[Problem],
) -> Iterable[str]:
    """Warn of promised versions that the release may not have; the build would insist on them."""
    known = {problem.package for problem in wrong}
    broken = [
        f"{name} is {versions[name]}, not {version}"
        for name, version in promised.items()
        if versions.get(name, version) != version and name not in known
    ]
    if broken:
        unless = f"Unless {_feeds(request)} brings these versions, the" if request.feeds else "The"
        yield (
            f"{unless} build would fail, as it insists on packages_versions: "
            f"{_shortened(broken, '; ')}. Leave them out to take what there is."
        )


def _expected_from_feeds(missing: Iterable[Problem], request: PackageRequest) -> Iterable[str]:
    """Warn of missing names instead of refusing them: the request's own feeds may have them."""
    for problem in missing:
        yield f"{problem.detail} {problem.package} is expected from {_feeds(request)}."


def _feeds(request: PackageRequest) -> str:
    if len(request.feeds) == 1:
        return f"the feed {request.feeds[0]}"
    return f"one of the feeds {_shortened(request.feeds, ', ')}"


def _shortened(names: Sequence[str], separator: str) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return separator.join(names[:SHOWN]) + more
