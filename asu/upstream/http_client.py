"""The only place that speaks HTTP as a client.

Answers are bounded in time and unpacked size. Redirects are not followed. A public name with a
private address is refused on the connection itself, so a changing DNS answer cannot get around it.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import httpx2

from .public_addresses import is_meant_to_be_local, is_public

# What reading a broken document raises. Arithmetic, since JSON has numbers such as 1e400.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_GZIP = 16 + zlib.MAX_WBITS  # Makes zlib expect the head and the checksum of gzip.


class WebError(Exception):
    """The peer did not give a usable answer; the message says why, without its words."""


class WebConnectError(WebError):
    """The peer cannot be reached at all."""


class WebPrivateError(WebConnectError):
    """The peer's public name has an address that is not public, and no setting allows that."""


class WebBrokenError(WebError):
    """The connection ended before there was a whole answer, as when the peer is stopped."""


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """An answer: status, headers with lower-case names, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class WebClient:
    """A pool of connections with bounds on each exchange.

    The hosts of `private_urls` may have private addresses. So may addresses and local names, since
    the operator wrote them; `trusts_local_names=False` is for peers that name what is fetched next.
    """

    def __init__(
        self,
        *,
        user_agent: str,
        connections: int = 32,
        private_urls: Collection[str] = (),
        trusts_local_names: bool = True,
        connect_seconds: float = 1.0,
    ) -> None:
        self._private_hosts = frozenset(map(_host, private_urls))
        self._trusts_local_names = trusts_local_names
        self._client = httpx2.AsyncClient(
            headers={"User-Agent": user_agent},
            limits=httpx2.Limits(
                max_connections=connections, max_keepalive_connections=connections
            ),
            timeout=httpx2.Timeout(None, connect=connect_seconds),  # All else has a deadline.
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(
        self, url: str, *, headers: Mapping[str, str], max_bytes: int, deadline: float
    ) -> WebAnswer:
        """Fetch `url` within `deadline` seconds; raise WebError."""
        async with self._stream("GET", url, headers, deadline) as response:
            return await _whole(response, max_bytes)

    async def post_json(
        self,
        url: str,
        content: bytes,
        *,
        headers: Mapping[str, str],
        max_bytes: int,
        deadline: float,
    ) -> WebAnswer:
        """Send JSON to `url` and read the answer within `deadline` seconds; raise WebError."""
        headers = {"Content-Type": "application/json", **headers}
        async with self._stream("POST", url, headers, deadline, content) as response:
            return await _whole(response, max_bytes)

    async def download(
        self, url: str, take: Callable[[bytes], object], *, max_bytes: int, deadline: float
    ) -> WebAnswer:
        """Hand the body of a good answer (200) to `take` piece by piece; raise WebError.

        The answer that is returned has no body.
        """
        headers = {"Accept-Encoding": "identity"}
        async with self._stream("GET", url, headers, deadline) as response:
            if _encoding(response) != "identity":
                raise WebError("the answer is packed in a way that was not asked for")
            if response.status_code == HTTPStatus.OK:
                left = max_bytes
                async for piece in response.aiter_raw():
                    left -= len(piece)
                    if left < 0:
                        raise WebError(f"the answer is larger than {max_bytes} bytes")
                    take(piece)
            return WebAnswer(response.status_code, dict(response.headers), b"")

    @asynccontextmanager
    async def _stream(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        deadline: float,
        content: bytes | None = None,
    ) -> AsyncIterator[httpx2.Response]:
        host = _host(url)
        may_be_private = host in self._private_hosts or (
            self._trusts_local_names and is_meant_to_be_local(host)
        )
        request = self._client.stream(
            method,
            url,
            content=content,
            headers={"Accept-Encoding": "gzip", **headers},
            extensions={} if may_be_private else {"trace": _refuse_private},
        )
        try:
            async with asyncio.timeout(deadline), request as response:
                yield response
        except TimeoutError:
            raise WebError(f"no whole answer within {deadline:g} s") from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise WebConnectError(type(error).__name__) from error
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            raise WebBrokenError(type(error).__name__) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, zlib.error, UnicodeError) as error:
            raise WebError(type(error).__name__) from error


async def _whole(response: httpx2.Response, max_bytes: int) -> WebAnswer:
    """Read and unpack an answer of at most `max_bytes`."""
    encoding = _encoding(response)
    if encoding not in {"identity", "gzip"}:
        raise WebError("the answer is packed in a way that was not asked for")
    unpacker = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
    body, received = bytearray(), 0
    async for piece in response.aiter_raw():
        received += len(piece)
        if unpacker and unpacker.eof and piece:
            raise WebError("the packed answer goes on after its end")
        body += unpacker.decompress(piece, max_bytes + 1 - len(body)) if unpacker else piece
        # A packed answer can go on for ever without unpacking to anything.
        if max(len(body), received) > max_bytes:
            raise WebError(f"the answer is larger than {max_bytes} bytes")
    if unpacker and received and not unpacker.eof:
        raise WebError("the packed answer ends too early")
    if unpacker and unpacker.unused_data:
        raise WebError("the packed answer goes on after its end")
    return WebAnswer(response.status_code, dict(response.headers), bytes(body))


def _encoding(response: httpx2.Response) -> str:
    return str(response.headers.get("content-encoding", "identity")).lower()


def _host(url: str) -> str:
    """Return the host of an address as it is compared; "" if it is none."""
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
            raise WebPrivateError("it has a private address")
