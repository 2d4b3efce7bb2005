"""The build record: the one truth about a build, and all that clients poll.

A record is a Redis hash `asu:build:{key}`; one round trip answers a poll. The order of the waiting
builds is the sorted set `asu:waiting`. A running build holds a lease `asu:lease:{key}`, which ends by
itself when its worker dies. Each transition is one Lua script, so nobody sees half of one:

    claim ──► queued ──start──► running ──finish──► done | failed
                ▲ ▲                │                 │
                │ ├─────requeue────┤                 │   the lease ended without a result
                │ └──────retry─────┘                 │   the attempt failed, and not by its user's fault
                └───────────────revive───────────────┘   the files of a done one are gone

A build that comes back into the line begins before all that were never begun, and their positions do
not count it: so a position never rises. Records of finished builds end with their lifetime, those of
waiting and running builds never do.

`attempt` is the fencing token: `progress` and `finish` of an attempt that is not the current one
change nothing and return False. Each start draws a greater number: the next one of a counter, or the
time in microseconds if that is greater. So no number comes twice, not even after Redis was restored
from a backup or emptied. `tries` counts how often the build was begun in this life.

A reply may be lost after Redis has done what it was asked. `start`, `finish` and `retry` can be asked
again with the same `nonce`: they answer the same until the build is begun again.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from .redis_memory import MemoryUse

# Renewed every 5 s, so three renewals may be missed; a dead worker is noticed within half a minute.
LEASE_SECONDS = 20
REVIVALS = 3  # Files that are lost after each build would be lost after another one, too.
HISTORY = 10  # Attempts shown of a build; by default none is begun more than three times.
NEWEST_PART = 0.1  # Weight of the newest build in the mean duration: about the last ten count.

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
    """What changes from poll to poll.

    `position` counts the builds before it that were never begun. `seconds` is how long it has run
    or, while it waits, how long it must still wait before it may begin again. `tried` is a JSON
    array of the last `HISTORY` attempts that have ended: `number` (from 1), `begun` and `ended`
    (seconds since 1970), `outcome` (done, failed, or lost with its worker), `code` of the error.
    """

    position: int = 0
    seconds: float = 0.0
    tried: bytes = b"[]"


NOWHERE = LiveFacts()


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """What is known of a build.

    `step` is a word of the closed vocabulary of `imagebuilder_status`. `body` is the answer's JSON
    without what changes from poll to poll (`live`). `fault` (user, upstream, infra) and `code` are
    those of a failed build, else "".
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
        """Whether a new request begins the build again: only failures by the user's fault are kept."""
        return self.state is State.FAILED and self.fault != "user"


@dataclass(frozen=True, slots=True)
class PendingBodies:
    """The answers to polls of a build that waits (without its position) and that has just begun."""

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
    """A client that puts builds in line, and how many of its builds may wait at the same time."""

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
        """Put a new build in line.

        KNOWN if its key is known, FULL if `limit` builds wait already, SHARE if as many of the
        holder's wait as may. With `renew` a finished record counts as unknown: its files are gone.
        A place is held until the build begins. Raises MemoryFull, and changes nothing, when Redis
        has no memory for another.
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
        """Return how many seconds the first in line has waited; 0 if none waits."""

    async def build_seconds(self) -> float | None:
        """Return the mean seconds of about the last ten finished builds; None before the first."""

    async def retries(self) -> dict[str, int]:
        """Return how many attempts were put back in line, by the code of their error."""

    async def memory(self) -> MemoryUse | None:
        """Return how much memory Redis uses; None if it does not say."""


def new_nonce() -> str:
    """Return a random word, which says who asks for a transition."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The right to build: what to build, the fencing token, and how often the build was begun so far.

    `nonce` is the word of the worker that builds, or of the sweep that found the attempt abandoned.
    """

    key: str
    number: int
    plan: Mapping[str, Any]
    tries: int = 1
    nonce: str = field(default_factory=new_nonce, compare=False)

    @property
    def log_fields(self) -> dict[str, str | int]:
        """The fields of log lines about the attempt."""
        request_id = self.plan.get("request_id")
        return {
            "build": self.key,
            "attempt": self.number,
            **({"request_id": str(request_id)} if request_id else {}),
        }


class WorkerRecords(Protocol):
    """The worker's side of the records."""

    def system(self) -> str:
        """Return the name of this system, drawn once: several systems may share a podman."""

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
        """Return the attempts whose lease has ended without an outcome."""

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
