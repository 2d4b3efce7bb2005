"""The downloads server's documents: fetched once for all who wait, revalidated, the last good copy kept.

A fresh copy is answered from memory. A stale one is revalidated in the background (`If-None-Match`,
`If-Modified-Since`), one exchange per document at a time; where there is an older answer, nobody
waits for it longer than a moment. What is missing or failed is noted apart from the copies, so that
invented names displace nothing; a server that cannot be reached is left alone as a whole for a
while. Only what the reader makes of a document is kept, never its text: profiles.json of a large
target is 400 KiB of JSON, of which a tenth is needed. Large documents are read in a thread, so that
polls go on meanwhile. What earlier processes have left on disk stands in for a copy until the
server has been asked.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol, Self

from asu.resolution import DocumentMissingError, Documents, DocumentUnavailableError

from .http_client import WebAnswer, WebClient, WebConnectError, WebError, WebPrivateError
from .last_good import LastGood

log = logging.getLogger(__name__)

# The largest index of the real server has 9 MiB; three times that leaves room.
MAX_BYTES = 32 * 1024 * 1024
# Seconds of an exchange, and so what a request waits at most for a document of which there is no
# copy.
DEADLINE = 5.0
# Seconds from the beginning of an exchange; an older copy is nearly as good as a newer one.
STALE_PATIENCE = 0.25
# Seconds likewise, for a copy of an earlier process: a server that is well takes less.
RECALLED_PATIENCE = 1.5
# Seconds; one that is older than that may lack a whole release, and stands in only for a server
# that does not answer.
RECALLED_OLD = 3600.0
# Seconds in which a document that could not be had, or a server that could not be reached, is left
# alone.
PAUSE = 15.0
MISSING_SECONDS = 60.0  # A document that does not exist may be published any minute.
# Five releases of 70 targets are in use at a time; the least recently used goes first.
MAX_COPIES = 512
# Clients invent versions by the thousand on a bad day; more than that are merely asked for again.
MAX_ABSENCES = 4096
# Exchanges at a time: twice the connections, so that all are in use and no queue of invented names
# grows.
MAX_FLIGHTS = 64
LARGE = 64 * 1024  # Bytes; reading less takes under a millisecond, which a thread would cost too.
HTTP_OK, HTTP_NOT_MODIFIED, HTTP_NOT_FOUND = 200, 304, 404
# What readers raise for a document that is none. Arithmetic, since JSON has numbers beyond all
# bounds, such as 1e400.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class _Copy:
    value: Any
    validators: Mapping[str, str]
    fetched: float  # When the copy was last known to be current, on the monotonic clock.
    # It was left by another process, and the server has not confirmed it to this one.
    is_recalled: bool = False


@dataclass(frozen=True, slots=True)
class _Absence:
    error: type[DocumentMissingError | DocumentUnavailableError]
    until: float


@dataclass(frozen=True, slots=True)
class _Flight:
    task: asyncio.Task[None]
    began: float  # On the clock of the event loop.


class Upstream(Documents, Protocol):
    """Where the metadata comes from."""

    def oldest(self) -> float:
        """Return the age in seconds of the copy that was validated longest ago; 0 without copies."""

    def is_unconfirmed(self, path: str) -> bool:
        """Whether what is known of a document was left by an earlier process, and the server has not said yet that it holds.

        What is in such a copy is nearly always right; that something is not in it says little.
        """


class DownloadsServer:
    """An upstream server over HTTP; leaving its context ends the exchanges that are under way, and what is being kept is kept.

    A document is read by one reader. Where another reading is needed beside it, a fragment (`#…`)
    names that; it is not sent. `answered` is told how each exchange ended: fresh, not_modified,
    missing or failed.
    """

    def __init__(
        self,
        client: WebClient,
        *,
        url: str,
        ttl: float,
        clock: Callable[[], float] = time.monotonic,
        answered: Callable[[str], None] = lambda _: None,
        last_good: LastGood | None = None,
    ) -> None:
        self._answered, self._last_good = answered, last_good
        # What is being told to `last_good`; nobody waits for it.
        self._notes: set[asyncio.Task[None]] = set()
        self._client, self._url, self._ttl, self._clock = client, url.rstrip("/"), ttl, clock
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._absences: OrderedDict[str, _Absence] = OrderedDict()
        self._flights: dict[str, _Flight] = {}
        self._recalls: dict[str, asyncio.Task[None]] = {}
        self._pause_ends = 0.0  # Until then the server as a whole is left alone.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = [*(flight.task for flight in self._flights.values()), *self._recalls.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._notes:
            await asyncio.wait(self._notes, timeout=DEADLINE)

    async def read(self, path: str, reader: Callable[[bytes], Any]) -> Any:
        """See Documents."""
        copy = self._copies.get(path) or await self._recalled(path, reader)
        if copy is None or self._clock() - copy.fetched >= self._ttl:
            await self._refresh(path, reader)
            copy = self._copies.get(path, None if self._was_missing(path) else copy)
        if copy is None:
            absence = self._absences.get(path)
            raise absence.error(path) if absence else DocumentUnavailableError(path)
        if path in self._copies:
            self._copies.move_to_end(path)
        return copy.value

    def oldest(self) -> float:
        """See Upstream."""
        now = self._clock()
        return now - min((copy.fetched for copy in self._copies.values()), default=now)

    def is_unconfirmed(self, path: str) -> bool:
        """See Upstream."""
        copy = self._copies.get(path)
        return copy is not None and copy.is_recalled and self._clock() - copy.fetched >= self._ttl

    async def _recalled(self, path: str, reader: Callable[[bytes], Any]) -> _Copy | None:
        """Return the copy that an earlier process has left, read once for all who ask; None if there is none or this process knows better."""
        if self._last_good is None or path in self._absences or path in self._flights:
            return None
        task = self._recalls.get(path)
        if task is None:
            task = self._recalls[path] = asyncio.create_task(
                self._recall(self._last_good, path, reader), name=f"recall {path}"
            )
            task.add_done_callback(lambda _: self._recalls.pop(path))
        await asyncio.wait({task})
        return self._copies.get(path)

    async def _recall(self, last_good: LastGood, path: str, reader: Callable[[bytes], Any]) -> None:
        found = await last_good.find(_place(path))
        if found is None:
            return
        with contextlib.suppress(*UNREADABLE):
            value = await _read(found.body, reader)
            self._keep(
                path, _Copy(value, found.validators, self._clock() - found.age, is_recalled=True)
            )

    def _note(self, telling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(telling)
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _refresh(self, path: str, reader: Callable[[bytes], Any]) -> None:
        """Wait for the exchange that is under way, or for a new one where one may be begun."""
        flight = self._flights.get(path) or self._begin(path, reader)
        if flight is None:
            return
        left = flight.began + self._patience(path) - asyncio.get_running_loop().time()
        # Whoever waits may go away meanwhile; the exchange goes on for the others.
        await asyncio.wait({flight.task}, timeout=max(left, 0.0))

    def _patience(self, path: str) -> float:
        copy = self._copies.get(path)
        if copy is not None:
            if not copy.is_recalled:
                return STALE_PATIENCE
            return RECALLED_PATIENCE if self._clock() - copy.fetched < RECALLED_OLD else DEADLINE
        return STALE_PATIENCE if self._was_missing(path) else DEADLINE

    def _begin(self, path: str, reader: Callable[[bytes], Any]) -> _Flight | None:
        """Begin an exchange; None while the document or the server is left alone, and while too many are under way."""
        now, absence = self._clock(), self._absences.get(path)
        if (
            now < self._pause_ends
            or (absence and now < absence.until)
            or len(self._flights) >= MAX_FLIGHTS
        ):
            return None
        task = asyncio.create_task(self._exchange(path, reader), name=f"fetch {path}")
        flight = self._flights[path] = _Flight(task, asyncio.get_running_loop().time())
        task.add_done_callback(lambda _: self._flights.pop(path))
        return flight

    async def _exchange(self, path: str, reader: Callable[[bytes], Any]) -> None:
        """Ask the server once and keep what that tells; whatever it says, nothing is raised."""
        old = self._copies.get(path)
        try:
            headers = old.validators if old else {}
            answer = await self._client.get(
                f"{self._url}/{path}", headers=headers, max_bytes=MAX_BYTES, deadline=DEADLINE
            )
            if answer.status == HTTP_NOT_FOUND and (old is None or old.is_recalled):
                self._drop(path)
                self._answered("missing")
                return
            copy = await self._copy(answer, old, reader)
        except (WebError, *UNREADABLE) as error:
            if isinstance(error, WebConnectError):
                self._pause_ends = self._clock() + PAUSE
            self._note_absence(
                path,
                DocumentMissingError if self._was_missing(path) else DocumentUnavailableError,
                PAUSE,
            )
            stands_in = "last good copy stands in" if old else "no copy"
            log.warning("upstream document %s: %s (%s)", ascii(path), _why(error), stands_in)
            self._answered("failed")
            return
        self._answered("not_modified" if answer.status == HTTP_NOT_MODIFIED else "fresh")
        self._keep(path, copy)
        if self._last_good is not None:
            place, is_new = _place(path), answer.status == HTTP_OK
            self._note(
                self._last_good.keep(place, answer.body, copy.validators)
                if is_new
                else self._confirm(self._last_good, path, copy)
            )

    async def _confirm(self, last_good: LastGood, path: str, copy: _Copy) -> None:
        """Tell that a copy is current; one that is not on disk is to come whole with the next exchange, so that it is kept."""
        is_kept = await last_good.confirm(_place(path), copy.validators)
        if not is_kept and self._copies.get(path) is copy:
            self._copies[path] = replace(copy, validators={})

    async def _copy(
        self, answer: WebAnswer, old: _Copy | None, reader: Callable[[bytes], Any]
    ) -> _Copy:
        """Return the copy that an answer leads to; raises what the reader raises, and WebError for other answers than good ones."""
        if answer.status == HTTP_NOT_MODIFIED and old is not None:
            return replace(old, fetched=self._clock(), is_recalled=False)
        if answer.status != HTTP_OK:
            raise WebError(f"status {answer.status}")
        return _Copy(await _read(answer.body, reader), _validators(answer), self._clock())

    def _keep(self, path: str, copy: _Copy) -> None:
        self._absences.pop(path, None)
        self._copies[path] = copy
        self._copies.move_to_end(path)
        while len(self._copies) > MAX_COPIES:
            self._copies.popitem(last=False)

    def _drop(self, path: str) -> None:
        """Note that the server has no such document, whatever an earlier process knew."""
        if self._copies.pop(path, None) and self._last_good is not None:
            self._note(self._last_good.forget(_place(path)))
        self._note_absence(path, DocumentMissingError, MISSING_SECONDS)

    def _was_missing(self, path: str) -> bool:
        """Whether the server said so when it last said anything; like an old copy, that holds until it says something else."""
        absence = self._absences.get(path)
        return absence is not None and absence.error is DocumentMissingError

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


class MemoryUpstream:
    """The in-memory twin: documents from a mapping of path to text or to what JSON holds; `down` and missing ones behave as over HTTP."""

    def __init__(self, documents: Mapping[str, Any], *, down: bool = False) -> None:
        self._documents, self._down = documents, down

    async def read(self, path: str, reader: Callable[[bytes], Any]) -> Any:
        """See Documents."""
        if self._down:
            raise DocumentUnavailableError(path)
        document = self._documents.get(_place(path), DocumentMissingError)
        if document is DocumentMissingError:
            raise DocumentMissingError(path)
        try:
            return reader(
                document.encode() if isinstance(document, str) else json.dumps(document).encode()
            )
        except UNREADABLE:
            raise DocumentUnavailableError(path) from None

    def oldest(self) -> float:
        """See Upstream."""
        return 0.0

    def is_unconfirmed(self, path: str) -> bool:  # noqa: ARG002  # The signature is the protocol's.
        """See Upstream."""
        return False


async def _read(body: bytes, reader: Callable[[bytes], Any]) -> Any:
    """Return what a reader makes of a document; raises what it raises."""
    return await asyncio.to_thread(reader, body) if len(body) > LARGE else reader(body)


def _place(path: str) -> str:
    """Return where a document is, without the fragment that names a reading of it."""
    return path.partition("#")[0]


def _validators(answer: WebAnswer) -> dict[str, str]:
    """Return the headers that ask for a newer document only; what could not be sent back is left out."""
    told = {
        "If-None-Match": answer.headers.get("etag", ""),
        "If-Modified-Since": answer.headers.get("last-modified", ""),
    }
    return {name: value for name, value in told.items() if value and value.isascii()}


def _why(error: Exception) -> str:
    """Return what may be logged of an error: a reader's message may hold what the server sent."""
    if isinstance(error, WebPrivateError):
        return f"{error}; UPSTREAM_IS_PRIVATE allows that"
    return (
        str(error)
        if isinstance(error, WebError)
        else f"not such a document ({type(error).__name__})"
    )
