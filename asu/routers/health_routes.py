"""Whether the API lives, and whether it can do its work."""

from typing import Any

from fastapi import APIRouter, Request, Response

from asu import __version__
from asu.services import services_of

from . import examples

router = APIRouter(tags=["operations"])

HTTP_UNAVAILABLE = 503


@router.head("/livez", include_in_schema=False)
@router.get("/livez", summary="Whether the process answers", responses=examples.LIVE)
async def livez() -> dict[str, str]:
    """Answer at once, whatever the state of the services behind."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Whether requests can be served", responses=examples.READY)
@router.head("/health", include_in_schema=False)
@router.get("/health", include_in_schema=False)
async def readyz(
    request: Request, response: Response, verbose: str | None = None
) -> dict[str, Any]:
    """Look at Redis; with `?verbose` tell of all else too, which decides nothing: without workers requests still wait safely.

    That none is alive is said in any case, under `notice`. It is no reason to take the API out:
    polls and downloads need it.
    """
    health = services_of(request).health
    checks = {"redis": await health.redis()}
    if verbose is not None:
        checks |= await health.details()
    ready = checks["redis"] == "ok"
    response.status_code = 200 if ready else HTTP_UNAVAILABLE
    notice = await health.notice() if ready else None
    answer: dict[str, Any] = {"status": "ok" if ready else "unavailable"}
    return {
        **answer,
        **({"notice": notice} if notice else {}),
        **({"checks": checks} if verbose is not None else {}),
    }


@router.head("/version", include_in_schema=False)
@router.get("/version", summary="What runs here", responses=examples.VERSION)
async def version() -> dict[str, str]:
    """Name and version of the service."""
    return {"service": "asu", "version": __version__}
