"""What surrounds every request: its id and log line, HEAD, CORS, bounds, and our own mistakes.

It is one layer of plain ASGI, since Starlette's classes cost more than a preview does.
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

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
    "Access-Control-Max-Age": "86400",
    "Allow": "GET, HEAD, POST, OPTIONS",
}
FIRST_ERROR = 400  # Of the statuses of HTTP.
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9_, -]{1,512}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ACCEPTED_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Edge:
    """Surrounds the application.

    A request gets an id, or keeps the caller's, is counted and logged; successes are logged at
    `debug` alone, since the gateway counts them. HEAD is answered as GET without the body. With
    `cors`, browsers may read every answer from any page, and every OPTIONS is answered; no
    credentials are used, and a cache never keeps an answer without the mark.
    """

    def __init__(self, app: ASGIApp, *, counts: Counts, cors: bool, max_body_bytes: int) -> None:
        self._app, self._counts, self._max_body_bytes = app, counts, max_body_bytes
        self._cors, self._mark = cors, [(b"access-control-allow-origin", b"*")] if cors else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and see to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started = _request_id(scope), time.perf_counter()
        marks = [*self._mark, (b"x-request-id", request_id.encode("ascii"))]
        is_head, status = scope["method"] == "HEAD", 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *marks]
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._pass_on({**scope, "method": "GET"} if is_head else scope, receive, answer)
        except Exception as error:
            # The kind of the exception, not its message: that may hold what the caller sent, the
            # first-boot script included.
            where = "".join(traceback.format_tb(error.__traceback__))
            kind = type(error).__name__
            log.error("request %s failed: %s\n%s", request_id, kind, where)  # noqa: TRY400
            if status:
                raise
            await InternalError(request_id=request_id).response()(scope, receive, answer)
        self._counts.add(REQUESTS, f"{status // 100}xx")
        level = logging.INFO if status >= FIRST_ERROR else logging.DEBUG
        if log.isEnabledFor(level):
            _log_request(level, scope, status, request_id, time.perf_counter() - started)

    async def _pass_on(self, scope: Scope, receive: Receive, answer: Send) -> None:
        if self._cors and scope["method"] == "OPTIONS":
            headers = {**_PREFLIGHT, "Access-Control-Allow-Headers": _wanted_headers(scope)}
            await Response(status_code=204, headers=headers)(scope, receive, answer)
        elif _CONTROL.search(scope["path"]):
            # A route's pattern ignores a line break at the end of a path; a gateway does not.
            await NotFoundError().response()(scope, receive, answer)
        else:
            await self._app(scope, _bounded(receive, self._max_body_bytes), answer)


def _bounded(receive: Receive, max_bytes: int) -> Receive:
    """Return `receive` with a bound on the body, which raises HTTPException 413.

    The bytes are counted as they come, since owut and auc send theirs in chunks without a
    Content-Length.
    """
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > max_bytes:
            # FastAPI passes only this exception on while it reads a body.
            raise HTTPException(BodyTooLargeError.status, str(max_bytes))
        return message

    return counted


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
    # ascii() escapes line ends, terminal codes and lone surrogates, which a path can hold.
    method, path = ascii(scope["method"])[1:-1], ascii(scope["path"][:256])[1:-1]
    milliseconds = round(seconds * 1000, 2)
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
