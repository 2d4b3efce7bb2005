"""The build record: the one truth about a build, and all that clients poll.

A record is a Redis hash `asu:build:{key}`; one round trip answers a poll. The order of the waiting is the sorted set
`asu:waiting`; whoever runs holds a lease `asu:lease:{key}` that ends by itself when its worker dies. Each transition is one
Lua script, so nobody sees half of one:

    claim ──► queued ──start──► running ──finish──► done | failed
                ▲ ▲                │                 │
                │ └─────requeue────┘                 │   the lease ended without a result
                └───────────────revive───────────────┘   the files of a done one are gone

`attempt` is the fencing token: `progress` and `finish` of an attempt that is no longer the current one change nothing and
say so. It is drawn anew at each start from one counter, so that no two attempts ever share a number, not even those of two
lives of one key (what a Redis that crashes loses of its last second, the counter loses with it); `tries` counts how often the
build was begun in this life. Records of finished builds end with their lifetime; those of waiting and running ones never do.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

LEASE_SECONDS = 20  # Renewed every 5 s, so three renewals may be missed; a dead worker is noticed within half a minute.
# Files may be lost with a disk, or be taken by a tidy hand. When they go each time, another build would go the same way.
REVIVALS = 3
SNAPSHOT_SECONDS = 1.0  # Positions are counted at most this often, however many poll.

PREFIX = "asu:build:"
WAITING = "asu:waiting"
RUNNING = "asu:running"
SYSTEM = "asu:system"
LEASE = "asu:lease:"


class State(StrEnum):
    """Where a build is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """What is known of a build.

    `step` is a word of the closed vocabulary of `imagebuilder_status`; `body` is the answer's JSON, complete but for the
    queue position; `fault` is user, upstream or infra for a failed build, else empty.
    """

    state: State
    step: str
    body: bytes
    fault: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether the build waits or runs."""
        return self.state in (State.QUEUED, State.RUNNING)

    @property
    def is_retried(self) -> bool:
        """Whether a new request begins the build again: failures that the user is not to blame for are never kept."""
        return self.state is State.FAILED and self.fault != "user"


@dataclass(frozen=True, slots=True)
class PendingBodies:
    """What clients are told of a build while it waits (its position still to be added) and when it has just begun."""

    queued: bytes
    started: bytes


class Claimed(StrEnum):
    """What a claim led to."""

    NEW = "new"
    KNOWN = "known"
    FULL = "full"


class Revived(StrEnum):
    """What a revival led to."""

    QUEUED = "queued"
    NOT_DONE = "not-done"
    TOO_OFTEN = "too-often"


class Records(Protocol):
    """The API's side of the records."""

    async def look(self, key: str) -> BuildRecord | None:
        """Return the record in one round trip."""

    async def claim(self, key: str, *, plan: str, bodies: PendingBodies, limit: int, renew: bool) -> Claimed:
        """Put a new build in line unless its key is known, or `limit` wait already.

        With `renew` a finished record counts as unknown: its files are gone.
        """

    async def revive(self, key: str) -> Revived:
        """Put a finished build back in line, at its end and however many wait: its files are gone.

        NOT_DONE when it is not finished (any more), or when the record does not hold what to build; TOO_OFTEN when it was revived
        REVIVALS times since it was claimed.
        """

    async def position(self, key: str) -> int:
        """Return how many wait before this one; counted at most once a second."""

    async def waiting(self) -> int:
        """Return how many wait."""

    async def running(self) -> int:
        """Return how many are being built."""

    async def longest_wait(self) -> float:
        """Return for how many seconds the first in line has waited since it was put there; 0 where none waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The right to build: what to build, the fencing token, and how often the build has been begun, this time included."""

    key: str
    number: int
    plan: Mapping[str, Any]
    tries: int = 1

    @property
    def log_fields(self) -> dict[str, str | int]:
        """What lines about the attempt carry; a plan of an earlier release does not tell which request it came with."""
        request_id = self.plan.get("request_id")
        return {"build": self.key, "attempt": self.number, **({"request_id": str(request_id)} if request_id else {})}


class WorkerRecords(Protocol):
    """The worker's side of the records."""

    def system(self) -> str:
        """Return the name of the system whose records these are; drawn once, it tells systems that share a podman apart."""

    def start(self, key: str) -> Attempt | None:
        """Take a waiting build; None if it does not wait (any more)."""

    def renew(self, attempt: Attempt) -> bool:
        """Prolong the lease; False when the attempt is no longer the current one."""

    def is_current(self, attempt: Attempt) -> bool:
        """Whether the attempt runs and is the current one of its build."""

    def progress(self, attempt: Attempt, step: str, body: bytes) -> bool:
        """Show a step to those who poll; False when the attempt is no longer the current one."""

    def finish(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """Put the outcome in place for `ttl` seconds; False when the attempt is no longer the current one."""

    def abandoned(self) -> list[Attempt]:
        """Return the attempts whose lease has ended without an outcome; a note of one whose record is gone is removed."""

    def requeue(self, key: str, number: int) -> bool:
        """Put an abandoned build back in its old place; False when it is not abandoned any more."""

    def is_known(self, key: str) -> bool:
        """Whether there is a record, whatever it says."""

    def plan(self, key: str) -> Mapping[str, Any] | None:
        """Return what to build, as long as a record knows it: a waiting, running or finished one does, a failed one does not."""

    def waiting_keys(self) -> list[str]:
        """Return the keys of the waiting builds, oldest first."""


class PositionSnapshot:
    """The waiting builds' places as they were at most a second ago.

    One count at a time: whoever finds the last one stale begins it, all others are answered from the last one meanwhile. At
    the very first there is none, so everybody waits for it. A count that fails counts as none; the next one who polls tries.
    """

    def __init__(self, count: Callable[[], Awaitable[list[str]]]) -> None:
        self._count = count
        self._taken = float("-inf")
        self._places: dict[str, int] | None = None
        self._counting: asyncio.Task[None] | None = None

    async def place(self, key: str) -> int:
        """Return the place of a key; one that came after the count stands at the end."""
        counting = self._counting
        if counting is None and time.monotonic() - self._taken >= SNAPSHOT_SECONDS:
            counting = self._counting = asyncio.create_task(self._take())
            counting.add_done_callback(self._ended)
            await asyncio.shield(counting)  # Whoever hangs up does not end it for the others.
        elif counting is not None and self._places is None:
            await asyncio.shield(counting)
        places = self._places or {}
        return places.get(key, len(places))

    async def _take(self) -> None:
        begun = time.monotonic()
        self._places = {key: place for place, key in enumerate(await self._count())}
        self._taken = begun

    def _ended(self, counting: asyncio.Task[None]) -> None:
        self._counting = None
        if not counting.cancelled():
            counting.exception()  # Those who waited for it have got it; nobody else needs to hear of it.
