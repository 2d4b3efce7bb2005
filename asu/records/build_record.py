"""The build record: the one truth about a build, and all that clients poll.

 A record is a Redis hash `asu:build:{key}`; one round trip answers a poll. The order of the waiting
is the sorted set `asu:waiting`; whoever runs holds a lease `asu:lease:{key}` that ends by itself
when its worker dies. Each transition is one Lua script, so nobody sees half of one:

    claim ──► queued ──start──► running ──finish──► done | failed
                ▲ ▲                │                 │
                │ ├─────requeue────┤                 │   the lease ended without a result
                │ └──────retry─────┘                 │   the attempt failed, and not by its user's fault
                └───────────────revive───────────────┘   the files of a done one are gone

A build that comes back into the line begins before all that were never begun, and is not counted in
their places: whoever waits sees a place that only ever becomes better.

`attempt` is the fencing token: `progress` and `finish` of an attempt that is no longer the current
one change nothing and say so. It is drawn anew at each start, greater than all before it: the next
number of one counter, or the time in microseconds where that is greater. So no two attempts share a
number, not even those of two lives of one key, nor those before and after Redis went back in time
(restored from a backup, a replica that lagged, emptied) unless its clock did, too. `tries` counts
how often the build was begun in this life. Records of finished builds end with their lifetime;
those of waiting and running ones never do.

A reply may be lost after Redis has done what it was asked. `start`, `finish` and `retry` are
therefore asked again as they were, with the `nonce` of whoever asks, and answer as they did as long
as nobody else has begun the build since.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from .redis_memory import MemoryUse

# Renewed every 5 s, so three renewals may be missed; a dead worker is noticed within half a minute.
LEASE_SECONDS = 20
# Files may be lost with a disk, or be taken by a tidy hand. When they go each time, another build
# would go the same way.
REVIVALS = 3
# As many attempts are told of a build; by default none is begun more than three times.
HISTORY = 10
NEWEST_PART = 0.1  # What the newest build makes up of the mean duration: the last ten or so count.

PREFIX = "asu:build:"
WAITING = "asu:waiting"
RUNNING = "asu:running"
SYSTEM = "asu:system"
LEASE = "asu:lease:"
HOLDER = "asu:holder:"  # With a client's address: the keys that it has put in line.
PACE = "asu:pace"  # How many seconds builds took lately.
RETRIES = "asu:retries"  # How many attempts were put back in line, by code.


class State(StrEnum):
    """Where a build is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFacts:
    """Where a build stands at the moment of the look.

    `position` is how many wait before it that were never begun; `seconds` how long it has run or,
    `position` is how many wait before it that were never begun; `seconds` how long it has run or,
    while it waits, must still wait before it may begin again. `tried` is a JSON array of its
    attempts that have ended, the last `HISTORY` of this life: `number` (from 1), `begun` and
    `ended` (seconds since 1970), `outcome` (done, failed, or lost with its worker), `code` of the
    error.
    """

    position: int = 0
    seconds: float = 0.0
    tried: bytes = b"[]"


NOWHERE = LiveFacts()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """What is known of a build.

    `step` is a word of the closed vocabulary of `imagebuilder_status`; `body` is the answer's JSON,
    complete but for what changes from poll to poll; `fault` is user, upstream or infra for a failed
    build, else empty, and so is the error's `code`, which whoever looks finds in the body. Where
    the build stands does not make two records different.
    """

    state: State
    step: str
    body: bytes
    fault: str = ""
    code: str = field(default="", compare=False)
    live: LiveFacts = field(default=NOWHERE, compare=False)

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
    SHARE = "share"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who puts a build in line, and how many builds of theirs may wait at the same time."""

    name: str
    places: int


class Revived(StrEnum):
    """What a revival led to."""

    QUEUED = "queued"
    NOT_DONE = "not-done"
    TOO_OFTEN = "too-often"


class Records(Protocol):
    """The API's side of the records."""

    async def look(self, key: str) -> BuildRecord | None:
        """Return the record in one round trip."""

    async def claim(
        self,
        key: str,
        *,
        plan: str,
        bodies: PendingBodies,
        limit: int,
        renew: bool,
        holder: Holder | None = None,
    ) -> Claimed:
        """Put a new build in line unless its key is known, `limit` wait already (FULL), or as many of the holder's as may (SHARE).

        With `renew` a finished record counts as unknown: its files are gone. A place is held until
        the build begins. Raises MemoryFull, and nothing is changed, when there is no memory left
        for another.
        """

    async def revive(self, key: str) -> Revived:
        """Put a finished build back in line, at its end and however many wait: its files are gone.

        NOT_DONE when it is not finished (any more), or when the record does not hold what to build;
        TOO_OFTEN when it was revived REVIVALS times since it was claimed.
        """

    async def note_use(self, key: str) -> None:
        """Note that a finished build was of use at this moment; nothing happens to any other."""

    async def waiting(self) -> int:
        """Return how many wait."""

    async def running(self) -> int:
        """Return how many are being built."""

    async def longest_wait(self) -> float:
        """Return for how many seconds the first in line has waited since it was put there; 0 where none waits."""

    async def build_seconds(self) -> float | None:
        """Return how long finished builds took lately, as a mean in which the last ten or so count; None where nobody knows."""

    async def retries(self) -> dict[str, int]:
        """Return how many attempts were put back in line since Redis began, by the code of the error with which they ended."""

    async def memory(self) -> MemoryUse | None:
        """Return how much memory the records use, with all that lies beside them; None where that is not told."""


