"""The routes: a preview for a build request, and what operators ask for."""

from typing import Any

from fastapi import FastAPI, Request, Response

from . import __version__
from .answers import ErrorAnswer, HealthAnswer, PreviewAnswer, RulesAnswer, StatusAnswer, VersionAnswer
from .config import Settings
from .errors import BodyTooLargeError, InvalidRequestError
from .previews import Previews
from .resolution import RuleBook, Version

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "Not served here"},
    413: {"model": ErrorAnswer, "description": "The body is too large"},
    422: {"model": ErrorAnswer, "description": "A field is missing or malformed"},
}
# The body is read and validated in one pass from the bytes, which FastAPI's own parameter does not do; so it is described here.
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/PrepareRequest"}}}}}


def add_prepare_route(app: FastAPI, previews: Previews, settings: Settings) -> None:
    """Add the route that previews a build request."""

    @app.post(
        "/api/v1/prepare",
        tags=["prepare"],
        summary="What a build request leads to, and why",
        response_model=PreviewAnswer,
        responses=_REFUSALS,
        openapi_extra=_BODY,
    )
    async def prepare(request: Request) -> Response:
        """Say which packages a build request leads to, what changes against it and why.

        Nothing is built: the same request always gets the same answer. `prepared_request` is ready to be sent to the build
        service.
        """
        if not _is_json(request.headers.get("content-type", "")):
            raise InvalidRequestError(reason="The request is not sent as JSON with the header Content-Type: application/json")
        answer = await previews.answer(await _read_body(request, settings.max_body_bytes))
        return Response(answer, media_type="application/json")


def add_operation_routes(app: FastAPI, rules: RuleBook) -> None:
    """Add the routes that tell operators what runs and how it does."""
    status = _status(rules)

    @app.get("/", tags=["operations"], summary="What this is")
    async def index() -> dict[str, str]:
        return {
            "service": "asu-prepare",
            "version": __version__,
            "about": "Says which packages a firmware request leads to, what changes and why: POST /api/v1/prepare",
            "docs": "/docs",
            "openapi": "/openapi.json",
            "status": "/api/v1/status",
        }

    async def health() -> HealthAnswer:
        """Answer once the rules are read, which is before the port opens; there is nothing else to wait for."""
        return HealthAnswer(status="ok")

    for path, question in (("/health", "Is it well"), ("/livez", "Does the process answer"), ("/readyz", "Can it take requests")):
        app.add_api_route(path, health, tags=["operations"], summary=question, name=path[1:])

    @app.get("/version", tags=["operations"], summary="Which version runs")
    async def version() -> VersionAnswer:
        return VersionAnswer(service="asu-prepare", version=__version__)

    @app.get("/api/v1/status", tags=["operations"], summary="What runs, and with which rules")
    async def service_status() -> StatusAnswer:
        return status


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def _read_body(request: Request, limit: int) -> bytes:
    """Return the body; what has come is counted, since owut and auc send theirs in chunks without a Content-Length."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError(limit=limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _status(rules: RuleBook) -> StatusAnswer:
    dated = [(rule.since, rule.id) for rule in rules.rules if rule.since is not None]
    since, newest = max(reversed(dated), key=lambda one: one[0])  # The last of those that share the version.
    return StatusAnswer(
        service="asu-prepare",
        version=__version__,
        status="ok",
        rules=RulesAnswer(count=len(rules.rules), newest=newest, newest_since=since.text),
        branches=sorted(rules.branch_off_revisions, key=Version.parse),
    )
