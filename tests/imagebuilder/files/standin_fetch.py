"""Downloads with the exit codes of wget, over one kept connection per server."""

from __future__ import annotations

import http.client
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urljoin, urlsplit

if TYPE_CHECKING:
    from typing import Final

NETWORK_FAILURE: Final = 4
TLS_FAILURE: Final = 5
ERROR_RESPONSE: Final = 8
# A feed on the same machine answers in milliseconds; a test of a dead mirror should not wait for
# minutes.
TIMEOUT_SECONDS = 20
REDIRECTS = 5


class FetchError(Exception):
    """A download failed; `code` is what wget would exit with."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exited with error {code}")
        self.code = code


_connections: dict[str, http.client.HTTPConnection] = {}


def fetch(url: str) -> bytes:
    """Return what lies at an http, https or file URL."""
    for _ in range(REDIRECTS):
        parts = urlsplit(url)
        if parts.scheme == "file":
            try:
                return Path(parts.netloc + parts.path).read_bytes()
            except OSError:
                raise FetchError(ERROR_RESPONSE) from None
        status, location, body = _request(url, parts)
        if status == http.client.OK:
            return body
        if location is None:
            raise FetchError(ERROR_RESPONSE)
        url = urljoin(url, location)
    raise FetchError(ERROR_RESPONSE)


def _request(url: str, parts: SplitResult) -> tuple[int, str | None, bytes]:
    proxy = os.environ.get("http_proxy", "") if parts.scheme == "http" else ""
    netloc = urlsplit(proxy).netloc if proxy else parts.netloc
    key = f"{parts.scheme}://{netloc}"
    path = url if proxy else (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    reused = key in _connections
    try:
        if not reused:
            kind = (
                http.client.HTTPSConnection
                if parts.scheme == "https"
                else http.client.HTTPConnection
            )
            _connections[key] = kind(netloc, timeout=TIMEOUT_SECONDS)
        _connections[key].request(
            "GET", path, headers={"User-Agent": "Wget/1.21 (stand-in)", "Host": parts.netloc}
        )
        response = _connections[key].getresponse()
        return (
            response.status,
            response.getheader("Location") if response.status in range(300, 400) else None,
            response.read(),
        )
    except ssl.SSLError:
        _connections.pop(key, None)
        raise FetchError(TLS_FAILURE) from None
    except (OSError, http.client.HTTPException):
        _connections.pop(key, None)
        if reused:  # The server may have closed a connection that lay idle; a fresh one decides.
            return _request(url, parts)
        raise FetchError(NETWORK_FAILURE) from None
