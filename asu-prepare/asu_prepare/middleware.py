"""What surrounds every request, as plain ASGI: request id and log line, HEAD, CORS, our own mistakes, and paths that nobody writes.

The classes of Starlette that wrap a whole response object cost more than a preview does, so none of
them is used.
"""

import logging
import re
import secrets
import time
import traceback

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import BodyTooLargeError, InternalError, NotFoundError
from .logs import LOGGER_NAME
from .metrics import REQUESTS, Counts

log = logging.getLogger(LOGGER_NAME)

REQUEST_ID = "asu_prepare.request_id"  # Key of the request id in the ASGI scope.
_PREFLIGHT = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
    "Access-Control-Max-Age": "86400",
    "Allow": "GET, HEAD, POST, OPTIONS",
}
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9_, -]{1,512}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ACCEPTED_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """Gives each request an id, or takes over the caller's, answers it as X-Request-ID, counts it and logs one line.

    Successes are logged at `debug` only: they are many, and the gateway counts them.
    """

    def __init__(self, app: ASGIApp, *, counts: Counts) -> None:
        self.app, self._counts = app, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on under its id."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope[REQUEST_ID] = request_id
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode("ascii")),
                ]
            await send(message)

        await self.app(scope, receive, send_with_id)
        if status:
            self._counts.add(REQUESTS, f"{status // 100}xx")
        level = logging.INFO if status >= 400 else logging.DEBUG  # noqa: PLR2004  # The first status that is an error.
        if log.isEnabledFor(level):
            _log_request(level, scope, status, request_id, time.perf_counter() - started)


class HeadRequests:
    """Answers HEAD as GET without the body, on every path that answers GET."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass HEAD on as GET, anything else as it is."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app({**scope, "method": "GET"}, receive, send_without_body)


class Cors:
    """Lets browsers ask from the pages of any router or selector: marks every answer, and answers every OPTIONS.

    No credentials are used anywhere, so there is nothing to tell apart; and a cache never keeps an
    answer without the mark.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            headers = {**_PREFLIGHT, "Access-Control-Allow-Headers": _wanted_headers(scope)}
            await Response(status_code=204, headers=headers)(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"access-control-allow-origin", b"*"),
                ]
            await send(message)

        await self.app(scope, receive, send_marked)


class UnhandledErrors:
    """Turns our own mistakes into a JSON answer and one log entry.

    It stands inside the CORS headers, or a browser could not read the answer. The log shows where
    it happened and the kind of the exception, not its message: that may hold what the caller sent,
    the first-boot script included.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and answer for what goes wrong."""
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception as error:
            request_id = scope.get(REQUEST_ID, "-")
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("request %s failed: %s\n%s", request_id, type(error).__name__, where)  # noqa: TRY400  # It would log the message.
            if started or scope["type"] != "http":
                raise
            await InternalError(request_id=request_id).response()(scope, receive, send)


class PlainPaths:
    """Finds nothing where a path holds a control character.

    A route's pattern would take one with a line break at its end for the path without it, which is
    not what a gateway takes it for.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on whose path is plain."""
        if scope["type"] == "http" and _CONTROL.search(scope["path"]):
            await NotFoundError().response()(scope, receive, send)
            return
        await self.app(scope, receive, send)


class BoundedBody:
    """Refuses a body that is too large.

    It counts the bytes as they come, since owut and auc send theirs in chunks without a
    Content-Length.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body."""
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                # FastAPI passes only this exception on while it reads a body.
                raise HTTPException(BodyTooLargeError.status, str(self._max_bytes))
            return message

        await self.app(scope, counted, send)


def _wanted_headers(scope: Scope) -> str:
    """Return the headers that a preflight names, or `*`, which some older browsers do not take."""
    wanted = next(
        (value for name, value in scope["headers"] if name == b"access-control-request-headers"),
        b"",
    )
    return wanted.decode() if _HEADER_NAMES.fullmatch(wanted) else "*"


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ACCEPTED_ID.fullmatch(value):
            return str(value, "ascii")
    return secrets.token_hex(16)


def _log_request(level: int, scope: Scope, status: int, request_id: str, seconds: float) -> None:
    # ascii() escapes line ends, terminal codes and lone surrogates of a path that anyone can
    # choose.
    method, path, milliseconds = (
        ascii(scope["method"])[1:-1],
        ascii(scope["path"][:256])[1:-1],
        round(seconds * 1000, 2),
    )
    log.log(
        level,
        "%s %s %d in %.2f ms, request %s",
        method,
        path,
        status,
        milliseconds,
        request_id,
        extra={
            "event": {
                "method": method,
                "path": path,
                "status": status,
                "milliseconds": milliseconds,
                "request_id": request_id,
            }
        },
    )
