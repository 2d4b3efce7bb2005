"""Decide what a validated request builds, with what the downloads server knows."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from asu.errors import AsuError, ImpossibleSelection
from asu.resolution import (
    Gatherer,
    Problem,
    Resolution,
    RuleSource,
    package_request,
    preview,
    request_hash,
    resolve_unchanged,
    resolved_fields,
    shown,
)

from .validation import ValidatedRequest

# Problems that no build can solve: always, and where nobody can have more than the indexes.
CERTAIN = frozenset({"version"})
MISSING = frozenset({"unknown", "removed", "renamed", "elsewhere"})
REFUSED = 400, "Bad Request"
ROOM = 160  # Characters for what is wrong; the rest of the problems stands in `problems` alone.
MAX_EXPLAINED = 100  # Packages in a plan.
VERSIONS_ADVICE = "Leave the versions out to take what the release has."
NAMES_ADVICE = "Take these names out of the list, or replace them."


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a new build before it is queued.

    `refusal` is why it cannot succeed. `explained` has the problem of each package that no index
    holds, for the case that the ImageBuilder does not find it either.
    """

    refusal: AsuError | None = None
    explained: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


async def _unknown() -> Outlook:
    return Outlook()


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """A request that is built as it is, and its identity; `outlook` is for a build that is new."""

    fields: dict[str, Any]
    key: str
    outlook: Callable[[], Awaitable[Outlook]] = _unknown


class Resolver:
    """Decides what requests lead to."""

    def __init__(
        self, gatherer: Gatherer, rules: RuleSource, is_outdated: Callable[[str], bool]
    ) -> None:
        self._gatherer, self._rules = gatherer, rules
        self._is_outdated = is_outdated

    async def resolve(self, request: ValidatedRequest) -> ResolvedRequest:
        """Return the request that is to be built."""
        resolution = await self._decide(request)
        fields = resolved_fields(request.fields, resolution)
        return ResolvedRequest(fields, request_hash(fields), partial(self._judge, resolution))

    def as_it_stands(self, request: ValidatedRequest) -> ResolvedRequest:
        """Take a request without applying rules, as a prepared request is built."""
        fields = dict(request.fields)
        return ResolvedRequest(fields, request_hash(fields), partial(self._look_ahead, fields))

    async def preview(self, request: ValidatedRequest) -> dict[str, Any]:
        """Return the preview, without what only the builds know."""
        return preview(request.fields, await self._decide(request))

    async def _decide(self, request: ValidatedRequest) -> Resolution:
        wanted = package_request(request.fields)
        return await self._gatherer.decide(wanted, self._rules.current)

    async def _look_ahead(self, fields: Mapping[str, Any]) -> Outlook:
        wanted, rules = package_request(fields), self._rules.current
        return await self._judge(await self._gatherer.decide(wanted, rules, resolve_unchanged))

    async def _judge(self, resolution: Resolution) -> Outlook:
        kinds = CERTAIN | MISSING if resolution.is_certain else CERTAIN
        certain = [problem for problem in resolution.problems if problem.kind in kinds]
        missing = resolution.missing[:MAX_EXPLAINED]
        return Outlook(
            # An older copy of an index may lack what was published since.
            None if any(map(self._is_outdated, resolution.documents)) else _refusal(certain),
            {problem.package: problem._asdict() for problem in missing},
        )


def _refusal(problems: list[Problem]) -> ImpossibleSelection | None:
    """Return what a build would end with after the queue; None without problems."""
    if not problems:
        return None
    named = [_sentence(problems[0])]
    for problem in problems[1:]:
        sentence = _sentence(problem)
        if sum(map(len, named)) + len(sentence) > ROOM:
            named.append(f"{len(problems) - len(named)} more are in `problems`.")
            break
        named.append(sentence)
    is_by_version = all(problem.kind in CERTAIN for problem in problems)
    advice = VERSIONS_ADVICE if is_by_version else NAMES_ADVICE
    refusal = ImpossibleSelection(
        reason=" ".join([*named, advice]), problems=[problem._asdict() for problem in problems]
    )
    refusal.status, refusal.title = REFUSED
    return refusal


def _sentence(problem: Problem) -> str:
    """Return a problem in words that name the package, and what to take instead."""
    package, detail, instead = shown(problem.package), problem.detail.rstrip("."), ""
    if len(detail) > ROOM:
        detail = f"{package} does not exist"
    elif problem.package not in detail:
        detail = f"{package}: {detail}"
    if problem.suggestion and problem.suggestion not in detail:
        instead = f"; use {shown(problem.suggestion)}"
    return f"{detail}{instead}."
