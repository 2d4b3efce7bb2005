"""Both services' HTTP clients behind one face, and peers of sockets that answer with whatever bytes
they are told.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import asu.upstream.http_client
import asu_prepare.web_client


class Fetch(Protocol):
    """Fetches an address as one of the services does."""

    async def __call__(
        self,
        url: str,
        *,
        max_bytes: int = 1000,
        deadline: float = 5,
        private_urls: Collection[str] = (),
    ) -> tuple[int, bytes]:
        """Return status and body; raises the client's own error, which is a `ClientError`."""


ClientError = (asu.upstream.http_client.WebError, asu_prepare.web_client.FetchError)


async def fetch_as_asu(
    url: str, *, max_bytes: int = 1000, deadline: float = 5, private_urls: Collection[str] = ()
) -> tuple[int, bytes]:
    """Fetch as the API does."""
    async with asu.upstream.http_client.WebClient(
        user_agent="test", private_urls=private_urls
    ) as client:
        answer = await client.get(url, headers={}, max_bytes=max_bytes, deadline=deadline)
        return answer.status, answer.body


async def fetch_as_prepare(
    url: str, *, max_bytes: int = 1000, deadline: float = 5, private_urls: Collection[str] = ()
) -> tuple[int, bytes]:
    """Fetch as asu-prepare does."""
    client = asu_prepare.web_client.WebClient(user_agent="test", private_urls=private_urls)
    try:
        answer = await client.get(url, validators={}, max_bytes=max_bytes, deadline=deadline)
    finally:
        await client.close()
    return answer.status, answer.body


@dataclass(slots=True)
class Peer:
    """A server of sockets, and what reached it."""

    port: int = 0
    connections: int = 0
    received: bytes = b""

    def url(self, host: str = "127.0.0.1") -> str:
        """Return its address under a name."""
        return f"http://{host}:{self.port}"


@asynccontextmanager
async def peer_that_sends(pieces: Iterable[bytes], *, pause: float = 0.0) -> AsyncIterator[Peer]:
    """Run a server that answers every connection with these bytes, with a pause before each piece,
    for as long as its peer listens.
    """
    peer, answers = Peer(), set[asyncio.Task[None]]()

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.received += await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            await asyncio.sleep(pause)
            writer.write(piece)
            await writer.drain()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.connections += 1
        task = asyncio.current_task()
        assert task is not None
        answers.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await send(reader, writer)
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        peer.port = server.sockets[0].getsockname()[1]
        yield peer
        await asyncio.sleep(0)  # A connection that was made and closed has been seen then.
        for task in answers:
            task.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
