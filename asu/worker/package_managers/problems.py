"""Why packages cannot be installed: the same five kinds for both package managers."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from asu.errors import BrokenDependency, ImpossibleSelection

Kind = Literal["missing", "version", "conflict", "clash", "architecture"]

NAMED = 3  # Broken dependencies in one sentence.
NOTHING_EXPLAINED: Mapping[str, Mapping[str, Any]] = {}
_HEADINGS: Mapping[Kind, str] = {
    "missing": "missing",
    "version": "other version needed",
    "conflict": "conflicts",
    "clash": "same file in two packages",
    "architecture": "not made for this device",
}


@dataclass(frozen=True, slots=True)
class PackageProblem:
    """A package that cannot be installed.

    `words` name it in the one line that people read, `detail` is a sentence of its own. `needed_by`
    is the package whose dependency it is, empty if it was asked for.
    """

    kind: Kind
    package: str
    words: str
    detail: str
    needed_by: str = ""

    def entry(self) -> dict[str, Any]:
        """Return it in the shape of a preview's problems."""
        return {
            "package": self.package,
            "kind": self.kind,
            "suggestion": None,
            "detail": self.detail,
        }


def impossible_selection(
    problems: Iterable[PackageProblem],
    why_missing: str = "",
    explained: Mapping[str, Mapping[str, Any]] = NOTHING_EXPLAINED,
) -> ImpossibleSelection:
    """Return all problems in one error; `why_missing` is added where a package is missing.

    `explained` has the preview's problems of missing packages, which say what to take instead.
    """
    known = list(problems)

    def words(problem: PackageProblem) -> str:
        instead = explained.get(problem.package, {}).get("suggestion")
        is_missing = problem.kind == "missing" and instead
        return f"{problem.words}, use {instead}" if is_missing else problem.words

    named = {
        kind: ", ".join(words(problem) for problem in known if problem.kind == kind)
        for kind in _HEADINGS
    }
    reason = ", ".join(f"{_HEADINGS[kind]} ({words})" for kind, words in named.items() if words)
    if why_missing and named["missing"]:
        reason = f"{reason}; {why_missing}"
    entries = [
        explained.get(problem.package, problem.entry())
        if problem.kind == "missing" and not problem.needed_by
        else problem.entry()
        for problem in known
    ]
    return ImpossibleSelection(reason=reason, problems=entries)


def broken_dependency(
    problems: Sequence[PackageProblem], packages: Collection[str]
) -> BrokenDependency | None:
    """Return that OpenWrt's packages do not fit together; None if anything else is a problem.

    `packages` are those that were asked for: one that is missing is missing anyway.
    """
    for problem in problems:
        is_wanted = problem.kind == "missing" and problem.package in packages
        if is_wanted or not problem.needed_by:
            return None
    reason = " ".join(dict.fromkeys(problem.detail for problem in problems[:NAMED]))
    return BrokenDependency(reason=reason, problems=[problem.entry() for problem in problems])


def each_once(problems: Iterable[PackageProblem]) -> list[PackageProblem]:
    """Return the problems in their order, those of the same kind and words once."""
    first: dict[tuple[Kind, str], PackageProblem] = {}
    for problem in problems:
        first.setdefault((problem.kind, problem.words), problem)
    return list(first.values())


def missing(package: str, needed_by: str = "") -> PackageProblem:
    """Return that a package, wanted itself or needed by another, is in no feed."""
    need = f"{needed_by} needs {package}, which" if needed_by else package
    return PackageProblem(
        "missing", package, package, f"{need} is in none of the feeds.", needed_by
    )


def other_version(package: str, need: str) -> PackageProblem:
    """Return that a package needs a version of another that no feed has, as "curl (>= 99.0)"."""
    words = f"{package} needs {need}"
    detail = f"{words}, which is in none of the feeds."
    return PackageProblem("version", package, words, detail, needed_by=package)


def conflict(package: str, other: str) -> PackageProblem:
    """Return that two packages refuse each other."""
    detail = f"{package} and {other} exclude each other; leave one of them out."
    return PackageProblem("conflict", package, f"{package} with {other}", detail)


def clash(package: str, other: str, path: str) -> PackageProblem:
    """Return that two packages hold the same file."""
    detail = f"{package} and {other} both hold {path}; leave one of them out."
    return PackageProblem("clash", package, f"{path} of {package} and {other}", detail)


def unsuitable(package: str) -> PackageProblem:
    """Return that a package is made for another architecture."""
    detail = f"{package} is not made for the architecture of this device."
    return PackageProblem("architecture", package, package, detail)
