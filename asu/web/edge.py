"""What every request and every answer passes; pure ASGI, so that it costs next to nothing.

An exception that nothing caught becomes an error in the one JSON shape, without its cause; the log
has the place where it failed, and the request's id, which is answered as `X-Request-ID`.
"""

import json
import logging
import re
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import ClassVar

from starlette.datastructures import Headers
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
    status: int, detail: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error of the framework in the same shape."""
    title = HTTPStatus(status).phrase
    code = title.lower().replace(" ", "-")
    body = {"status": status, "title": title, "detail": detail or title, "code": code}
    return Response(json.dumps(body), status, headers, "application/json")


async def read_body(receive: Receive) -> Receive:
    """Read a body before the application does; return what hands it out again.

    It is counted while it is read: device clients send it chunked, without Content-Length. Raises
    BodyTooLarge as soon as the limit is passed.
    """
    # A caller may send 256 Ki pieces of one byte each; a list would be slow at its beginning.
    messages: deque[Message] = deque()
    size, more = 0, True
    while more:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)
        if size > MAX_BODY_BYTES:
            raise BodyTooLarge(limit_kib=MAX_BODY_BYTES // 1024)

    async def receive_again() -> Message:
        return messages.popleft() if messages else await receive()

    return receive_again


def with_header(send: Send, name: bytes, value: bytes) -> Send:
    """Return a `send` that adds a header to the answer."""

    async def send_with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (name, value)]
        await send(message)

    return send_with_header


class Edge:
    """The outermost layer but CORS; calls `answered` with each request's scope and status."""

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
        marked, status = with_header(send, b"x-request-id", request_id.encode()), 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await marked(message)

        try:
            scope["path"] = _plain(scope["path"])
            if scope["method"] in ("POST", "PUT", "PATCH"):
                receive = await read_body(receive)
            await self._app(scope, receive, send_and_note)
        except AsuError as error:
            if status:
                raise
            await error_response(error)(scope, receive, send_and_note)
        except HTTPException:
            raise
        except Exception as error:
            # Not `log.exception`: the message may quote the request, a first-boot script included.
            log.error("request %s failed: %s", request_id, where_it_failed(error))  # noqa: TRY400
            if status:
                raise
            failure = error_response(InternalError(request_id=request_id))
            await failure(scope, receive, send_and_note)
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
        """Answer a preflight, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            headers = {**self._PREFLIGHT, "Access-Control-Allow-Headers": _wanted_headers(scope)}
            await Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)(scope, receive, send)
            return
        send = with_header(send, b"access-control-allow-origin", b"*")
        await self._app(scope, receive, send)


def _wanted_headers(scope: Scope) -> str:
    """Return the headers that a preflight names: some browsers do not accept `*` for those."""
    wanted = Headers(scope=scope).get("Access-Control-Request-Headers", "")
    return wanted if _HEADER_NAMES.fullmatch(wanted) else "*"


def _plain(path: str) -> str:
    """Return a path without needless slashes; old clients join URLs so. Raises NotFound."""
    if _CONTROL.search(path):  # A route's pattern would match one that ends with a line break.
        raise NotFound
    return _SLASHES.sub("/", path).rstrip("/") or "/"


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(given := value.decode("latin-1")):
            return str(given)
    return secrets.token_hex(16)
