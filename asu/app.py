"""The application: routers, the edge, and the one place where errors become HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

from . import __version__, errors
from .pages import swagger
from .pages.templating import render
from .resolution import BROKEN_BODY, described, summary
from .routers import (
    build_routes,
    health_routes,
    metadata_routes,
    page_routes,
    statistics_routes,
    store_routes,
)
from .routers.documentation import describe
from .services import OpenServices, Services, open_services
from .settings import Settings
from .web.edge import Cors, Edge, error_response, plain_error

# As readers of /docs need them.
TAGS = ("builds", "prepare", "store", "metadata", "statistics", "operations")


def create_app(settings: Settings, open_services: OpenServices = open_services) -> FastAPI:
    """Make the API. Nothing is opened before its lifespan begins."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Services]]:
        async with open_services(settings) as services, services.tally.flushed():
            yield {"services": services}

    app = FastAPI(
        title="asu",
        version=__version__,
        summary="OpenWrt firmware images on demand",
        license_info={"name": "GPL-2.0-only"},
        lifespan=lifespan,
        openapi_tags=[{"name": name} for name in TAGS],
        redirect_slashes=False,
        docs_url=None,  # Ours have a policy (page_routes).
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
        build_routes.polls,  # Routes are compared in order, and most requests are polls.
        build_routes.posts,
        metadata_routes.documents,
        build_routes.router,
        build_routes.previews,
        metadata_routes.router,
        statistics_routes.router,
        store_routes.router,
        health_routes.router,
        page_routes.router,
    ):
        # Not `include_router`, which keeps each router apart and asks one after the other for every
        # request: a third of a poll's time.
        app.router.routes.extend(router.routes)
    describe(app)
    for path, package in ((swagger.PATH, swagger.FILES), ("/static", ("asu", "static"))):
        app.mount(path, page_routes.StaticAssets(packages=[package]), name=path)
    app.add_exception_handler(errors.AsuError, _asu_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(Edge, answered=_count)
    if settings.cors:
        app.add_middleware(Cors)
    return app


def _count(scope: Scope, status: int) -> None:
    """Count an answered request; the router notes in the scope which route it took."""
    services: Services = scope["state"]["services"]
    route = getattr(scope.get("route"), "path", "other")
    services.counts.add_request(route, scope["method"], status)


async def _asu_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.AsuError)  # noqa: S101  # The handler is only for this class.
    return await _shown(request, error_response(error))


async def _shown(request: Request, answer: Response) -> Response:
    """Return an error as a page if a browser opened this address; programs get it as JSON."""
    if "text/html" not in request.headers.get("Accept", ""):
        return answer
    values = {"retry_after": None, **json.loads(bytes(answer.body))}
    page = await asyncio.to_thread(
        render, "error.html", page_routes.language_of(request), error=values
    )
    answer.headers.update({**page_routes.HEADERS, "Vary": "Accept, Accept-Language"})
    del answer.headers["Content-Length"], answer.headers["Content-Type"]
    return HTMLResponse(page, answer.status_code, answer.headers)


async def _invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    found = error.errors()
    mistakes = described(found)
    reason = summary(mistakes, len(found))
    answer = error_response(errors.InvalidRequest(reason=reason, errors=mistakes))
    return await _shown(request, answer)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == HTTPStatus.NOT_FOUND:
        return await _shown(request, error_response(errors.NotFound()))
    headers = Headers(error.headers)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = headers.get("Allow", "other methods")
        response = error_response(errors.MethodNotAllowed(method=request.method, allowed=allowed))
        response.headers.update(headers)
        return await _shown(request, response)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # Only for a body that cannot be decoded.
        return await _shown(request, error_response(errors.InvalidRequest(reason=BROKEN_BODY)))
    return await _shown(request, plain_error(error.status_code, headers=headers))
