"""The application: routes, errors and what surrounds them. Nothing happens at import."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from . import __version__
from .config import Settings
from .endpoint import PrepareEndpoint
from .errors import InvalidRequestError, MethodNotAllowedError, NotFoundError, PrepareError
from .metrics import FETCHES, Counts
from .middleware import Cors, HeadRequests, PlainPaths, RequestLog, UnhandledErrors
from .previews import AnswerCache, Previews
from .resolution import load_rules
from .routes import (
    add_documentation_routes,
    add_metrics_route,
    add_operation_routes,
    describe_prepare_route,
)
from .upstream import CachedDocuments, DownloadsServer
from .web_client import WebClient

_ABOUT = "Says which packages a firmware request leads to, what changes against it and why, before anything is built."


def create_app(settings: Settings, documents: CachedDocuments | None = None) -> FastAPI:
    """Return the application; reads the shipped rules and raises if they are broken.

    Without `documents` those of the downloads server are used.
    """
    rules, counts = load_rules(), Counts()
    if documents is None:
        private = [settings.upstream_url] if settings.upstream_is_private else []
        client = WebClient(user_agent=f"asu-prepare/{__version__}", private_urls=private)
        documents = DownloadsServer(
            client,
            url=settings.upstream_url,
            ttl=settings.metadata_ttl,
            answered=partial(counts.add, FETCHES),
        )
    previews = Previews(
        documents=documents,
        rules=rules,
        budget=settings.metadata_budget,
        cache=AnswerCache(settings.answer_cache),
        counts=counts,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await documents.close()

    app = FastAPI(
        title="asu-prepare",
        summary=_ABOUT,
        version=__version__,
        lifespan=lifespan,
        license_info={"name": "GPL-2.0-only"},
        docs_url=None,  # Ours have a policy (documentation.py).
        redoc_url=None,
        middleware=[
            Middleware(RequestLog, counts=counts),
            Middleware(HeadRequests),
            *([Middleware(Cors)] if settings.cors else []),
            Middleware(UnhandledErrors),
            Middleware(PlainPaths),
            Middleware(PrepareEndpoint, previews=previews, max_body_bytes=settings.max_body_bytes),
        ],
        # FastAPI's own telemetry would record exception messages, which can hold what a caller
        # sent.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    describe_prepare_route(app)
    add_operation_routes(app, rules, documents)
    add_metrics_route(app, counts, documents)
    add_documentation_routes(app)
    app.add_exception_handler(PrepareError, _refused)
    app.add_exception_handler(HTTPException, _refused_by_framework)
    app.add_exception_handler(RequestValidationError, _refused_by_framework)
    return app


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, PrepareError):
        raise error
    return error.response()


async def _refused_by_framework(_request: Request, error: Exception) -> Response:
    """Say what the framework refuses in our own form: unknown paths and methods, and whatever else it may find wrong."""
    if isinstance(error, HTTPException) and error.status_code == NotFoundError.status:
        return NotFoundError(headers=error.headers).response()
    if isinstance(error, HTTPException) and error.status_code == MethodNotAllowedError.status:
        return MethodNotAllowedError(headers=error.headers).response()
    return InvalidRequestError(reason="The request cannot be understood").response()
