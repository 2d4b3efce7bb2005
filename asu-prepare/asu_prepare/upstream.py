"""The downloads server's documents, fetched once at a time; the last good copy is kept.

A copy is what the reader made of the document. An exchange runs in the background up to its
deadline; a request waits as long as its own budget allows and goes on with the copy that there is.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Protocol

from .resolution import DocumentMissingError, Documents, DocumentUnavailableError
from .web_client import ConnectError, Fetched, FetchError, WebClient

log = logging.getLogger(__name__)

# The largest index of the real server has 9 MiB; three times that leaves room.
MAX_BYTES = 32 * 1024 * 1024
DEADLINE = 5.0  # Seconds of an exchange.
PAUSE = 15.0  # Seconds until a failed document or an unreachable server is asked again.
FAILED_CONNECTIONS = 3  # In a row, until the server counts as unreachable.
MISSING_SECONDS = 60.0  # A document that does not exist may be published any minute.
# Seconds that a request waits for a newer copy: the old one is minutes old and nearly as good.
STALE_PATIENCE = 0.25
# Ten targets of five releases have about four hundred documents; the least recently used goes
# first.
MAX_COPIES = 512
# Anyone can ask for invented versions and targets; they must not displace what exists.
MAX_ABSENCES = 4096
# Exchanges at a time, for the same reason; the documents of six devices and releases.
MAX_FLIGHTS = 64
LARGE = 64 * 1024  # Bytes; reading less takes under a millisecond, which a thread would cost too.
OK, NOT_MODIFIED, NOT_FOUND = 200, 304, 404
# What readers raise for a document that is none. Arithmetic, since JSON has numbers beyond all
# bounds, such as 1e400.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)

# When the request that is being answered stops waiting, on the monotonic clock; tasks that it
# starts inherit it.
_patience_ends: ContextVar[float] = ContextVar("patience_ends")


@dataclass(frozen=True, slots=True)
class _Copy:
    value: Any
    validators: Mapping[str, str]
    fetched: float  # When it was last known to be current.


@dataclass(frozen=True, slots=True)
class _Absence:
    error: type[DocumentMissingError | DocumentUnavailableError]
    until: float


class CachedDocuments(Documents, Protocol):
    """Documents that are kept for a time."""

    def age(self) -> float:
        """Return the seconds since the oldest confirmation of a copy; 0 without copies."""

    async def close(self) -> None:
        """End all exchanges and close the connections."""


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Let everything inside wait for documents for at most so long in all."""
    token = _patience_ends.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _patience_ends.reset(token)


