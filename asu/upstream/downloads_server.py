"""The downloads server's documents: fetched once for all who wait, revalidated, kept in memory.

A fresh copy is answered from memory. A request with a stale one waits a moment for revalidation,
which goes on in the background. Missing documents and failures are noted apart from the copies, so
invented names displace none. Copies of earlier processes stand in until the server was asked.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol, Self

from typing_extensions import override

from asu.caching import SingleFlight, TtlCache
from asu.resolution import DocumentMissingError, Documents, DocumentUnavailableError

from .http_client import (
    UNREADABLE,
    WebAnswer,
    WebClient,
    WebConnectError,
    WebError,
    WebPrivateError,
)
from .last_good import LastGood

log = logging.getLogger(__name__)

# The largest index of the real server has 9 MiB; three times that leaves room.
MAX_BYTES = 32 * 1024 * 1024
CONNECT_SECONDS = 3.0  # TCP repeats a lost request to connect after one second.
DEADLINE = 5.0  # Seconds of an exchange; a request without a copy waits as long.
# Seconds from the beginning of an exchange that a request waits for it if there is an older copy.
STALE_PATIENCE = 0.25
RECALLED_PATIENCE = 1.5  # Likewise for a copy of an earlier process; a good server is faster.
# Seconds; a copy of an earlier process that is older may lack a whole release, so a request waits
# for the server until DEADLINE.
RECALLED_OLD = 3600.0
# Seconds in which a document that failed, or a server that cannot be reached, is left alone.
PAUSE = 15.0
FAILED_CONNECTIONS = 3  # In a row, until the server counts as unreachable.
MISSING_SECONDS = 60.0  # A document that does not exist may be published any minute.
MAX_COPIES = 512  # Five releases of 70 targets are in use at a time.
MAX_ABSENCES = 4096  # Clients invent versions by the thousand on a bad day.
# Exchanges at a time: twice the connections, so that all are in use and no long queue forms.
MAX_FLIGHTS = 64
LARGE = 64 * 1024  # Bytes; reading less takes under a millisecond, as much as a thread costs.

Reader = Callable[[bytes], Any]
Absence = type[DocumentMissingError | DocumentUnavailableError]


@dataclass(frozen=True, slots=True)
class _Copy:
    value: Any
    validators: Mapping[str, str]
    fetched: float  # When the copy was last known to be current, on the monotonic clock.
    is_recalled: bool = False  # An earlier process left it, and the server has not confirmed it.


class Upstream(Documents, Protocol):
    """Where the metadata comes from."""

    def oldest(self) -> float:
        """Return the age in seconds of the copy validated longest ago; 0 without copies."""

    def is_unconfirmed(self, path: str) -> bool:
        """Whether the server has not confirmed the copy in time: away, slow, or not asked yet.

        What is in such a copy is nearly always right; that something is not in it says little.
        """


class DownloadsServer(Upstream):
    """An upstream server over HTTP. Leaving its context ends exchanges and waits for the disk.

    A document is read by one reader. Where another reading is needed beside it, a fragment (`#…`)
    names that; it is not sent. `answered` gets the outcome of each exchange: fresh, not_modified,
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
        self._client, self._url, self._ttl, self._clock = client, url.rstrip("/"), ttl, clock
        self._answered, self._last_good = answered, last_good
        self._copies = TtlCache[str, _Copy](ttl, max_size=MAX_COPIES, clock=clock)
        self._absences = TtlCache[str, Absence](PAUSE, max_size=MAX_ABSENCES, clock=clock)
        self._exchanges = SingleFlight[str, None]()
        self._recalls = SingleFlight[str, None]()
        self._notes: set[asyncio.Task[None]] = set()  # On their way to `last_good`.
        self._pause_ends = 0.0  # Until then the server as a whole is left alone.
        self._failed_connections = 0  # Since the last answer.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exchanges.close()
        await self._recalls.close()
        if self._notes:
            await asyncio.wait(self._notes, timeout=DEADLINE)

    @override
    async def read(self, path: str, reader: Reader) -> Any:
        copy = self._copies.get(path)
        if copy is None:
            copy = self._copies.get_stale(path) or await self._recalled(path, reader)
            if self._copies.get(path) is None:
                await self._refresh(path, reader)
                kept = None if self._was_missing(path) else copy
                copy = self._copies.get_stale(path) or kept
        if copy is None:
            raise (self._absences.get_stale(path) or DocumentUnavailableError)(path)
        return copy.value

    @override
    def oldest(self) -> float:
        now = self._clock()
        return now - min((copy.fetched for copy in self._copies.values()), default=now)

    @override
    def is_unconfirmed(self, path: str) -> bool:
        return self._copies.get_stale(path) is not None and self._copies.get(path) is None

    async def _recalled(self, path: str, reader: Reader) -> _Copy | None:
        """Return the copy that an earlier process left, unless this process knows better."""
        known = self._absences.get_stale(path) is not None or path in self._exchanges
        if self._last_good is None or known:
            return None
        await self._recalls.run(path, partial(self._recall, self._last_good, path, reader))
        return self._copies.get_stale(path)

    async def _recall(self, last_good: LastGood, path: str, reader: Reader) -> None:
        found = await last_good.find(path)
        if found is None:
            return
        with contextlib.suppress(*UNREADABLE):
            value = await _read(found.body, reader)
            fetched = self._clock() - found.age
            self._keep(path, _Copy(value, found.validators, fetched, is_recalled=True))

    def _note(self, write: Callable[[LastGood], Coroutine[Any, Any, None]]) -> None:
        """Change the copies on disk in the background, if there are any."""
        if self._last_good is None:
            return
        task = asyncio.create_task(write(self._last_good))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _refresh(self, path: str, reader: Reader) -> None:
        """Wait for the exchange that is under way, or for a new one if one may begin."""
        if path not in self._exchanges and not self._may_ask(path):
            return
        exchange = partial(self._exchange, path, reader)
        with contextlib.suppress(TimeoutError):
            await self._exchanges.run(path, exchange, patience=self._patience(path))

    def _may_ask(self, path: str) -> bool:
        """Whether neither the document nor the server is left alone, nor is too much under way."""
        is_left_alone = self._absences.get(path) is not None or self._clock() < self._pause_ends
        return not is_left_alone and len(self._exchanges) < MAX_FLIGHTS

    def _patience(self, path: str) -> float:
        copy = self._copies.get_stale(path)
        if copy is None:
            return STALE_PATIENCE if self._was_missing(path) else DEADLINE
        if not copy.is_recalled:
            return STALE_PATIENCE
        return RECALLED_PATIENCE if self._clock() - copy.fetched < RECALLED_OLD else DEADLINE

    async def _exchange(self, path: str, reader: Reader) -> None:
        """Ask the server once and keep the outcome. Raise nothing."""
        old = self._copies.get_stale(path)
        try:
            answer = await self._client.get(
                f"{self._url}/{path}",
                headers=old.validators if old else {},
                max_bytes=MAX_BYTES,
                deadline=DEADLINE,
            )
            self._failed_connections = 0
            if answer.status == HTTPStatus.NOT_FOUND and (old is None or old.is_recalled):
                self._drop(path)
                self._answered("missing")
                return
            copy = await self._copy(answer, old, reader)
        except (WebError, *UNREADABLE) as error:
            self._fail(path, error, "last good copy stands in" if old else "no copy")
            return
        self._keep(path, copy)
        if answer.status == HTTPStatus.OK:
            self._answered("fresh")
            self._note(lambda disk: disk.keep(path, answer.body, copy.validators))
        else:
            self._answered("not_modified")
            self._note(lambda disk: self._confirm(disk, path, copy))

    def _fail(self, path: str, error: Exception, stand_in: str) -> None:
        """Leave a document alone for a while. One that was missing still is."""
        if isinstance(error, WebConnectError):
            self._failed_connections += 1
            if self._failed_connections >= FAILED_CONNECTIONS:
                self._pause_ends = self._clock() + PAUSE
        was_missing = self._was_missing(path)
        self._absences.put(path, DocumentMissingError if was_missing else DocumentUnavailableError)
        log.warning("upstream document %s: %s (%s)", ascii(path), _why(error), stand_in)
        self._answered("failed")

    async def _confirm(self, last_good: LastGood, path: str, copy: _Copy) -> None:
        """Note that a copy is current. If it is not on disk, the next exchange fetches it whole."""
        is_kept = await last_good.confirm(path, copy.validators)
        if not is_kept and self._copies.get_stale(path) is copy:
            self._keep(path, replace(copy, validators={}))

    async def _copy(self, answer: WebAnswer, old: _Copy | None, reader: Reader) -> _Copy:
        """Return the copy after an answer. Raise what the reader raises, or WebError."""
        if answer.status == HTTPStatus.NOT_MODIFIED and old is not None:
            return replace(old, fetched=self._clock(), is_recalled=False)
        if answer.status != HTTPStatus.OK:
            raise WebError(f"status {answer.status}")
        return _Copy(await _read(answer.body, reader), _validators(answer), self._clock())

    def _keep(self, path: str, copy: _Copy) -> None:
        self._absences.drop(path)
        self._copies.put(path, copy, seconds=copy.fetched + self._ttl - self._clock())

    def _drop(self, path: str) -> None:
        """Note that the server has no such document, whatever an earlier process knew."""
        if self._copies.get_stale(path):
            self._note(lambda disk: disk.forget(path))
        self._copies.drop(path)
        self._absences.put(path, DocumentMissingError, seconds=MISSING_SECONDS)

    def _was_missing(self, path: str) -> bool:
        """Whether the server's last word was that there is no such document."""
        return self._absences.get_stale(path) is DocumentMissingError


async def _read(body: bytes, reader: Reader) -> Any:
    """Return what a reader makes of a document; raise what it raises."""
    return await asyncio.to_thread(reader, body) if len(body) > LARGE else reader(body)


def _validators(answer: WebAnswer) -> dict[str, str]:
    """Return the headers for a conditional request, without those that cannot be sent back."""
    validators = {
        "If-None-Match": answer.headers.get("etag", ""),
        "If-Modified-Since": answer.headers.get("last-modified", ""),
    }
    return {name: value for name, value in validators.items() if value and value.isascii()}


def _why(error: Exception) -> str:
    """Return what may be logged of an error; a reader's message may quote the server."""
    if isinstance(error, WebPrivateError):
        return f"{error}; UPSTREAM_IS_PRIVATE allows that"
    return str(error) if isinstance(error, WebError) else f"broken ({type(error).__name__})"
