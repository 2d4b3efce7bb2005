"""The preview: what a request leads to, before it is built."""

from typing import Any

from fastapi import APIRouter, Request, Response

from asu.build_request import BuildRequest
from asu.errors import AsuError, QueueUnavailable, UserError
from asu.operations.metrics import PREVIEWS
from asu.services import Services, services_of

from . import examples

router = APIRouter(prefix="/api/v1", tags=["prepare"])


@router.post(
    "/build/prepare",
    summary="Preview a request",
    responses=examples.PREVIEW,
    openapi_extra=examples.REQUEST_BODY,
)
async def prepare(
    request: Request, build_request: BuildRequest, response: Response
) -> dict[str, Any]:
    """Say what will be installed, what changes and why, and whether the image is there already."""
    # It repeats the request, the first-boot script included.
    response.headers["Cache-Control"] = "no-store"
    services = services_of(request)
    try:
        validated = await services.catalogue.validate(build_request)
        preview = await services.preparer.prepare(validated, request.state.request_id)
    except AsuError as error:
        services.counts.add(PREVIEWS, "refused" if isinstance(error, UserError) else "unavailable")
        raise
    services.counts.add(PREVIEWS, "problems" if preview["problems"] else "ok")
    return {**preview, "cache_available": await _is_cached(services, preview["request_hash"])}


async def _is_cached(services: Services, key: str) -> bool:
    """Whether the image is there already; not known while the queue is away, which is no reason to refuse a preview."""
    try:
        return await services.builds.is_cached(key)
    except QueueUnavailable:
        return False
