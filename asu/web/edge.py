"""What every request and every answer passes; pure ASGI, so that it costs next to nothing.

- Doubled and trailing slashes are taken out of paths, for every method: old clients join URLs so.
- A path with a control character is refused: a route's pattern would match one that ends with a
  line break.
- A body is counted while it is read: device clients send it chunked, without Content-Length.
- A request has an id, from the gateway or made here, which is answered as `X-Request-ID`.
- An exception that nothing caught becomes an error in the one JSON shape, without its cause; the
  log has the place where it failed, and the id.
- CORS headers are on every answer, errors and redirects included.
"""

import json
import logging
import re
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import ClassVar

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asu.errors import AsuError, BodyTooLarge, InternalError, NotFound
from asu.logs import logged_with, where_it_failed

log = logging.getLogger(__name__)

# The largest request seen from a real device is 14 KiB; 18 times that leaves room for first-boot
# scripts.
MAX_BODY_BYTES = 256 * 1024
_SLASHES = re.compile(r"/{2,}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HEADER_NAMES = re.compile(r"[A-Za-z0-9_, -]{1,512}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def error_response(error: AsuError) -> Response:
    """Return an error as an answer in the one shape of all errors."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    return Response(json.dumps(error.body()), error.status, headers, "application/json")


def plain_error(
    status: int, *, detail: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Return an error of the framework in the same shape."""
    title = HTTPStatus(status).phrase
    body = {
        "status": status,
        "title": title,
        "detail": detail or title,
        "code": title.lower().replace(" ", "-"),
    }
    return Response(json.dumps(body), status, headers, "application/json")


class BodyBound:
    """Reads a body before the application does and refuses one that is too large."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        # A caller may send 256 Ki pieces of one byte each; a list would be slow at its beginning.
        self._messages: deque[Message] = deque()

    async def read(self) -> None:
        """Read the whole body; raises BodyTooLarge as soon as the limit is passed."""
        size, more = 0, True
        while more:
            message = await self._receive()
            self._messages.append(message)
            size += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)
            if size > MAX_BODY_BYTES:
                raise BodyTooLarge(limit_kib=MAX_BODY_BYTES // 1024)

    async def receive(self) -> Message:
        """Return what was read piece by piece, then what comes after."""
        return self._messages.popleft() if self._messages else await self._receive()


class Edge:
    """The outermost layer but CORS.

    `answered` is called for each request with its scope, as the application left it, and the status
    of the answer.
    """

    def __init__(self, app: ASGIApp, answered: Callable[[Scope, int], None] | None = None) -> None:
        self._app, self._answered = app, answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        with logged_with(request_id=request_id):
            await self._pass_on(scope, receive, send, request_id)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            scope["path"] = _plain(scope["path"])
            if scope["method"] in ("POST", "PUT", "PATCH"):
                bound = BodyBound(receive)
                await bound.read()
                receive = bound.receive
            await self._app(scope, receive, send_with_id)
        except AsuError as error:
            if status:
                raise
            await error_response(error)(scope, receive, send_with_id)
        except HTTPException:
            raise
        except Exception as error:
            # Not `log.exception`: the message may quote the request, a first-boot script included.
            log.error("request %s failed: %s", request_id, where_it_failed(error))  # noqa: TRY400
            if status:
                raise
            await error_response(InternalError(request_id=request_id))(scope, receive, send_with_id)
        finally:
            if status and self._answered:
                self._answered(scope, status)


class Cors:
    """CORS on every answer, with or without an Origin, so caches cannot keep an answer without it.

    Nothing here uses credentials, so every page may read every answer. OPTIONS is answered for any
    path and any header: after a failed preflight a browser does not even see the error that the
    request itself would get.
    """

    _PREFLIGHT: ClassVar[Mapping[str, str]] = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
        # A day; it does not help LuCI, whose changing `?timestamp` defeats preflight caches.
        "Access-Control-Max-Age": "86400",
        "Allow": "GET, HEAD, POST, OPTIONS",
    }

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or pass the request on and mark its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            headers = {**self._PREFLIGHT, "Access-Control-Allow-Headers": _wanted_headers(scope)}
            await Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"access-control-allow-origin", b"*"),
                ]
            await send(message)

        await self._app(scope, receive, send_marked)


def _wanted_headers(scope: Scope) -> str:
    """Return the names of the headers that a preflight asks for, `*` if it asks for none.

    Some browsers do not accept `*` for headers that they name.
    """
    wanted = next(
        (
            value.decode("latin-1")
            for name, value in scope["headers"]
            if name == b"access-control-request-headers"
        ),
        "",
    )
    return wanted if _HEADER_NAMES.fullmatch(wanted) else "*"


def _plain(path: str) -> str:
    """Return a path without needless slashes; raises NotFound if it has a control character."""
    if _CONTROL.search(path):
        raise NotFound
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(text):
                return text
    return uuid.uuid4().hex
