"""Preview an image, ask for it, and ask how far it is."""

import re
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from asu import errors
from asu.build_request import BuildRequest
from asu.builds.poll_answer import BuildAnswer, difference
from asu.operations.metrics import BUILD_REQUESTS, PREVIEWS
from asu.services import Services, services_of
from asu.web.client_address import client_of

from . import answers
from .documentation import Responses, Router, failed_builds, failures, header, refusals
from .documentation import answers as answered
from .preview_answers import PreviewAnswer


class PollRoute(APIRoute):
    """A route whose endpoint takes the request and the texts of its path, and nothing else.

    FastAPI's general way to call an endpoint takes longer than to answer most polls.
    """

    @override
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        response = await self.endpoint(Request(scope, receive), **scope["path_params"])
        await response(scope, receive, send)


class PostedRoute(APIRoute):
    """A route for build requests, which answers those that come again before it parses them."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        parse = super().get_route_handler()

        async def handle(request: Request) -> Response:
            services = services_of(request)
            answer = await services.builds.sent_again(await _sent(request))
            if answer is None:
                return await parse(request)
            services.counts.add(BUILD_REQUESTS, "hit")
            return _response(answer)

        return handle


polls = Router(prefix="/api/v1", tags=["builds"], route_class=PollRoute)
posts = Router(prefix="/api/v1", tags=["builds"], route_class=PostedRoute)
router = Router(prefix="/api/v1", tags=["builds"])
previews = Router(prefix="/api/v1", tags=["prepare"])

POLL_HEADERS = {
    "X-Imagebuilder-Status": header("The step, or `queued`.", "string"),
    "X-Queue-Position": header("How many wait before this one; 0 once it runs."),
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
    errors.NoWorker,
    errors.MemoryFull,
)
PREVIEW = answered(
    PreviewAnswer,
    *refusals(),
    errors.UpstreamUnreachable,
    errors.HalfPublished,
    errors.InternalError,
)
NOT_KNOWN = failures(errors.UnknownBuild, errors.QueueUnavailable)
EVENTS: Responses = {
    200: {
        "description": "Server-sent events, until the build has ended.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    **failures(
        errors.UnknownBuild,
        errors.QueueUnavailable,
        errors.TooManyListeners,
        errors.StoreFailed,
        errors.InvalidRequest,
    ),
}
DIFFERENCE = answered(
    answers.DifferenceAnswer, errors.UnknownBuild, errors.QueueUnavailable, errors.StoreFailed
)
ENTRY = r"^[0-9]{1,16}(-[0-9]{1,16})?$"  # An id of a Redis stream.
EVENT_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@posts.post("/build", summary="Ask for an image", responses={**STATES, **NOT_QUEUED})
async def request_build(
    request: Request, build_request: BuildRequest, *, skip_package_resolution: bool = False
) -> Response:
    """Queue a build, or answer with the one that is there; build a prepared request unchanged."""
    sent = await _sent(request)
    return _response(
        await ask_for(request, build_request, unchanged=skip_package_resolution, sent=sent)
    )


async def ask_for(
    request: Request, build_request: BuildRequest, *, unchanged: bool = False, sent: bytes = b""
) -> BuildAnswer:
    """Return the build of a request, also for the pages; `sent` is the request as it came."""
    services = services_of(request)
    validated = await services.catalogue.validate(build_request)
    if unchanged:
        resolved = services.resolver.as_it_stands(validated)
    else:
        resolved = await services.resolver.resolve(validated)
    client = client_of(request.client.host if request.client else "")
    answer = await services.builds.request(resolved, request.state.request_id, client, sent)
    services.counts.add(BUILD_REQUESTS, "hit" if answer.status == HTTPStatus.OK else "miss")
    return answer


@polls.get(
    "/build/{request_hash}", summary="Ask how far a build is", responses={**STATES, **NOT_KNOWN}
)
async def look_at_build(request: Request, request_hash: str) -> Response:
    """Answer from the build record alone; it is as cheap as can be, since every client polls."""
    builds = services_of(request).builds
    return _response(await builds.look(await builds.find(request_hash)))


@router.get(
    "/build/{request_hash}/events",
    summary="Watch a build",
    response_class=StreamingResponse,
    responses=EVENTS,
)
async def watch_build(
    request: Request,
    request_hash: str,
    after: Annotated[str, Query(pattern=ENTRY, description="As Last-Event-ID.")] = "0",
) -> Response:
    """Send what happens to a build until it has ended: `state`, `step`, `log` and `end`.

    Each line of the log comes once; a stream that breaks is resumed with `Last-Event-ID`.
    """
    services = services_of(request)
    key = await services.builds.find(request_hash)
    last = request.headers.get("Last-Event-ID", after)
    events = await services.events.listen(key, last if re.fullmatch(ENTRY, last) else after)
    if request.method == "HEAD":  # Nothing is watched for it.
        return Response(None, 200, EVENT_HEADERS, "text/event-stream")
    return StreamingResponse(events, 200, EVENT_HEADERS, "text/event-stream")


@router.get(
    "/build/{request_hash}/diff/{other_hash}", summary="Compare two builds", responses=DIFFERENCE
)
async def compare(request: Request, request_hash: str, other_hash: str) -> dict[str, Any]:
    """Say what the second build has otherwise: packages with their versions, and the request."""
    builds = services_of(request).builds
    return difference(await builds.known(request_hash), await builds.known(other_hash))


@previews.post("/build/prepare", summary="Preview a request", responses=PREVIEW)
async def prepare(
    request: Request, build_request: BuildRequest, response: Response
) -> dict[str, Any]:
    """Say what will be installed, what changes and why, and whether the image is there already."""
    # It repeats the request, the first-boot script included.
    response.headers["Cache-Control"] = "no-store"
    return await preview_of(request, build_request)


async def preview_of(request: Request, build_request: BuildRequest) -> dict[str, Any]:
    """Return the preview of a request, also for the pages."""
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


async def _sent(request: Request) -> bytes:
    """Return what decides what a request means: its query, its type and its body."""
    kind = request.headers.get("Content-Type", "")
    return b"%b %b\n%b" % (request.scope["query_string"], kind.encode(), await request.body())


def _response(answer: BuildAnswer) -> Response:
    return Response(answer.body, answer.status, answer.headers, "application/json")
