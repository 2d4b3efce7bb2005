"""The routes: a preview for a build request, and what operators ask for."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from typing_extensions import override

from . import __version__
from .answers import (
    ErrorAnswer,
    HealthAnswer,
    PreviewAnswer,
    RulesAnswer,
    StatusAnswer,
    VersionAnswer,
)
from .documentation import PATH as SWAGGER_PATH
from .documentation import SwaggerFiles, policy_of, swagger_page
from .exposition import CONTENT_TYPE, Exposition
from .metrics import METADATA_AGE, Counts
from .prepare_request import PrepareRequest
from .previews import Previews
from .resolution import RuleBook, RuleSource, Version
from .upstream import CachedDocuments

_MOVED = 308
SolveQuery = Annotated[
    bool,
    Query(description="Whether to foretell all that will be installed, conflicts and sizes."),
]
# A preview repeats the request, including the first-boot script.
_PREVIEW_HEADERS = {"Cache-Control": "no-store"}
_USUAL_QUERIES = {b"": True, b"solve=true": True, b"solve=false": False}
# The largest request of a real device seen has 14 KiB. A larger one that is wrong costs ten times
# as much here as in the way of FastAPI, and would be read twice.
_USUAL_BYTES = 16 * 1024
_USUAL_TYPES = ("application/json", "application/json; charset=utf-8")
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "Not served here"},
    413: {"model": ErrorAnswer, "description": "The body is too large"},
    422: {"model": ErrorAnswer, "description": "A field is missing or malformed"},
}


class PrepareRoute(APIRoute):
    """The route of previews, which reads usual requests itself.

    FastAPI's way from the bytes to the request takes a third of a preview's time. It still reads
    what is unusual or wrong, and names the mistakes.
    """

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer_in_full = super().get_route_handler()

        async def answer(request: Request) -> Response:
            solve = _USUAL_QUERIES.get(request.scope["query_string"])
            if solve is None or request.headers.get("Content-Type") not in _USUAL_TYPES:
                return await answer_in_full(request)
            try:
                body = await request.body()
                if len(body) > _USUAL_BYTES:
                    return await answer_in_full(request)
                wanted = PrepareRequest.model_validate_json(body)
            except (ValidationError, ClientDisconnect):
                return await answer_in_full(request)
            response: Response = await self.endpoint(wanted, solve=solve)
            return response

        return answer


def add_prepare_route(app: FastAPI, previews: Previews) -> None:
    """Add the route of previews."""
    router = APIRouter(route_class=PrepareRoute)

    @router.post(
        "/api/v1/prepare",
        tags=["prepare"],
        summary="What a build request leads to, and why",
        response_model=PreviewAnswer,
        responses=_REFUSALS,
    )
    async def prepare(
        request: PrepareRequest,
        solve: SolveQuery = True,  # noqa: FBT002
    ) -> Response:
        """Say which packages a build request leads to, what changes against it and why.

        Nothing is built: the same request always gets the same answer. `prepared_request` is ready
        to be sent to the build service.
        """
        answer = await previews.answer(request, solve=solve)
        return Response(answer, headers=_PREVIEW_HEADERS, media_type="application/json")

    # `include_router` would keep the router apart, at a cost to each request.
    app.router.routes.extend(router.routes)


def add_operation_routes(app: FastAPI, rules: RuleSource, documents: CachedDocuments) -> None:
    """Add the routes for operators: what runs, and whether it is well."""

    @app.get("/", tags=["operations"], summary="What this is")
    async def index() -> dict[str, str]:
        return {
            "service": "asu-prepare",
            "version": __version__,
            "about": "Says which packages a firmware request leads to, what changes and why: "
            "POST /api/v1/prepare",
            "docs": "/docs",
            "openapi": "/openapi.json",
            "status": "/api/v1/status",
        }

    async def health() -> HealthAnswer:
        """Answer; the rules are read before the port opens, and nothing else is needed."""
        if rules.trouble:
            return HealthAnswer(status="ok", notice=rules.trouble)
        return HealthAnswer(status="ok")

    for path, question in (
        ("/health", "Is it well"),
        ("/livez", "Does the process answer"),
        ("/readyz", "Can it take requests"),
    ):
        app.add_api_route(
            path,
            health,
            tags=["operations"],
            summary=question,
            name=path[1:],
            response_model_exclude_unset=True,
        )

    @app.get("/version", tags=["operations"], summary="Which version runs")
    async def version() -> VersionAnswer:
        return VersionAnswer(service="asu-prepare", version=__version__)

    @app.get("/api/v1/status", tags=["operations"], summary="What runs, and with which rules")
    async def service_status() -> StatusAnswer:
        return _status(rules.current).model_copy(update={"metadata_age": round(documents.age())})


def add_metrics_route(app: FastAPI, counts: Counts, documents: CachedDocuments) -> None:
    """Add the route that the operator's monitoring asks."""
    exposition = Exposition()

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(
            exposition.write({**counts.readings(), METADATA_AGE: {(): documents.age()}}),
            media_type=CONTENT_TYPE,
        )


def add_documentation_routes(app: FastAPI) -> None:
    """Add the page that shows the description of the API, and what it is made of."""
    app.mount(SWAGGER_PATH, SwaggerFiles(), name="swagger-ui")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = swagger_page("asu-prepare")
        return HTMLResponse(page, headers=policy_of(page))

    @app.get("/redoc", include_in_schema=False)
    async def redoc() -> RedirectResponse:
        return RedirectResponse("/docs", _MOVED)


def _status(rules: RuleBook) -> StatusAnswer:
    dated = [(rule.since, rule.id) for rule in rules.rules if rule.since is not None]
    # The last of those that share the version.
    since, newest = max(reversed(dated), key=lambda one: one[0])
    return StatusAnswer(
        service="asu-prepare",
        version=__version__,
        status="ok",
        rules=RulesAnswer(count=len(rules.rules), newest=newest, newest_since=since.text),
        metadata_age=0,
        branches=sorted(rules.branch_off_revisions, key=Version.parse),
    )
