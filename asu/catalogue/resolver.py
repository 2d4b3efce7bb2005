"""Decide what a validated request builds, with what the downloads server knows."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
    resolved_fields,
)

from .validation import ValidatedRequest

# Problems that no build can solve, which are refused before the queue.
CERTAIN = frozenset({"version"})
REFUSED = 400, "Bad Request"
SHOWN = 3  # Problems in the sentence.
ADVICE = "Leave the versions out to take what the release has."


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """A request that is built as it is, and its identity.

    `refusal` is why no new build of it can succeed; one that is known is answered all the same.
    """

    fields: dict[str, Any]
    key: str
    refusal: AsuError | None = None


def as_it_stands(request: ValidatedRequest) -> ResolvedRequest:
    """Take a request without applying rules, as a prepared request is built."""
    fields = dict(request.fields)
    return ResolvedRequest(fields, request_hash(fields))


class Resolver:
    """Decides what requests lead to."""

    def __init__(
        self, gatherer: Gatherer, rules: RuleSource, has_unconfirmed: Callable[[], bool]
    ) -> None:
        self._gatherer, self._rules = gatherer, rules
        self._has_unconfirmed = has_unconfirmed

    async def _decide(self, request: ValidatedRequest) -> Resolution:
        wanted = package_request(request.fields)
        return await self._gatherer.decide(wanted, self._rules.current)

    async def resolve(self, request: ValidatedRequest) -> ResolvedRequest:
        """Return the request that is to be built."""
        resolution = await self._gatherer.decide(
            package_request(request.fields), self._rules.current
        )
        fields = resolved_fields(request.fields, resolution)
        return ResolvedRequest(fields, request_hash(fields), self._refusal(resolution.problems))

    def _refusal(self, problems: Iterable[Problem]) -> AsuError | None:
        """Return what a build would end with after the queue, unless the indexes may be old."""
        problems = [one for one in problems if one.kind in CERTAIN]
        if not problems or self._has_unconfirmed():
            return None
        named = " ".join(problem.detail for problem in problems[:SHOWN])
        more = f" {len(problems) - SHOWN} more are in `problems`." if problems[SHOWN:] else ""
        entries = [problem._asdict() for problem in problems]
        refusal = ImpossibleSelection(reason=f"{named}{more} {ADVICE}", problems=entries)
        refusal.status, refusal.title = REFUSED
        return refusal

    async def preview(self, request: ValidatedRequest) -> dict[str, Any]:
        """Return the preview, without what only the builds know."""
        resolution = await self._gatherer.decide(
            package_request(request.fields), self._rules.current
        )
        return preview(request.fields, resolution)
