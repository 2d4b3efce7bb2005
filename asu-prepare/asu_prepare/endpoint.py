"""The way of a preview's request through HTTP, without the framework: read the body, answer, or refuse.

FastAPI finds a route, solves its dependencies and opens two stacks for each request, which together
cost more than a preview. So this stands in front of it and takes `POST /api/v1/prepare` alone;
whatever else comes goes on to the framework, which also describes this route and refuses other
methods.
"""

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import BodyTooLargeError, InvalidRequestError, PrepareError
from .previews import Previews

PATH = "/api/v1/prepare"
# An answer repeats the request, the first-boot script included.
_HEADERS = {"Cache-Control": "no-store"}


class PrepareEndpoint:
    """Answers `POST /api/v1/prepare`."""

    def __init__(self, app: ASGIApp, *, previews: Previews, max_body_bytes: int) -> None:
        self.app, self._previews, self._max_body_bytes = app, previews, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on what is not ours."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        try:
            _require_json(scope)
            answer = await self._previews.answer(await _read_body(receive, self._max_body_bytes))
        except PrepareError as error:
            await error.response()(scope, receive, send)
            return
        await Response(answer, headers=_HEADERS, media_type="application/json")(
            scope, receive, send
        )


def _require_json(scope: Scope) -> None:
    """Refuse another content type than JSON, so that a form on a foreign page cannot send requests."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            if kind == b"application/json" or (
                kind.startswith(b"application/") and kind.endswith(b"+json")
            ):
                return
    raise InvalidRequestError(
        reason="The request is not sent as JSON with the header Content-Type: application/json"
    )


async def _read_body(receive: Receive, limit: int) -> bytes:
    """Return the body; what has come is counted, since owut and auc send theirs in chunks without a Content-Length."""
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError(limit=limit)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)
