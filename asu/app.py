"""The application: routers, the edge, and the one place where errors become HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from . import __version__
from .errors import AsuError, InvalidRequest, MethodNotAllowed, NotFound
from .pages import swagger as documentation
from .routers import build_routes as builds
from .routers import health_routes as health
from .routers import metadata_routes as metadata
from .routers import page_routes as pages
from .routers import prepare_routes as prepare
from .routers import statistics_routes as stats
from .routers import store_routes as store
from .routers.documentation import describe
from .services import OpenServices, Services, open_services
from .settings import Settings
from .web.edge import Cors, Edge, error_response, plain_error
from .web.request_mistakes import described, summary

HTTP_BAD_REQUEST, HTTP_NOT_FOUND, HTTP_METHOD_NOT_ALLOWED = 400, 404, 405
# The framework raises 400 only for a body that it cannot decode.
BROKEN_BODY = (
    "The request body cannot be read: it must be JSON in UTF-8, not nested without end, "
    "with numbers of a usual size."
)


class LifespanState(TypedDict):
    """What the state of a request holds."""

    services: Services


def create_app(settings: Settings, open_services: OpenServices = open_services) -> FastAPI:
    """Make the API. Nothing is opened before its lifespan begins."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[LifespanState]:
        async with open_services(settings) as services, services.tally.flushed():
            yield {"services": services}

    app = FastAPI(
        title="asu",
        version=__version__,
        summary="OpenWrt firmware images on demand",
        license_info={"name": "GPL-2.0-only"},
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,  # Ours have a policy (routers/pages.py).
        redoc_url=None,
        # FastAPI's own telemetry would record exception messages, which can quote a request.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    for router in (
        metadata.documents,
        builds.router,
        prepare.router,
        metadata.router,
        stats.router,
        store.router,
        health.router,
        pages.router,
    ):
        # Not `include_router`, which keeps each router apart and asks one after the other for every
        # request: a third of a poll's time.
        app.router.routes.extend(router.routes)
    describe(app)
    app.mount(
        documentation.PATH, pages.StaticAssets(packages=[documentation.FILES]), name="swagger-ui"
    )
    app.mount("/static", pages.StaticAssets(packages=[("asu", "static")]), name="static")
    app.add_exception_handler(AsuError, _asu_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(Edge, answered=_count)
    if settings.cors:
        app.add_middleware(Cors)
    return app


def _count(scope: Scope, status: int) -> None:
    """Count an answered request; the router notes in the scope which route it took."""
    services: Services = scope["state"]["services"]
    services.counts.add_request(
        getattr(scope.get("route"), "path", "other"), scope["method"], status
    )


async def _asu_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, AsuError)  # noqa: S101  # The handler is only for this class.
    return error_response(error)


async def _invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    found = error.errors()
    errors = described(found)
    return error_response(InvalidRequest(reason=summary(errors, len(found)), errors=errors))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    headers = dict(error.headers or {})
    if error.status_code == HTTP_NOT_FOUND:
        return error_response(NotFound())
    if error.status_code == HTTP_METHOD_NOT_ALLOWED:
        response = error_response(
            MethodNotAllowed(
                method=request.method,
                allowed=headers.get("Allow", headers.get("allow", "other methods")),
            )
        )
        response.headers.update(headers)
        return response
    return plain_error(
        error.status_code,
        detail=BROKEN_BODY if error.status_code == HTTP_BAD_REQUEST else None,
        headers=headers,
    )
