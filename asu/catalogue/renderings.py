"""Metadata as clients fetch it: put together once, kept as bytes with their ETag, answered from memory.

owut and LuCI fetch the overview before every build, auc a profile for each version of a branch.
What was put together within the last seconds is answered as it is; what is somewhat older is
answered too, while a newer one is made in the background, so that nobody waits where an answer is
at hand. Only after METADATA_TTL, when the downloads server's own documents want to be asked for
again, a request waits. Where a newer one cannot be made, the last good one stands in.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from asu.errors import AsuError, UserError

log = logging.getLogger(__name__)

# Far below the minutes in which the documents behind are revalidated, so nothing gets older by it.
FRESH_SECONDS = 5.0
# The overview has 30 KiB, the index of an architecture 350 KiB: all that is asked for on a usual
# day.
MAX_BYTES = 8 * 1024 * 1024
ETAG_DIGITS = 32  # 128 bits of SHA-256: no two renderings of one address ever share them by chance.

Render = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Rendering:
    """A document as it is sent: JSON text, and the entity tag that tells this one from others of the same address."""

    content: bytes
    etag: str

    @staticmethod
    def of(content: bytes) -> "Rendering":
        """Return the rendering of a JSON text."""
        return Rendering(content, f'"{hashlib.sha256(content).hexdigest()[:ETAG_DIGITS]}"')


@dataclass(frozen=True, slots=True)
class _Kept:
    rendering: Rendering
    made: float


class Renderings:
    """Renderings by name, at most `MAX_BYTES` in all; leaving its context ends what is being made."""

    def __init__(self, *, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl, self._clock = ttl, clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._size = 0
        self._making: dict[Hashable, asyncio.Task[Rendering]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = list(self._making.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def get(self, name: Hashable, render: Render) -> Rendering:
        """Return the rendering of that name, made from what `render` returns where it must be; raises what `render` raises."""
        kept = self._kept.get(name)
        if kept is None:
            return await asyncio.shield(self._make(name, render))
        self._kept.move_to_end(name)
        age = self._clock() - kept.made
        if age < FRESH_SECONDS:
            return kept.rendering
        making = self._make(name, render)
        if age < self._ttl:
            return kept.rendering
        try:
            return await asyncio.shield(making)
        except UserError:
            raise
        except AsuError as error:
            log.warning("the last good copy of %s stands in: %s", ascii(name), error.detail)
            return kept.rendering

    def _make(self, name: Hashable, render: Render) -> "asyncio.Task[Rendering]":
        """Return the task that makes a rendering, one at a time for each name."""
        making = self._making.get(name)
        if making is None:
            making = self._making[name] = asyncio.create_task(self._render(name, render))
            making.add_done_callback(lambda task: self._made(name, task))
        return making

    async def _render(self, name: Hashable, render: Render) -> Rendering:
        rendering = Rendering.of(json.dumps(await render(), separators=(",", ":")).encode())
        self._keep(name, rendering)
        return rendering

    def _made(self, name: Hashable, task: "asyncio.Task[Rendering]") -> None:
        del self._making[name]
        if not task.cancelled() and isinstance(task.exception(), UserError):
            self._drop(name)  # It is no longer there: what stood here would be wrong, not old.

    def _keep(self, name: Hashable, rendering: Rendering) -> None:
        self._drop(name)
        self._kept[name] = _Kept(rendering, self._clock())
        self._size += len(rendering.content)
        while self._size > MAX_BYTES and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, name: Hashable) -> None:
        kept = self._kept.pop(name, None)
        self._size -= len(kept.rendering.content) if kept else 0
