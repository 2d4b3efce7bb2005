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


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageProblem:
    """A package that cannot be installed; `words` name it in the one line that people read, `detail` is a sentence of its own."""

    package: str
    kind: Kind
    words: str
    detail: str
    # A word of the package list to use instead; no package manager tells one.
    suggestion: str | None = None

    def entry(self) -> dict[str, Any]:
        """Return it in the shape of a preview's problems."""
        return {
            "package": self.package,
            "kind": self.kind,
            "suggestion": self.suggestion,
            "detail": self.detail,
        }


def impossible_selection(problems: Iterable[PackageProblem]) -> ImpossibleSelection:
    """Return all problems in one error."""
    told = list(problems)
    named = {
        kind: ", ".join(problem.words for problem in told if problem.kind == kind)
        for kind in _HEADINGS
    }
    reason = ", ".join(f"{_HEADINGS[kind]} ({words})" for kind, words in named.items() if words)
    return ImpossibleSelection(reason=reason, problems=[problem.entry() for problem in told])


def each_once(problems: Iterable[PackageProblem]) -> list[PackageProblem]:
    """Return the problems in their order; what is said again in the same words counts once."""
    told: dict[tuple[Kind, str], PackageProblem] = {}
    for problem in problems:
        told.setdefault((problem.kind, problem.words), problem)
    return list(told.values())


def missing(package: str, needed_by: str = "") -> PackageProblem:
    """Return that a package, wanted itself or needed by another, is in no feed."""
    detail = (
        f"{needed_by} needs {package}, which is in none of the feeds."
        if needed_by
        else f"{package} is in none of the feeds."
    )
    return PackageProblem(package=package, kind="missing", words=package, detail=detail)


def other_version(package: str, need: str) -> PackageProblem:
    """Return that a package needs another one in a version that is not to be had, such as "curl (>= 99.0)"."""
    return PackageProblem(
        package=package,
        kind="version",
        words=f"{package} needs {need}",
        detail=f"{package} needs {need}, which is in none of the feeds.",
    )


def conflict(package: str, other: str) -> PackageProblem:
    """Return that two packages refuse each other."""
    return PackageProblem(
        package=package,
        kind="conflict",
        words=f"{package} with {other}",
        detail=f"{package} and {other} exclude each other; leave one of them out.",
    )


def clash(package: str, other: str, path: str) -> PackageProblem:
    """Return that two packages hold the same file."""
    return PackageProblem(
        package=package,
        kind="clash",
        words=f"{path} of {package} and {other}",
        detail=f"{package} and {other} both hold {path}; leave one of them out.",
    )


def unsuitable(package: str) -> PackageProblem:
    """Return that a package is made for another architecture."""
    return PackageProblem(
        package=package,
        kind="architecture",
        words=package,
        detail=f"{package} is not made for the architecture of this device.",
    )
