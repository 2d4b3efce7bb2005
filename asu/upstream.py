"""The downloads server's documents: cached, revalidated, the last good copy kept.

A document is fetched by one task at a time, however many wait for it. A fresh copy is answered from memory; a stale one is
revalidated (`If-None-Match`, `If-Modified-Since`); where that fails the last good copy stands in and the server is left
alone for a while. Only what the reader makes of a document is kept, never its text: profiles.json of a large target
is 400 KiB of JSON, of which a tenth is needed. Large documents are read in a thread, so that polls go on meanwhile.
"""

import asyncio
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from .resolution import DocumentMissingError, Documents, DocumentUnavailableError
from .web_client import WebAnswer, WebClient, WebError

log = logging.getLogger(__name__)

MAX_BYTES = 32 * 1024 * 1024  # The largest index of the real server has 9 MiB; three times that leaves room.
DEADLINE = 5.0  # Seconds; a request waits for at most one exchange per document.
RETRY_AFTER = 15.0  # Seconds in which a server that just failed is not asked again.
MAX_DOCUMENTS = 512  # Five releases of 70 targets are in use at a time; the least recently used goes first.
LARGE = 64 * 1024  # Bytes; reading less takes under a millisecond, which a thread would cost too.
HTTP_OK, HTTP_NOT_MODIFIED, HTTP_NOT_FOUND = 200, 304, 404


@dataclass(frozen=True, slots=True)
class _Copy:
    value: Any
    validators: Mapping[str, str]
    fetched: float  # When the copy was last known to be current, on the monotonic clock.
    fresh_until: float


@dataclass(slots=True)
class _Slot:
    copy: _Copy | None = None
    missing: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    retry_at: float = 0.0


class Upstream(Documents, Protocol):
    """Where the metadata comes from."""

    def oldest(self) -> float:
        """Return the age in seconds of the copy that was validated longest ago; 0 without copies."""


class DownloadsServer:
    """An upstream server over HTTP."""

    def __init__(self, client: WebClient, *, url: str, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._url, self._ttl, self._clock = client, url.rstrip("/"), ttl, clock
        self._slots: OrderedDict[str, _Slot] = OrderedDict()

    async def read(self, path: str, reader: Callable[[bytes], Any]) -> Any:
        """See Documents."""
        slot = self._slot(path)
        if not self._is_fresh(slot):
            async with slot.lock:
                if not self._is_fresh(slot):
                    await self._refresh(path, slot, reader)
        if slot.missing:
            raise DocumentMissingError(path)
        if slot.copy is None:
            raise DocumentUnavailableError(path)
        return slot.copy.value

    def oldest(self) -> float:
        """See Upstream."""
        fetched = [slot.copy.fetched for slot in self._slots.values() if slot.copy]
        return self._clock() - min(fetched) if fetched else 0.0

    def _slot(self, path: str) -> _Slot:
        slot = self._slots.setdefault(path, _Slot())
        self._slots.move_to_end(path)
        while len(self._slots) > MAX_DOCUMENTS:
            self._slots.popitem(last=False)
        return slot

    def _is_fresh(self, slot: _Slot) -> bool:
        now = self._clock()
        return now < slot.retry_at or (slot.copy is not None and now < slot.copy.fresh_until)

    async def _refresh(self, path: str, slot: _Slot, reader: Callable[[bytes], Any]) -> None:
        now = self._clock()
        try:
            answer = await self._client.get(
                f"{self._url}/{path}", headers=slot.copy.validators if slot.copy else {}, max_bytes=MAX_BYTES, deadline=DEADLINE
            )
            slot.missing = answer.status == HTTP_NOT_FOUND and slot.copy is None
            slot.copy = await self._copy(answer, slot.copy, reader)
        except (WebError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            slot.retry_at = now + RETRY_AFTER
            log.warning("upstream document %s: %s (%s)", path, type(error).__name__, "last good copy stands in" if slot.copy else "no copy")

    async def _copy(self, answer: WebAnswer, old: _Copy | None, reader: Callable[[bytes], Any]) -> _Copy:
        now = self._clock()
        if answer.status == HTTP_NOT_MODIFIED and old is not None:
            return replace(old, fetched=now, fresh_until=now + self._ttl)
        if answer.status != HTTP_OK:
            raise WebError(f"status {answer.status}")
        value = await asyncio.to_thread(reader, answer.body) if len(answer.body) > LARGE else reader(answer.body)
        validators = {}
        if "etag" in answer.headers:
            validators["If-None-Match"] = answer.headers["etag"]
        if "last-modified" in answer.headers:
            validators["If-Modified-Since"] = answer.headers["last-modified"]
        return _Copy(value, validators, now, now + self._ttl)


class MemoryUpstream:
    """The in-memory twin: documents from a mapping of path to text or to what JSON holds; `down` and missing ones behave as over HTTP."""

    def __init__(self, documents: Mapping[str, Any], *, down: bool = False) -> None:
        self._documents, self._down = documents, down

    async def read(self, path: str, reader: Callable[[bytes], Any]) -> Any:
        """See Documents."""
        if self._down:
            raise DocumentUnavailableError(path)
        if path not in self._documents:
            raise DocumentMissingError(path)
        document = self._documents[path]
        try:
            return reader(document.encode() if isinstance(document, str) else json.dumps(document).encode())
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DocumentUnavailableError(path) from None

    def oldest(self) -> float:
        """See Upstream."""
        return 0.0
