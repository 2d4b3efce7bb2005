"""The build record: the one truth about a build, and all that clients poll.

A record is a Redis hash `asu:build:{key}`; one round trip answers a poll. The sorted set
`asu:waiting` is the line. A running build holds a lease `asu:lease:{key}`, which ends by itself
when its worker dies. Each transition is one Lua script, so nobody sees half of one:

    claim ──► queued ──start──► running ──finish──► done | failed
                ▲ ▲                │                 │
                │ ├─────requeue────┤                 │   the lease ended without a result
                │ └──────retry─────┘                 │   the attempt failed, not by the user's fault
                └───────────────revive───────────────┘   the files of a done one are gone

A build that comes back begins before all that were never begun, and is not counted in their
positions, so a position never rises. Records of finished builds end with their lifetime, those of
waiting and running builds never do.

`attempt` is the fencing token: each start draws a greater one (docs/decisions/0007).
`start`, `finish` and `retry` may be asked again with the same `nonce` (docs/decisions/0008).
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

# Renewed every 5 s, so three renewals may be missed; a dead worker is noticed within half a minute.
LEASE_SECONDS = 20
REVIVALS = 3  # Files that are lost after each build would be lost after another one, too.
LOG_SECONDS = 1800  # Since its last line. The longest step prints something within that time.
LOG_ENDED_SECONDS = 120  # People who watched a build get its last lines.
HISTORY = 10  # Attempts shown of a build; by default none is begun more than three times.
NEWEST_PART = 0.1  # Weight of the newest build in the mean duration: about the last ten count.

PREFIX = "asu:build:"
WAITING = "asu:waiting"
RUNNING = "asu:running"
SYSTEM = "asu:system"
LOG = "asu:log:"  # With a key: the stream of what the running attempt prints.
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
    live: LiveFacts = field(default_factory=LiveFacts, compare=False)

    @property
    def is_pending(self) -> bool:
        """Whether the build waits or runs."""
        return self.state in (State.QUEUED, State.RUNNING)

    @property
    def is_retried(self) -> bool:
        """Whether a new request begins it again: only failures by a user's fault are kept."""
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


def new_nonce(worker: str = "") -> str:
    """Return a random word, which says who asks for a transition, behind the name of a worker."""
    return f"{worker}.{secrets.token_hex(8)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The right to build: the plan, the fencing token, and how often the build was begun so far.

    `nonce` is the word of the worker that builds, or of the sweep that found the attempt abandoned;
    only the latter knows `worker`, the name of the worker that began it, and its `step`.
    """

    key: str
    number: int
    plan: Mapping[str, Any]
    tries: int = 1
    nonce: str = field(default_factory=new_nonce, compare=False)
    worker: str = field(default="", compare=False)
    step: str = field(default="", compare=False)

    @property
    def log_fields(self) -> dict[str, str | int]:
        """The fields of log lines about the attempt."""
        request_id = self.plan.get("request_id")
        return {
            "build": self.key,
            "attempt": self.number,
            **({"request_id": str(request_id)} if request_id else {}),
        }
