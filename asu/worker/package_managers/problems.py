"""Why packages cannot be installed: the same five kinds for both package managers."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from asu.errors import ImpossibleSelection

Kind = Literal["missing", "version", "conflict", "clash", "architecture"]

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

    `words` name it in the one line that people read, `detail` is a sentence of its own.
    """

    kind: Kind
    package: str
    words: str
    detail: str

    def entry(self) -> dict[str, Any]:
        """Return it in the shape of a preview's problems; no package manager knows a suggestion."""
        return {
            "package": self.package,
            "kind": self.kind,
            "suggestion": None,
            "detail": self.detail,
        }


def impossible_selection(
    problems: Iterable[PackageProblem], why_missing: str = ""
) -> ImpossibleSelection:
    """Return all problems in one error; `why_missing` is added where a package is missing."""
    known = list(problems)
    named = {
        kind: ", ".join(problem.words for problem in known if problem.kind == kind)
        for kind in _HEADINGS
    }
    reason = ", ".join(f"{_HEADINGS[kind]} ({words})" for kind, words in named.items() if words)
    if why_missing and named["missing"]:
        reason = f"{reason}; {why_missing}"
    return ImpossibleSelection(reason=reason, problems=[problem.entry() for problem in known])


def each_once(problems: Iterable[PackageProblem]) -> list[PackageProblem]:
    """Return the problems in their order, those of the same kind and words once."""
    first: dict[tuple[Kind, str], PackageProblem] = {}
    for problem in problems:
        first.setdefault((problem.kind, problem.words), problem)
    return list(first.values())


def missing(package: str, needed_by: str = "") -> PackageProblem:
    """Return that a package, wanted itself or needed by another, is in no feed."""
    need = f"{needed_by} needs {package}, which" if needed_by else package
    return PackageProblem("missing", package, package, f"{need} is in none of the feeds.")


def other_version(package: str, need: str) -> PackageProblem:
    """Return that a package needs a version of another that no feed has, as "curl (>= 99.0)"."""
    words = f"{package} needs {need}"
    return PackageProblem("version", package, words, f"{words}, which is in none of the feeds.")


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
