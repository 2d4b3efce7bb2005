"""Metadata as clients fetch it: made once, kept as bytes with an ETag, answered from memory.

Until METADATA_TTL, a rendering of more than some seconds is still answered while a new one is made.
Later requests wait, unless the downloads server is away: then the last good one stands in.
"""

import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any

from asu.caching import TtlCache
from asu.errors import UpstreamError, UserError

log = logging.getLogger(__name__)

FRESH_SECONDS = 5.0  # Far below the minutes in which the documents behind are revalidated.
# The overview has 30 KiB, the index of an architecture 350 KiB: this holds all of a usual day.
MAX_BYTES = 8 * 1024 * 1024
ETAG_DIGITS = 32  # 128 bits of SHA-256: no two renderings share them by chance.

Render = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Rendering:
    """A document as it is sent: JSON text, and its entity tag."""

    content: bytes
    etag: str

    @staticmethod
    def of(document: Any) -> "Rendering":
        """Return the rendering of a document; raise ValueError for numbers that JSON lacks."""
        content = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
        return Rendering(content, f'"{hashlib.sha256(content).hexdigest()[:ETAG_DIGITS]}"')


class Renderings:
    """Renderings by name, at most `MAX_BYTES` in all."""

    def __init__(self, *, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stale_seconds = ttl - FRESH_SECONDS
        self._renderings = TtlCache[Hashable, Rendering](
            FRESH_SECONDS,
            max_size=MAX_BYTES,
            size_of=lambda rendering: len(rendering.content),
            clock=clock,
        )

    async def get(self, name: Hashable, render: Render) -> Rendering:
        """Return the rendering of `name`, made from what `render` returns; raise what it raises."""

        async def make() -> Rendering:
            try:
                return Rendering.of(await render())
            except UserError:
                self._renderings.drop(name)  # It does not exist any more.
                raise

        try:
            return await self._renderings.fetch(name, make, stale_seconds=self._stale_seconds)
        except UpstreamError as error:
            last_good = self._renderings.get_stale(name)
            if last_good is None:
                raise
            log.warning("the last good copy of %s stands in: %s", ascii(name), error.detail)
            return last_good
