"""The HTTP client against peers that lie: whatever they send, the answer is a WebError within its
bounds.
"""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from asu.upstream.http_client import WebAnswer, WebClient, WebConnectError, WebError
from tests.requirements import free_port

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def answering(body: bytes, *headers: str) -> AsyncIterator[str]:
    """Run a peer that answers all with these bytes, and return its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Connection: close", *headers]
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield "http://{}:{}".format(*server.sockets[0].getsockname())


async def get(
    url: str, *, max_bytes: int = 1000, headers: dict[str, str] | None = None
) -> WebAnswer:
    """Fetch an address."""
    async with WebClient(user_agent="test") as web:
        return await web.get(url, headers=headers or {}, max_bytes=max_bytes, deadline=5)


async def test_a_packed_answer_is_unpacked() -> None:
    """Indexes of megabytes are sent in a fifth of their size."""
    async with answering(gzip.compress(b"x" * 1000), "Content-Encoding: gzip") as url:
        assert (await get(url)).body == b"x" * 1000


async def test_what_counts_is_the_size_unpacked() -> None:
    """A packed bomb is given up at the bound."""
    async with answering(gzip.compress(bytes(50_000_000)), "Content-Encoding: gzip") as url:
        with pytest.raises(WebError, match="larger than 1000 bytes"):
            await get(url)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(b"no gzip", "gzip"), (gzip.compress(b"whole")[:-3], "gzip"), (b"what", "br")],
    ids=["none", "half", "other"],
)
async def test_an_answer_that_cannot_be_unpacked_is_no_answer(body: bytes, encoding: str) -> None:
    """Packed wrongly, half, or in another way than was asked for."""
    async with answering(body, f"Content-Encoding: {encoding}") as url:
        with pytest.raises(WebError):
            await get(url)


@pytest.mark.parametrize("path", ["a\0b", "a\nb", "x" * 100_000], ids=["NUL", "line", "long"])
async def test_an_address_that_is_none_is_an_error_of_the_exchange(path: str) -> None:
    """A path may have come from a peer that lies; callers know one error for all."""
    with pytest.raises(WebError):
        await get(f"http://127.0.0.1/{path}")


async def test_a_header_that_cannot_be_sent_is_an_error_of_the_exchange() -> None:
    """Validators come from the peer."""
    async with answering(b"") as url:
        with pytest.raises(WebError):
            await get(url, headers={"If-None-Match": "\u2026"})


async def test_nobody_there_is_told_from_a_bad_answer() -> None:
    """Whoever asks for many documents can stop at the first."""
    with pytest.raises(WebConnectError):
        await get(f"http://127.0.0.1:{free_port()}")


async def test_a_download_is_handed_over_and_bounded() -> None:
    """An image is never held as a whole; one that is larger than allowed is given up on the way."""
    pieces: list[bytes] = []
    async with answering(b"x" * 200_000) as url, WebClient(user_agent="test") as web:
        answer = await web.download(url, pieces.append, max_bytes=200_000, deadline=5)
        with pytest.raises(WebError, match="larger than 1000 bytes"):
            await web.download(url, lambda _: None, max_bytes=1000, deadline=5)

    assert (answer.status, b"".join(pieces)) == (200, b"x" * 200_000)


async def test_a_packed_download_is_refused() -> None:
    """The hash of a file is that of its bytes, not of what a server makes of them."""
    async with (
        answering(gzip.compress(b"x"), "Content-Encoding: gzip") as url,
        WebClient(user_agent="test") as web,
    ):
        with pytest.raises(WebError, match="packed"):
            await web.download(url, lambda _: None, max_bytes=1000, deadline=5)
