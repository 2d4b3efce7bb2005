"""The only place that speaks HTTP as a client: bounded fetches of documents.

An answer is bounded in time and in size, packed and unpacked. Redirects are not followed. A public
name must not have a private address; the connection itself is checked, not an answer of DNS.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from .public_addresses import is_meant_to_be_local, is_public

CONNECT_SECONDS = 3.0  # TCP repeats a lost request to connect after one second.
CONNECTIONS = 16  # The documents of one device and release are about ten.
_GZIP = 16 + zlib.MAX_WBITS  # Makes zlib expect the head and the checksum of gzip.
_VALIDATORS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}


class FetchError(Exception):
    """The server did not give a usable answer; the message says why, without its words."""


class ConnectError(FetchError):
    """The server cannot be reached at all."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: its status, the headers that ask for a newer one only, and the whole body."""

    status: int
    validators: Mapping[str, str]
    body: bytes


class WebClient:
    """A pool of connections to the downloads server.

    A public name may have a private address only if it is a host of `private_urls`.
    """

    def __init__(self, *, user_agent: str, private_urls: Collection[str] = ()) -> None:
        self._private_hosts = frozenset(map(_host, private_urls))
        self._client = httpx2.AsyncClient(
            headers={"User-Agent": user_agent, "Accept-Encoding": "gzip"},
            limits=httpx2.Limits(
                max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS
            ),
            # The deadline of an exchange bounds it as a whole.
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def get(
        self, url: str, *, validators: Mapping[str, str], max_bytes: int, deadline: float
    ) -> Fetched:
        """Fetch `url` within `deadline` seconds; raises FetchError."""
        try:
            asked = self._client.stream(
                "GET", url, headers=dict(validators), extensions=self._extensions(url)
            )
            async with asyncio.timeout(deadline), asked as response:
                validators = {
                    ask: value
                    for name, ask in _VALIDATORS.items()
                    if (value := response.headers.get(name, "")) and value.isascii()
                }
                body = await _bounded(
                    response.aiter_raw(),
                    response.headers.get("content-encoding", "identity").lower(),
                    max_bytes,
                )
                return Fetched(response.status_code, validators, body)
        except TimeoutError:
            raise FetchError(f"no whole answer within {deadline:g} s") from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise ConnectError(type(error).__name__) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, zlib.error, UnicodeError) as error:
            raise FetchError(type(error).__name__) from error

    def _extensions(
        self, url: str
    ) -> dict[str, Callable[[str, Mapping[str, Any]], Awaitable[None]]]:
        """Return the check of a new connection; nothing for a host that may be private."""
        host = _host(url)
        is_allowed = host in self._private_hosts or is_meant_to_be_local(host)
        return {} if is_allowed else {"trace": _refuse_private}


async def _bounded(pieces: AsyncIterator[bytes], encoding: str, max_bytes: int) -> bytes:
    """Read and unpack a body of at most `max_bytes`."""
    if encoding not in {"identity", "gzip"}:
        raise FetchError("the body is packed in a way that was not asked for")
    unpacker = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    body, received = bytearray(), 0
    async for piece in pieces:
        received += len(piece)
        if unpacker and unpacker.eof and piece:
            raise FetchError("the packed body goes on after its end")
        body += unpacker.decompress(piece, max_bytes + 1 - len(body)) if unpacker else piece
        # A packed body can go on for ever without unpacking to anything.
        if max(len(body), received) > max_bytes:
            raise FetchError(f"the body is larger than {max_bytes} bytes")
    if unpacker and received and not unpacker.eof:
        raise FetchError("the packed body ends too early")
    if unpacker and unpacker.unused_data:
        raise FetchError("the packed body goes on after its end")
    return bytes(body)


def _host(url: str) -> str:
    """Return the host of an address as it is compared; empty for what is no address."""
    try:
        return httpx2.URL(url).host
    except httpx2.InvalidURL:
        return ""


async def _refuse_private(event: str, details: Mapping[str, Any]) -> None:
    """End a new connection to an address that is not public, before a byte is sent over it."""
    if event == "connection.connect_tcp.complete":
        stream = details["return_value"]
        if not is_public(str(stream.get_extra_info("server_addr")[0])):
            await stream.aclose()
            raise ConnectError("its name has a private address; UPSTREAM_IS_PRIVATE allows that")
