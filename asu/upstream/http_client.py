"""The only place that speaks HTTP as a client.

Answers are bounded in size and time: a slow, endless or lying peer costs one deadline and one
buffer. What counts is the size unpacked, and a small packed body that grows without end is given up
at the bound, not after it. Redirects are not followed, because a downloads server that is asked for
metadata has no reason to send us elsewhere. Nor may its name: where it has a public one, a private
address is refused. What is looked at is the very connection, so that another answer of the name
server changes nothing.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from .public_addresses import is_meant_to_be_local, is_public

HTTP_OK = 200
_GZIP = 16 + zlib.MAX_WBITS  # Makes zlib expect the head and the checksum of gzip.


class WebError(Exception):
    """The peer did not give a usable answer; the message says why, without its words."""


class WebConnectError(WebError):
    """The peer cannot be reached at all."""


class WebPrivateError(WebConnectError):
    """The peer's public name has an address that is not public, and nobody has said that it may."""


class WebBrokenError(WebError):
    """The connection ended before there was a whole answer, as when the peer is stopped."""


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """An answer: status, headers with lower-case names, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class WebClient:
    """A pool of connections with bounds on each exchange; only the hosts of `private_urls` may be private under a public name.

    Addresses and local names are taken to be meant, as whoever runs this has written them. Where a
    peer may name what is fetched next,
    `trusts_local_names=False` leaves the hosts of `private_urls` alone with that.
    """

    def __init__(
        self,
        *,
        user_agent: str,
        connections: int = 32,
        private_urls: Collection[str] = (),
        trusts_local_names: bool = True,
    ) -> None:
        self._private_hosts = frozenset(map(_host, private_urls))
        self._trusts_local_names = trusts_local_names
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._client = httpx2.AsyncClient(
            headers={"User-Agent": user_agent, "Accept-Encoding": "gzip"},
            limits=limits,
            # The deadline of an exchange bounds it as a whole; a second to connect tells a dead
            # peer from a slow one.
            timeout=httpx2.Timeout(None, connect=1.0),
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def get(
        self, url: str, *, headers: Mapping[str, str], max_bytes: int, deadline: float
    ) -> WebAnswer:
        """Fetch `url` within `deadline` seconds; raises WebError."""
        return await self._exchange("GET", url, None, headers, max_bytes, deadline)

    async def post_json(
        self,
        url: str,
        content: bytes,
        *,
        headers: Mapping[str, str],
        max_bytes: int,
        deadline: float,
    ) -> WebAnswer:
        """Send JSON to `url` and read the answer within `deadline` seconds; raises WebError."""
        return await self._exchange(
            "POST",
            url,
            content,
            {"Content-Type": "application/json", **headers},
            max_bytes,
            deadline,
        )

    async def download(
        self, url: str, take: Callable[[bytes], object], *, max_bytes: int, deadline: float
    ) -> WebAnswer:
        """Hand the body of a good answer (200) over piece by piece, as it is sent; the answer returned has none. Raises WebError."""
        asked = self._client.stream(
            "GET", url, headers={"Accept-Encoding": "identity"}, extensions=self._extensions(url)
        )
        async with _translated(deadline), asked as response:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise WebError("the answer is packed in a way that was not asked for")
            if response.status_code == HTTP_OK:
                await _hand_over(response.aiter_raw(), take, max_bytes)
            return WebAnswer(response.status_code, dict(response.headers), b"")

    async def _exchange(
        self,
        method: str,
        url: str,
        content: bytes | None,
        headers: Mapping[str, str],
        max_bytes: int,
        deadline: float,
    ) -> WebAnswer:
        asked = self._client.stream(
            method, url, content=content, headers=dict(headers), extensions=self._extensions(url)
        )
        async with _translated(deadline), asked as response:
            encoding = response.headers.get("content-encoding", "identity").lower()
            return WebAnswer(
                response.status_code,
                dict(response.headers),
                await _bounded(response.aiter_raw(), encoding, max_bytes),
            )

    def _extensions(
        self, url: str
    ) -> dict[str, Callable[[str, Mapping[str, Any]], Awaitable[None]]]:
        """Return what has the library show us a connection as soon as it is made."""
        host = _host(url)
        may_be_private = host in self._private_hosts or (
            self._trusts_local_names and is_meant_to_be_local(host)
        )
        return {} if may_be_private else {"trace": _refuse_private}


@asynccontextmanager
async def _translated(deadline: float) -> AsyncIterator[None]:
    """Give an exchange so many seconds, and turn whatever goes wrong with it into WebError."""
    try:
        async with asyncio.timeout(deadline):
            yield
    except TimeoutError:
        raise WebError(f"no whole answer within {deadline:g} s") from None
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        raise WebConnectError(type(error).__name__) from error
    except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
        raise WebBrokenError(type(error).__name__) from error
    except (httpx2.HTTPError, httpx2.InvalidURL, zlib.error, UnicodeError) as error:
        raise WebError(type(error).__name__) from error


async def _hand_over(
    pieces: AsyncIterator[bytes], take: Callable[[bytes], object], max_bytes: int
) -> None:
    left = max_bytes
    async for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise WebError(f"the answer is larger than {max_bytes} bytes")
        take(piece)


async def _bounded(pieces: AsyncIterator[bytes], encoding: str, max_bytes: int) -> bytes:
    """Read and unpack a body of at most `max_bytes`."""
    if encoding not in {"identity", "gzip"}:
        raise WebError("the answer is packed in a way that was not asked for")
    unpacker = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    body, received = bytearray(), 0
    async for piece in pieces:
        received += len(piece)
        if unpacker and unpacker.eof and piece:
            raise WebError("the packed answer goes on after its end")
        body += unpacker.decompress(piece, max_bytes + 1 - len(body)) if unpacker else piece
        # What is received counts, too: a packed answer can go on for ever without unpacking to
        # anything.
        if max(len(body), received) > max_bytes:
            raise WebError(f"the answer is larger than {max_bytes} bytes")
    if unpacker and received and not unpacker.eof:
        raise WebError("the packed answer ends too early")
    if unpacker and unpacker.unused_data:
        raise WebError("the packed answer goes on after its end")
    return bytes(body)


def _host(url: str) -> str:
    """Return the host of an address as it is compared; empty for what is no address."""
    try:
        return httpx2.URL(url).host
    except httpx2.InvalidURL:
        return ""


async def _refuse_private(event: str, told: Mapping[str, Any]) -> None:
    """End a connection that has just been made to an address that is not public, before a byte is sent over it."""
    if event == "connection.connect_tcp.complete":
        stream = told["return_value"]
        if not is_public(str(stream.get_extra_info("server_addr")[0])):
            await stream.aclose()
            raise WebPrivateError("it has a private address")
