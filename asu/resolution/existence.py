"""What cannot work: names that do not exist, names that exist no more, and packages that exclude one another.

Every wanted name is looked up; all problems come in one answer, each with what to use instead where
that is known.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import lru_cache

from .knowledge import BUILT_IN, Knowledge, PackageIndex, without_abi
from .outcome import PackageRequest, Problem
from .package_changes import RuleBook

# Looking for a near name costs as much as the decision itself; a list of invented names must not
# cost many times that.
MAX_SUGGESTIONS = 8
MAX_LENGTH = 64  # Names of packages have up to fifty letters.
MIN_LIKENESS = 0.8  # Of difflib's ratio: one slip makes another word of a very short name.
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-_.+"  # Of which the names of packages are made.


def find_problems(
    packages: Sequence[str],
    versions: Mapping[str, str],
    request: PackageRequest,
    knowledge: Knowledge,
    rules: RuleBook,
    *,
    diff_packages: bool = False,
) -> list[Problem]:
    """Return all problems of a resolved list, which is absolute if `diff_packages`; without an index only those that need none.

    `versions` are those of the packages that the index holds.
    """
    installed = [name for name in packages if name[0] != "-"]
    problems = []
    if knowledge.index is not None and knowledge.index.complete:
        index = knowledge.index
        given = knowledge.defaults.defaults if knowledge.defaults else {}
        absent = set(installed) - versions.keys() - given.keys() - BUILT_IN
        missing = [name for name in installed if name in absent] if absent else []
        problems += [
            _missing(name, request, knowledge, index, rules, suggest=number < MAX_SUGGESTIONS)
            for number, name in enumerate(missing)
        ]
    given = {} if diff_packages or knowledge.defaults is None else knowledge.defaults.defaults
    return problems + _conflicts(installed, set(packages), given, rules)


def _missing(
    name: str,
    request: PackageRequest,
    knowledge: Knowledge,
    index: PackageIndex,
    rules: RuleBook,
    *,
    suggest: bool,
) -> Problem:
    """Say what has become of a package that the index does not hold."""
    for rule in rules.rules_for(name):
        if rule.lies_between(None, request.version) and rule.holds_for(
            target=request.target, profile=request.profile
        ):
            new = rule.successor_of(name)
            since = f" (since {rule.since}, rule {rule.id})" if rule.since else f" (rule {rule.id})"
            return Problem(
                package=name,
                kind="renamed" if new else "removed",
                suggestion=new,
                detail=f"{rule.reason}{since}",
            )
    plain = without_abi(name)
    if plain != name and index.version_of(plain) is not None:
        detail = f"{name} names one version of a library's interface; {request.version} has {plain} under its plain name or with another one."
        return Problem(package=name, kind="renamed", suggestion=plain, detail=detail)
    if knowledge.elsewhere is not None and knowledge.elsewhere.version_of(name) is not None:
        return Problem(
            package=name,
            kind="elsewhere",
            detail=f"{name} exists in {request.version}, but not for {request.target}.",
        )
    near = _near(name, index) if suggest else None
    hint = f"; did you mean {near}?" if near else "."
    return Problem(
        package=name,
        kind="unknown",
        suggestion=near,
        detail=f"There is no package {name} in {request.version} for {request.target}{hint}",
    )


def _near(name: str, index: PackageIndex) -> str | None:
    """Return the existing name that is most like this one, the same on every replica; None if none is like it.

    Every name that one slip makes of this one is looked up. That costs the same however large the
    index is, where measuring the likeness of thousands of names would keep all other requests
    waiting.
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
    """Return what is one letter more, less, another or swapped away from a name, or spelled in another case."""
    splits = [(name[:place], name[place:]) for place in range(len(name) + 1)]
    fewer = {head + tail[1:] for head, tail in splits if tail}
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in splits if len(tail) > 1}
    other = {head + letter + tail[1:] for head, tail in splits if tail for letter in LETTERS}
    more = {head + letter + tail for head, tail in splits for letter in LETTERS}
    return fewer | swapped | other | more | {name.lower()}


def _conflicts(
    installed: Iterable[str], packages: Container[str], given: Iterable[str], rules: RuleBook
) -> list[Problem]:
    """Return each group of which an image can hold one only, a given default that nothing takes away included."""
    together = dict.fromkeys([*rules.variants(installed), *rules.variants(given)])
    problems = []
    for exclusive in rules.exclusives:
        members = [
            name
            for name in together
            if exclusive.members.fullmatch(name) and f"-{name}" not in packages
        ]
        if len(members) > 1:
            first, other = members[0], members[1]
            implied = other not in packages
            suggestion = f"-{other}" if implied else None
            what = (
                f"{other} is a default package of this device; take it away with -{other}."
                if implied
                else "Leave one of them out."
            )
            problems.append(
                Problem(
                    package=first,
                    kind="conflict",
                    suggestion=suggestion,
                    detail=f"{' and '.join(members)}: {exclusive.reason} {what}",
                )
            )
    return problems
