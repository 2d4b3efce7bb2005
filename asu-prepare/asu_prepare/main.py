"""The application: routes, errors and what surrounds them. Nothing happens at import."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from . import __version__
from .config import Settings
from .errors import (
    BodyTooLargeError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    PrepareError,
    invalid_fields,
)
from .forecasts import Forecasts
from .metrics import FETCHES, PREVIEWS, Counts
from .middleware import Edge
from .previews import Previews
from .resolution import BROKEN_BODY, LOOK_SECONDS, Gatherer, LiveRules
from .routes import (
    add_documentation_routes,
    add_metrics_route,
    add_operation_routes,
    add_prepare_route,
)
from .solver.pools import Pools
from .upstream import CachedDocuments, DownloadsServer
from .web_client import WebClient

_ABOUT = (
    "Says which packages a firmware request leads to, what changes against it and why, "
    "before anything is built."
)


def create_app(settings: Settings, documents: CachedDocuments | None = None) -> FastAPI:
    """Return the application; reads the shipped rules and raises if they are broken.

    Without `documents` those of the downloads server are used.
    """
    rules, counts = LiveRules(settings.package_changes_dir), Counts()
    if documents is None:
        private = [settings.upstream_url] if settings.upstream_is_private else []
        client = WebClient(user_agent=f"asu-prepare/{__version__}", private_urls=private)
        documents = DownloadsServer(
            client,
            url=settings.upstream_url,
            ttl=settings.metadata_ttl,
            answered=partial(counts.add, FETCHES),
        )
    gatherer, pools = Gatherer(documents), Pools(settings.solver_memory)
    previews = Previews(
        gatherer=gatherer,
        forecasts=Forecasts(gatherer, pools, rules),
        rules=rules,
        budget=settings.metadata_budget,
        counts=counts,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(_look_again(rules))
        yield
        looking.cancel()
        await pools.close()
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
            Middleware(
                Edge, counts=counts, cors=settings.cors, max_body_bytes=settings.max_body_bytes
            )
        ],
        # FastAPI's telemetry would record exception messages, which can hold what a caller sent.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    add_prepare_route(app, previews)
    add_operation_routes(app, rules, documents)
    add_metrics_route(app, counts, documents)
    add_documentation_routes(app)
    _add_error_handlers(app, counts)
    return app


async def _look_again(rules: LiveRules) -> None:
    """Read an operator's rules again when they change."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(rules.look)


def _add_error_handlers(app: FastAPI, counts: Counts) -> None:
    """Answer every refusal, including those of the framework, in one form."""

    async def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, PrepareError)  # noqa: S101  # Registered for this class alone.
        return error.response()

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        counts.add(PREVIEWS, "refused")
        return invalid_fields(error.errors()).response()

    async def refused_by_framework(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        if error.status_code == NotFoundError.status:
            return NotFoundError(headers=error.headers).response()
        if error.status_code == MethodNotAllowedError.status:
            return MethodNotAllowedError(headers=error.headers).response()
        counts.add(PREVIEWS, "refused")
        if error.status_code == BodyTooLargeError.status:
            return BodyTooLargeError(limit=error.detail).response()
        return InvalidRequestError(reason=BROKEN_BODY).response()

    app.add_exception_handler(PrepareError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused_by_framework)
