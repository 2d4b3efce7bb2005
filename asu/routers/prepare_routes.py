"""The preview: what a request leads to, before it is built."""

from typing import Any

from fastapi import Request, Response

from asu import errors
from asu.build_request import BuildRequest
from asu.operations.metrics import PREVIEWS
from asu.services import Services, services_of

from .answers import PreviewAnswer
from .documentation import Router, answers, refusals

router = Router(prefix="/api/v1", tags=["prepare"])

PREVIEW = answers(
    PreviewAnswer,
    *refusals(),
    errors.UpstreamUnreachable,
    errors.HalfPublished,
    errors.InternalError,
)


@router.post("/build/prepare", summary="Preview a request", responses=PREVIEW)
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
    except errors.AsuError as error:
        is_refused = isinstance(error, errors.UserError)
        services.counts.add(PREVIEWS, "refused" if is_refused else "unavailable")
        raise
    services.counts.add(PREVIEWS, "problems" if preview["problems"] else "ok")
    return {**preview, "cache_available": await _is_cached(services, preview["request_hash"])}


async def _is_cached(services: Services, key: str) -> bool:
    """Whether the image is there; False while the queue is away, so that previews still work."""
    try:
        return await services.builds.is_cached(key)
    except errors.QueueUnavailable:
        return False
