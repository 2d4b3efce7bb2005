"""What cannot work: names that do not exist, names that exist no more, and packages that exclude one another.

Every wanted name is looked up; all problems come in one answer, each with what to use instead where that is known.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable, Sequence

from .knowledge import BUILT_IN, Knowledge, PackageIndex, without_abi
from .outcome import PackageRequest, Problem
from .package_changes import RuleBook

# Looking for a near name walks through the index; a list of invented names must not cost more than this many walks.
MAX_SUGGESTIONS = 8
MIN_LIKENESS = 0.8  # Of difflib's ratio: a slip of one or two letters, not another word.


def find_problems(
    packages: Sequence[str],
    versions: Container[str],
    request: PackageRequest,
    knowledge: Knowledge,
    rules: RuleBook,
    *,
    diff_packages: bool = False,
) -> list[Problem]:
    """Return all problems of a resolved list, which is absolute if `diff_packages`; without an index only those that need none.

    `versions` holds the names that the index does.
    """
    installed = [name for name in packages if name[0] != "-"]
    problems = []
    if knowledge.index is not None and knowledge.index.complete:
        index = knowledge.index
        given = knowledge.defaults.defaults if knowledge.defaults else {}
        missing = [name for name in installed if name not in versions and name not in given and name not in BUILT_IN]
        problems += [_missing(name, request, knowledge, index, rules, suggest=number < MAX_SUGGESTIONS) for number, name in enumerate(missing)]
    given = {} if diff_packages or knowledge.defaults is None else knowledge.defaults.defaults
    return problems + _conflicts(installed, set(packages), given, rules)


def _missing(name: str, request: PackageRequest, knowledge: Knowledge, index: PackageIndex, rules: RuleBook, *, suggest: bool) -> Problem:
    """Say what has become of a package that the index does not hold."""
    for rule in rules.rules_for(name):
        if rule.lies_between(None, request.version) and rule.holds_for(target=request.target, profile=request.profile):
            new = rule.with_package if rule.replace else rule.with_package and rule.with_package + name[len(rule.replace_prefix or "") :]
            since = f" (since {rule.since}, rule {rule.id})" if rule.since else f" (rule {rule.id})"
            return Problem(package=name, kind="renamed" if new else "removed", suggestion=new, detail=f"{rule.reason}{since}")
    plain = without_abi(name)
    if plain != name and index.version_of(plain) is not None:
        detail = f"{name} names one version of a library's interface; {request.version} has {plain} under its plain name or with another one."
        return Problem(package=name, kind="renamed", suggestion=plain, detail=detail)
    if knowledge.elsewhere is not None and knowledge.elsewhere.version_of(name) is not None:
        return Problem(package=name, kind="elsewhere", detail=f"{name} exists in {request.version}, but not for {request.target}.")
    near = _near(name, index) if suggest else None
    hint = f"; did you mean {near}?" if near else "."
    return Problem(
        package=name, kind="unknown", suggestion=near, detail=f"There is no package {name} in {request.version} for {request.target}{hint}"
    )


def _near(name: str, index: PackageIndex) -> str | None:
    """Return the existing name that is most like this one, the same on every replica; None if none is like it."""
    candidates = sorted({other for part in index.parts for other in part if other[0] == name[0] and abs(len(other) - len(name)) <= 2})  # noqa: PLR2004
    found = difflib.get_close_matches(name, candidates, n=1, cutoff=MIN_LIKENESS)
    return found[0] if found else None


def _conflicts(installed: Iterable[str], packages: Container[str], given: Iterable[str], rules: RuleBook) -> list[Problem]:
    """Return each group of which an image can hold one only, a given default that nothing takes away included."""
    together = dict.fromkeys([*rules.variants(installed), *rules.variants(given)])
    problems = []
    for exclusive in rules.exclusives:
        members = [name for name in together if exclusive.members.fullmatch(name) and f"-{name}" not in packages]
        if len(members) > 1:
            first, other = members[0], members[1]
            implied = other not in packages
            suggestion = f"-{other}" if implied else None
            what = f"{other} is a default package of this device; take it away with -{other}." if implied else "Leave one of them out."
            problems.append(
                Problem(package=first, kind="conflict", suggestion=suggestion, detail=f"{' and '.join(members)}: {exclusive.reason} {what}")
            )
    return problems
