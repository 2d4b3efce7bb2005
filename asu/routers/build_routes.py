"""Asking for an image, and asking how far it is."""

from fastapi import Request, Response

from asu import errors
from asu.build_request import BUILD_KEY, BuildRequest
from asu.builds.poll_answer import BuildAnswer
from asu.catalogue.resolver import as_it_stands
from asu.operations.metrics import BUILD_REQUESTS
from asu.services import services_of
from asu.web.client_address import client_of

from . import answers
from .documentation import Responses, Router, failed_builds, failures, refusals

router = Router(prefix="/api/v1", tags=["builds"])

HTTP_OK = 200
POLL_HEADERS = {
    "X-Imagebuilder-Status": {
        "description": "The step, or `queued`.",
        "schema": {"type": "string"},
    },
    "X-Queue-Position": {
        "description": "How many wait before this one; 0 once it runs.",
        "schema": {"type": "integer"},
    },
}
STATES: Responses = {
    200: {
        "model": answers.BuildAnswer,
        "description": "The image is finished; `images` names its files below /store/{bin_dir}/.",
        "headers": POLL_HEADERS,
    },
    202: {
        "model": answers.PendingAnswer,
        "description": "The build waits or runs; ask again at /api/v1/build/{request_hash}.",
        "headers": POLL_HEADERS,
    },
    **failed_builds(),
}
NOT_QUEUED = failures(
    *refusals(),
    errors.UpstreamUnreachable,
    errors.HalfPublished,
    errors.QueueUnavailable,
    errors.Overloaded,
    errors.ShareExceeded,
    errors.DiskFull,
    errors.MemoryFull,
)
NOT_KNOWN = failures(errors.UnknownBuild, errors.QueueUnavailable)


@router.post("/build", summary="Ask for an image", responses={**STATES, **NOT_QUEUED})
async def request_build(
    request: Request, build_request: BuildRequest, *, skip_package_resolution: bool = False
) -> Response:
    """Queue a build, or answer with the one that is there; build a prepared request unchanged."""
    services = services_of(request)
    validated = await services.catalogue.validate(build_request)
    resolved = (
        as_it_stands(validated)
        if skip_package_resolution
        else await services.resolver.resolve(validated)
    )
    client = client_of(request.client.host if request.client else "")
    answer = await services.builds.request(resolved, request.state.request_id, client)
    services.counts.add(BUILD_REQUESTS, "hit" if answer.status == HTTP_OK else "miss")
    return _response(answer)


@router.get(
    "/build/{request_hash}", summary="Ask how far a build is", responses={**STATES, **NOT_KNOWN}
)
async def look_at_build(request: Request, request_hash: str) -> Response:
    """Answer from the build record alone; it is as cheap as can be, since every client polls."""
    if BUILD_KEY.fullmatch(request_hash) is None:
        raise errors.UnknownBuild
    return _response(await services_of(request).builds.look(request_hash))


def _response(answer: BuildAnswer) -> Response:
    return Response(answer.body, answer.status, answer.headers, "application/json")
