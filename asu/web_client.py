"""The only place that speaks HTTP as a client.

Answers are bounded in size and time: a slow, endless or lying peer costs one deadline and one buffer. Redirects are not
followed, because a downloads server that is asked for metadata has no reason to send us elsewhere.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx2


class WebError(Exception):
    """The peer did not give a usable answer; the message says why, without its words."""


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """An answer: status, headers with lower-case names, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class WebClient:
    """A pool of connections with bounds on each exchange."""

    def __init__(self, *, user_agent: str, connections: int = 32) -> None:
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        # The deadline of an exchange bounds it as a whole; a second to connect tells a dead peer from a slow one.
        self._client = httpx2.AsyncClient(
            headers={"User-Agent": user_agent}, limits=limits, timeout=httpx2.Timeout(None, connect=1.0), follow_redirects=False, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.aclose()

    async def get(self, url: str, *, headers: Mapping[str, str], max_bytes: int, deadline: float) -> WebAnswer:
        """Fetch `url` within `deadline` seconds; raises WebError."""
        return await self._exchange(self._client.build_request("GET", url, headers=dict(headers)), max_bytes, deadline)

    async def post_json(self, url: str, content: bytes, *, headers: Mapping[str, str], max_bytes: int, deadline: float) -> WebAnswer:
        """Send JSON to `url` and read the answer within `deadline` seconds; raises WebError."""
        request = self._client.build_request("POST", url, content=content, headers={"Content-Type": "application/json", **headers})
        return await self._exchange(request, max_bytes, deadline)

    async def _exchange(self, request: httpx2.Request, max_bytes: int, deadline: float) -> WebAnswer:
        try:
            async with asyncio.timeout(deadline):
                response = await self._client.send(request, stream=True)
                try:
                    return WebAnswer(response.status_code, dict(response.headers), await _bounded(response, max_bytes))
                finally:
                    await response.aclose()
        except TimeoutError:
            raise WebError(f"no whole answer within {deadline:g} s") from None
        except httpx2.HTTPError as error:
            raise WebError(type(error).__name__) from error


async def _bounded(response: httpx2.Response, max_bytes: int) -> bytes:
    """Read a body; what counts is its unpacked size, so a small compressed bomb is caught as well."""
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > max_bytes:
            raise WebError(f"the answer is larger than {max_bytes} bytes")
    return bytes(body)
