"""How the API is served: whose word about a caller is taken, and bounds on what the server would read without end."""

import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from asu.settings import Settings

# What a connection may send without anything coming of it: a head, trailers, extensions of chunks.
# The gateway takes heads of 40 KiB at most, and nobody needs more; the parser keeps all of it, and
# the application's own limits only begin with the body.
MAX_FRUITLESS_BYTES = 64 * 1024
_REFUSAL = json.dumps(
    {
        "status": 400,
        "title": "Bad Request",
        "detail": "The request is not valid HTTP",
        "code": "bad-request",
    }
).encode()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's, with a bound on what comes between two signs of progress; what it refuses is said in the shape of all errors."""

    _fruitless = 0

    def data_received(self, data: bytes) -> None:
        """Hand on what came, and end the connection of who sends too much that leads to nothing."""
        self._fruitless += len(data)
        super().data_received(data)
        if self._fruitless <= MAX_FRUITLESS_BYTES or self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.send_400_response("")
        else:
            self.transport.close()  # An answer is under way already.

    def on_headers_complete(self) -> None:
        """Note the progress."""
        self._fruitless = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note the progress; what the application does not take yet is held back by the server."""
        self._fruitless = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the progress."""
        self._fruitless = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # The server's words are plain text.
        """Refuse what is not HTTP."""
        head = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nAccess-Control-Allow-Origin: *\r\n"
            f"Content-Length: {len(_REFUSAL)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + _REFUSAL)
        self.transport.close()


def server_options(settings: Settings) -> dict[str, Any]:
    """Return what uvicorn is told beside the application and where it listens."""
    return {
        "loop": "uvloop",
        "http": BoundedProtocol,
        "ws": "none",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": True,
        "forwarded_allow_ips": settings.trusted_proxies,
        # Seconds for downloads under way; polls take milliseconds.
        "timeout_graceful_shutdown": 30,
    }
