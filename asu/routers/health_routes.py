"""For operators: whether the API lives and can work, how the server does, and its metrics."""

from typing import Any

from fastapi import Request, Response

from asu import __version__
from asu.errors import QueueUnavailable
from asu.operations.exposition import CONTENT_TYPE
from asu.operations.status import ServerStatus
from asu.services import services_of

from .answers import HealthAnswer, VersionAnswer
from .documentation import Router, answers, failures

router = Router(tags=["operations"])

HTTP_UNAVAILABLE = 503
READY = {
    **answers(HealthAnswer),
    HTTP_UNAVAILABLE: {
        "model": HealthAnswer,
        "description": "Redis does not answer; requests cannot be taken.",
    },
}


@router.get("/livez", summary="Whether the process answers", responses=answers(HealthAnswer))
async def livez() -> dict[str, str]:
    """Answer at once, whatever the state of the services behind."""
    return {"status": "ok"}


@router.get("/readyz", summary="Whether requests can be served", responses=READY)
@router.get("/health", include_in_schema=False)
async def readyz(
    request: Request, response: Response, verbose: str | None = None
) -> dict[str, Any]:
    """Look at Redis; with `?verbose` look at everything else as well.

    Only Redis decides: without workers requests still wait safely, polls and downloads work, and
    the answer has a `notice`.
    """
    health = services_of(request).health
    checks = {"redis": await health.redis()}
    if verbose is not None:
        checks |= await health.details()
    ready = checks["redis"] == "ok"
    response.status_code = 200 if ready else HTTP_UNAVAILABLE
    answer: dict[str, Any] = {"status": "ok" if ready else "unavailable"}
    if ready and (notice := await health.notice()):
        answer["notice"] = notice
    if verbose is not None:
        answer["checks"] = checks
    return answer


@router.get("/version", summary="What runs here", responses=answers(VersionAnswer))
async def version() -> dict[str, str]:
    """Name and version of the service."""
    return {"service": "asu", "version": __version__}


@router.get(
    "/status.json", summary="How the server does right now", responses=failures(QueueUnavailable)
)
async def status(request: Request) -> ServerStatus:
    """Show workers, queue, the last 24 hours and the last failure of each class, as `/status`."""
    return await services_of(request).status.get()


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return what is counted in Prometheus' text format; the gateway lets nobody through to it."""
    return Response(await services_of(request).scrape.text(), media_type=CONTENT_TYPE)
