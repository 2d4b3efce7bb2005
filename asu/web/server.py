"""How uvicorn serves the API: its options, and a bound on heads, which it does not have."""

from typing import Any

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from asu.settings import Settings

from .edge import plain_error

# Bytes of a head, trailers or chunk extensions that a connection may send without completing any:
# the parser keeps them all. The gateway takes heads of 40 KiB at most.
MAX_FRUITLESS_BYTES = 64 * 1024
_REFUSAL = bytes(plain_error(400, "The request is not valid HTTP").body)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a bound on bytes between two signs of progress."""

    _fruitless = 0

    @override
    def data_received(self, data: bytes) -> None:
        self._fruitless += len(data)
        super().data_received(data)
        if self._fruitless <= MAX_FRUITLESS_BYTES or self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.send_400_response("")
        else:
            self.transport.close()  # An answer is under way already.

    @override
    def on_headers_complete(self) -> None:
        self._fruitless = 0
        super().on_headers_complete()

    @override
    def on_body(self, body: bytes) -> None:
        self._fruitless = 0
        super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._fruitless = 0
        super().on_message_complete()

    @override
    def shutdown(self) -> None:
        # A stream of events has no end; its listeners come back to the next process.
        if self.cycle is not None and self.scope["path"].endswith("/events"):
            self.transport.close()
        super().shutdown()

    @override
    def send_400_response(self, msg: str) -> None:  # Not `msg`, but the shape of all errors.
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
