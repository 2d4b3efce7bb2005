"""Decide what a validated request builds, with what the downloads server knows."""

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
    """A request that is built as it is, and its identity."""

    fields: dict[str, Any]
    key: str


def as_it_stands(request: ValidatedRequest) -> ResolvedRequest:
    """Take a request without applying rules, as a prepared request is built."""
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
        """Return the preview, without what only the builds know."""
        resolution = await self._gatherer.decide(package_request(request.fields), self._rules)
        return preview(request.fields, resolution)