def new_nonce() -> str:
    """Return a word that nobody else has: it tells who asks for a transition."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The right to build: what to build, the fencing token, and how often the build has been begun, this time included.

    `nonce` tells whoever has it in hand from all others, be it the worker or a sweep that finds it
    abandoned.
    """

    key: str
    number: int
    plan: Mapping[str, Any]
    tries: int = 1
    nonce: str = field(default_factory=new_nonce, compare=False)

    @property
    def log_fields(self) -> dict[str, str | int]:
        """What lines about the attempt carry; a plan of an earlier release does not tell which request it came with."""
        request_id = self.plan.get("request_id")
        return {
            "build": self.key,
            "attempt": self.number,
            **({"request_id": str(request_id)} if request_id else {}),
        }


class WorkerRecords(Protocol):
    """The worker's side of the records."""

    def system(self) -> str:
        """Return the name of the system whose records these are; drawn once, it tells systems that share a podman apart."""

    def start_next(self, nonce: str | None = None) -> Attempt | None:
        """Begin the first waiting build that is due; None if there is none.

        Asked again with the same `nonce`, it returns the same attempt as long as that runs, with
        its lease prolonged. Without one a new one is drawn.
        """

    def renew(self, attempt: Attempt) -> bool:
        """Prolong the lease; False when the attempt is no longer the current one."""

    def is_current(self, attempt: Attempt) -> bool:
        """Whether the attempt runs and is the current one of its build."""

    def progress(self, attempt: Attempt, step: str, body: bytes) -> bool:
        """Show a step to those who poll; False when the attempt is no longer the current one."""

    def finish(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """Put the outcome in place for `ttl` seconds; False when the attempt is no longer the current one.

        Asked again, it is True as long as the build was not begun again.
        """

    def abandoned(self) -> list[Attempt]:
        """Return the attempts whose lease has ended without an outcome; a note of one whose record is gone is removed."""

    def give_up(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """Put the failure of an abandoned attempt in place, as `finish` does; False when it is not abandoned any more."""

    def requeue(self, key: str, number: int) -> bool:
        """Put an abandoned build back in line, before all that were never begun; False when it is not abandoned any more."""

    def retry(self, attempt: Attempt, code: str, seconds: float) -> bool:
        """Put a build back in line, before all that were never begun; it may begin after so many seconds.

        `code` is that of the error with which the attempt ended. False when the attempt is no
        longer the current one. Asked again, it is True as long as the build was not begun again.
        """

    def restore(
        self,
        key: str,
        record: BuildRecord,
        *,
        plan: str | None,
        bodies: PendingBodies | None,
        ttl: int,
    ) -> bool:
        """Put the record of a finished build that was lost in place for `ttl` seconds; False when there is one, whatever it says.

        Without a plan it is never revived.
        """

    def idle(self, keys: Sequence[str]) -> dict[str, float]:
        """Return for how many seconds builds were of no use, of those of which any use was noted."""

    def forget(self, key: str, grace: float) -> bool:
        """Remove the record of a finished build, so that its files may be removed, too.

        False where they must stay: it waits or runs, or it was of use within `grace` seconds. True
        without a record, and for a failed build, whose record stays.
        """

    def is_known(self, key: str) -> bool:
        """Whether there is a record, whatever it says."""

    def plan(self, key: str) -> Mapping[str, Any] | None:
        """Return what to build, as long as a record knows it: a waiting, running or finished one does, a failed one does not."""

    def due_keys(self) -> list[str]:
        """Return the keys of the waiting builds that may begin now, in the order in which they should."""
