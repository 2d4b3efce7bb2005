"""From a validated request to one that nothing changes any more, with all that the downloads server tells.

The same decision comes from asu-prepare, which has its own copy of the core; this one serves where
that service is not configured, and every direct build.
"""

from dataclasses import dataclass
from typing import Any

from asu.resolution import (
    Gatherer,
    RuleBook,
    package_request,
    preview,
    request_hash,
    resolved_fields,
)

from .validation import ValidatedRequest


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """A request that nothing changes any more, and its identity."""

    fields: dict[str, Any]
    key: str


def as_it_stands(request: ValidatedRequest) -> ResolvedRequest:
    """Take a validated request without applying rules: what a prepared request is built from."""
    fields = dict(request.fields)
    return ResolvedRequest(fields, request_hash(fields))


class Resolver:
    """Decides what requests lead to."""

    def __init__(self, gatherer: Gatherer, rules: RuleBook) -> None:
        self._gatherer, self._rules = gatherer, rules

    async def resolve(self, request: ValidatedRequest) -> ResolvedRequest:
        """Return the request that is to be built."""
        resolution = await self._gatherer.decide(package_request(request.fields), self._rules)
        fields = resolved_fields(request.fields, resolution)
        return ResolvedRequest(fields, request_hash(fields))

    async def preview(self, request: ValidatedRequest) -> dict[str, Any]:
        """Return the answer of prepare, without what only the build service knows."""
        resolution = await self._gatherer.decide(package_request(request.fields), self._rules)
        return preview(request.fields, resolution)
