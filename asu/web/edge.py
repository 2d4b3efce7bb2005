"""What every request passes on its way in and every answer on its way out; pure ASGI, so that it costs next to nothing.

- A path with doubled or trailing slashes means the path without them, for every method: old clients
  join URLs that way.
- A path with a control character in it means nothing: a route's pattern would take one with a line
  break at its end for the path without it.
- A body is counted while it is read, since device clients send it chunked, without Content-Length.
- A request has an id: taken over from the gateway, else made here, answered as `X-Request-ID`.
- What nobody caught becomes an error in the one JSON shape, without a trace of its cause; where it
  failed goes to the log, with the id.
- CORS headers stand on every answer, errors and redirects included.
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
    """Return an error in the shape that all errors have."""
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    return Response(json.dumps(error.body()), error.status, headers, "application/json")


def plain_error(
    status: int, *, detail: str | None = None, headers: dict[str, str] | None = None
) -> Response:
    """Return an error that the framework raised, in the same shape."""
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
        # A caller may send a quarter of a million pieces of one byte each.
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
        """Hand the application what was read, then what comes after."""
        return self._messages.popleft() if self._messages else await self._receive()


class Edge:
    """The outermost layer but CORS; `answered` is told of each request, as the application left its scope, and of the answer's status."""

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
            # Not `log.exception`, which writes the message: it may quote what was sent, a
            # first-boot script included.
            log.error("request %s failed: %s", request_id, where_it_failed(error))  # noqa: TRY400
            if status:
                raise
            await error_response(InternalError(request_id=request_id))(scope, receive, send_with_id)
        finally:
            if status and self._answered:
                self._answered(scope, status)


class Cors:
    """CORS on every answer, whether the request came with an Origin or not; so caches cannot keep an answer without it.

    No credentials are used anywhere, so everybody may be told everything: OPTIONS is answered for
    any path and for whatever is asked, since a preflight that fails leaves a browser without even
    the error that the request itself would have got.
    """

    _PREFLIGHT: ClassVar[Mapping[str, str]] = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
        # LuCI's changing `?timestamp` defeats preflight caches, so a day of lifetime is for those
        # clients that send none.
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
    """Return the headers that a preflight asks for, by name, since some browsers do not take `*`; that where it asks for none."""
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
    """Return a path without slashes too many; raises NotFound where it holds a control character."""
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
