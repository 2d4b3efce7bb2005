"""How uvicorn serves the application: trusted proxies, and bounds on what it reads."""

import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .config import Settings

# What a connection may send without progress: a head, trailers, extensions of chunks. The parser
# keeps all of it; the application's own limits begin with the body.
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
    """uvicorn's protocol with a bound on what comes without progress, and with errors in JSON."""

    _fruitless = 0

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on; end a connection that sends too many without progress."""
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

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Refuse what is not HTTP."""
        head = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
            "Access-Control-Allow-Origin: *\r\n"
            f"Content-Length: {len(_REFUSAL)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + _REFUSAL)
        self.transport.close()


def server_options(settings: Settings) -> dict[str, Any]:
    """Return the options of uvicorn but the application, host and port."""
    return {
        "loop": "uvloop",
        "http": BoundedProtocol,
        "ws": "none",
        "log_config": None,
        "access_log": False,  # The application logs requests itself, with their ids.
        "server_header": False,
        "proxy_headers": True,
        "forwarded_allow_ips": settings.trusted_proxies,
        "timeout_graceful_shutdown": settings.shutdown_seconds,
    }
