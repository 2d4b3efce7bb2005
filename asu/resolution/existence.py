"""What cannot work: names that do not exist, and packages that exclude one another."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from .knowledge import BUILT_IN, Knowledge, PackageIndex
from .outcome import PackageRequest, Problem
from .package_changes import RuleBook
from .versions import is_older_package

# Finding a near name costs as much as a whole decision, so a list of invented names gets only some.
MAX_SUGGESTIONS = 8
MAX_LENGTH = 64  # Names of packages have up to fifty letters.
MIN_LIKENESS = 0.8  # Of difflib's ratio: one slip makes another word of a very short name.
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_.+"  # Of the names of packages.


def missing_packages(
    packages: Iterable[str],
    versions: Mapping[str, str],
    request: PackageRequest,
    knowledge: Knowledge,
    rules: RuleBook,
) -> list[Problem]:
    """Return a problem for each package that nobody has; `versions` are those of the index."""
    index = knowledge.index
    if index is None or not index.complete:
        return []
    defaults = knowledge.defaults.defaults if knowledge.defaults else {}
    absent = set(packages) - versions.keys() - defaults.keys() - BUILT_IN
    absent = {name for name in absent if name[0] != "-"}
    return [
        _explained(name, request, knowledge, rules)
        or _unknown(name, request, index if number < MAX_SUGGESTIONS else None)
        for number, name in enumerate(name for name in packages if name in absent)
    ]


def wrong_versions(
    promised: Mapping[str, str],
    versions: Mapping[str, str],
    request: PackageRequest,
    knowledge: Knowledge,
) -> list[Problem]:
    """Return a problem for each promised version that the release has not.

    The request's own feeds may have another one. Of a snapshot, the index may lag behind.
    """
    index = knowledge.index
    if request.feeds or index is None or not index.complete:
        return []
    return [
        Problem(name, "version", None, f"{name} is {found} in {request.version}, not {one}.")
        for name, one in promised.items()
        if (found := versions.get(name, one)) != one
        and not (request.version.is_snapshot and is_older_package(found, one))
    ]


def _explained(
    name: str, request: PackageRequest, knowledge: Knowledge, rules: RuleBook
) -> Problem | None:
    """Return what became of a missing package, if a rule or another index says so."""
    for rule in rules.rules_for(name):
        if rule.lies_between(None, request.version) and rule.holds_for(
            target=request.target, profile=request.profile
        ):
            new = rule.successor_of(name)
            since = f"since {rule.since}, " if rule.since else ""
            detail = f"{rule.reason} ({since}rule {rule.id})"
            return Problem(name, "renamed" if new else "removed", new, detail)
    if knowledge.before is not None and knowledge.before.version_of(name) is not None:
        detail = (
            f"{name} was in the release that the device runs and does not exist in "
            f"{request.version} any more."
        )
        return Problem(name, "removed", None, detail)
    if knowledge.elsewhere is not None and knowledge.elsewhere.version_of(name) is not None:
        detail = f"{name} exists in {request.version}, but not for {request.target}."
        return Problem(name, "elsewhere", None, detail)
    return None


def _unknown(name: str, request: PackageRequest, index: PackageIndex | None) -> Problem:
    near = _near(name, index) if index else None
    hint = f"; did you mean {near}?" if near else "."
    detail = f"There is no package {name} in {request.version} for {request.target}{hint}"
    return Problem(name, "unknown", near, detail)


def _near(name: str, index: PackageIndex) -> str | None:
    """Return the existing name that is most like this one and one slip away; None without one.

    Looking up all slips costs the same however large the index is; a search would block.
    """
    if len(name) > MAX_LENGTH:
        return None
    slips = _slips(name)
    held = {other for part in index.parts for other in part.keys() & slips}
    found = difflib.get_close_matches(name, sorted(held), n=1, cutoff=MIN_LIKENESS)
    return found[0] if found else None


# A request may be decided twice, the second time with what is known of other targets.
@lru_cache(maxsize=MAX_SUGGESTIONS)
def _slips(name: str) -> set[str]:
    """Return all names that one slip makes of this one, and the one in lower case."""
    splits = [(name[:place], name[place:]) for place in range(len(name) + 1)]
    fewer = {head + tail[1:] for head, tail in splits if tail}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in splits if len(tail) > 1}
    other = {head + letter + tail[1:] for head, tail in splits if tail for letter in LETTERS}
    more = {head + letter + tail for head, tail in splits for letter in LETTERS}
    return fewer | swapped | other | more | {name.lower()}


def conflicts(packages: Sequence[str], defaults: Iterable[str], rules: RuleBook) -> list[Problem]:
    """Return each group of which an image can hold one only; the list can take defaults away."""
    entries = set(packages)
    together = dict.fromkeys([*rules.variants(packages), *rules.variants(defaults)])
    problems = []
    for exclusive in rules.exclusives:
        members = [
            name
            for name in together
            if exclusive.members.fullmatch(name) and f"-{name}" not in entries
        ]
        if len(members) > 1:
            first, other = members[:2]
            implied = other not in entries
            what = (
                f"{other} is a default package of this device; take it away with -{other}."
                if implied
                else "Leave one of them out."
            )
            detail = f"{' and '.join(members)}: {exclusive.reason} {what}"
            problems.append(Problem(first, "conflict", f"-{other}" if implied else None, detail))
    return problems
