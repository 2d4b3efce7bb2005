"""Asking for an image, and asking how far it is."""

from fastapi import APIRouter, Request, Response

from asu.build_request import BUILD_KEY, BuildRequest
from asu.builds.poll_answer import BuildAnswer
from asu.catalogue.resolver import as_it_stands
from asu.errors import UnknownBuild
from asu.operations.metrics import BUILD_REQUESTS
from asu.services import services_of
from asu.web.client_address import client_of

from . import examples

router = APIRouter(prefix="/api/v1", tags=["builds"])

HTTP_OK = 200


@router.post(
    "/build",
    summary="Ask for an image",
    responses=examples.BUILD,
    openapi_extra=examples.REQUEST_BODY,
)
async def request_build(
    request: Request, build_request: BuildRequest, *, skip_package_resolution: bool = False
) -> Response:
    """Queue a build, or answer with the one that is already there; a prepared request is built as it stands."""
    services = services_of(request)
    validated = await services.catalogue.validate(build_request)
    resolved = (
        as_it_stands(validated)
        if skip_package_resolution
        else await services.resolver.resolve(validated)
    )
    answer = await services.builds.request(
        resolved, request.state.request_id, client_of(request.client.host if request.client else "")
    )
    services.counts.add(BUILD_REQUESTS, "hit" if answer.status == HTTP_OK else "miss")
    return _answer(answer)


@router.head("/build/{request_hash}", include_in_schema=False)
@router.get("/build/{request_hash}", summary="Ask how far a build is", responses=examples.POLL)
async def look_at_build(request: Request, request_hash: str) -> Response:
    """Answer from the build record alone; as cheap as can be, since every client polls."""
    if BUILD_KEY.fullmatch(request_hash) is None:
        raise UnknownBuild
    return _answer(await services_of(request).builds.look(request_hash))


def _answer(answer: BuildAnswer) -> Response:
    return Response(answer.body, answer.status, answer.headers, "application/json")
