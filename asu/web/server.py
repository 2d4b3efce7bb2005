"""How uvicorn serves the API: its options, and a bound on heads, which it does not have."""

import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from asu.settings import Settings

# Bytes of a head, trailers or chunk extensions that a connection may send without completing any.
# The parser keeps all of them, and the application's limits begin with the body. The gateway takes
# heads of 40 KiB at most.
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
    """uvicorn's protocol with a bound on bytes between two signs of progress.

    It refuses in the one shape of all errors.
    """

    _fruitless = 0

    def data_received(self, data: bytes) -> None:
        """Pass data on, and end a connection that sends too much without progress."""
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
        """Note the progress; uvicorn itself pauses reading while the application is slower."""
        self._fruitless = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the progress."""
        self._fruitless = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # It is plain text.
        """Refuse what is not HTTP."""
        head = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
            "Access-Control-Allow-Origin: *\r\n"
            f"Content-Length: {len(_REFUSAL)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + _REFUSAL)
        self.transport.close()


def server_options(settings: Settings) -> dict[str, Any]:
    """Return uvicorn's options, but for the application and its address."""
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