class DownloadsServer:
    """The documents of a downloads server over HTTP.

    `answered` is called with the end of each exchange: fresh, not_modified, missing or failed.
    """

    def __init__(
        self,
        client: WebClient,
        *,
        url: str,
        ttl: float,
        clock: Callable[[], float] = time.monotonic,
        answered: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._answered = answered
        self._client, self._url, self._ttl, self._clock = client, url.rstrip("/"), ttl, clock
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._absences: OrderedDict[str, _Absence] = OrderedDict()
        self._flights: dict[str, asyncio.Task[None]] = {}
        self._pause_ends = 0.0  # Until then the server as a whole is left alone.
        self._failed_connections = 0  # Since the last answer.

    async def read(self, path: str, reader: Callable[[bytes], Any]) -> Any:
        """See Documents."""
        copy = self._copies.get(path)
        now = self._clock()
        if copy is None or now - copy.fetched >= self._ttl:
            await self._refresh(path, reader, now)
            copy = self._copies.get(path)
        if copy is not None:
            self._copies.move_to_end(path)
            return copy.value
        absence = self._absences.get(path)
        raise absence.error(path) if absence else DocumentUnavailableError(path)

    def age(self) -> float:
        """See CachedDocuments."""
        return self._clock() - min(
            (copy.fetched for copy in self._copies.values()), default=self._clock()
        )

    async def close(self) -> None:
        """See CachedDocuments."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        await self._client.close()

    async def _refresh(self, path: str, reader: Callable[[bytes], Any], now: float) -> None:
        """Wait for the exchange that is under way, or for a new one where one may be begun."""
        flight = self._flights.get(path)
        if flight is None:
            absence = self._absences.get(path)
            if (
                now < self._pause_ends
                or (absence and now < absence.until)
                or len(self._flights) >= MAX_FLIGHTS
            ):
                return
            flight = asyncio.create_task(self._exchange(path, reader), name=f"fetch {path}")
            self._flights[path] = flight
            flight.add_done_callback(lambda _: self._flights.pop(path))
        await asyncio.wait(
            {flight}, timeout=patience_left(STALE_PATIENCE if path in self._copies else DEADLINE)
        )

    async def _exchange(self, path: str, reader: Callable[[bytes], Any]) -> None:
        """Ask the server once and keep the result; nothing is raised."""
        old = self._copies.get(path)
        try:
            answer = await self._client.get(
                f"{self._url}/{path}",
                validators=old.validators if old else {},
                max_bytes=MAX_BYTES,
                deadline=DEADLINE,
            )
            self._failed_connections = 0
            if answer.status == NOT_FOUND and old is None:
                self._note_absence(path, DocumentMissingError, MISSING_SECONDS)
                self._answered("missing")
                return
            copy = await _read(answer, old, reader, self._clock)
        except (FetchError, *UNREADABLE) as error:
            if isinstance(error, ConnectError):
                self._failed_connections += 1
                if self._failed_connections >= FAILED_CONNECTIONS:
                    self._pause_ends = self._clock() + PAUSE
            self._note_absence(path, DocumentUnavailableError, PAUSE)
            stands_in = (
                f"the copy of {self._clock() - old.fetched:.0f} s ago stands in"
                if old
                else "there is no copy"
            )
            log.warning("document %s: %s; %s", ascii(path), _why(error), stands_in)
            self._answered("failed")
            return
        self._answered("not_modified" if answer.status == NOT_MODIFIED else "fresh")
        self._keep(path, copy)

    def _keep(self, path: str, copy: _Copy) -> None:
        self._absences.pop(path, None)
        self._copies[path] = copy
        while len(self._copies) > MAX_COPIES:
            self._copies.popitem(last=False)

    def _note_absence(
        self,
        path: str,
        error: type[DocumentMissingError | DocumentUnavailableError],
        seconds: float,
    ) -> None:
        self._absences[path] = _Absence(error, self._clock() + seconds)
        self._absences.move_to_end(path)
        while len(self._absences) > MAX_ABSENCES:
            self._absences.popitem(last=False)


class MemoryDocuments:
    """The documents of a mapping, all of which are unavailable while `down`."""

    def __init__(self, documents: Mapping[str, bytes], *, down: bool = False) -> None:
        self.documents, self.down = dict(documents), down

    async def read(self, path: str, reader: Callable[[bytes], Any]) -> Any:
        """See Documents."""
        if self.down:
            raise DocumentUnavailableError(path)
        if path not in self.documents:
            raise DocumentMissingError(path)
        try:
            return reader(self.documents[path])
        except UNREADABLE:
            raise DocumentUnavailableError(path) from None

    def age(self) -> float:
        """See CachedDocuments."""
        return 0.0

    async def close(self) -> None:
        """See CachedDocuments."""


def patience_left(at_most: float) -> float:
    """Return for how many seconds the request that is being answered may still wait."""
    now = time.monotonic()
    return max(min(at_most, _patience_ends.get(now + at_most) - now), 0.0)


async def _read(
    answer: Fetched, old: _Copy | None, reader: Callable[[bytes], Any], clock: Callable[[], float]
) -> _Copy:
    """Return the copy that an answer leads to; raises FetchError, and what the reader raises.

    A large document is read in a thread, so that other previews need not wait.
    """
    if answer.status == NOT_MODIFIED and old is not None:
        return replace(old, fetched=clock())
    if answer.status != OK:
        raise FetchError(f"status {answer.status}")
    body = answer.body
    value = await asyncio.to_thread(reader, body) if len(body) > LARGE else reader(body)
    return _Copy(value, answer.validators, clock())


def _why(error: Exception) -> str:
    """Return what may be logged of an error: a reader's message may hold what the server sent."""
    if isinstance(error, FetchError):
        return str(error)
    return f"not such a document ({type(error).__name__})"
