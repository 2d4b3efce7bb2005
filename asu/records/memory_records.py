"""The build records' in-memory twin: both sides in one object.

The same contract tests run against it and against Redis.
"""

import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from asu.errors import WorkerLost

from .build_plan import read_plan
from .build_record import (
    HISTORY,
    LEASE_SECONDS,
    NEWEST_PART,
    REVIVALS,
    Attempt,
    BuildRecord,
    Claimed,
    Holder,
    PendingBodies,
    Revived,
    Standing,
    State,
    new_nonce,
)
from .redis_memory import MemoryUse


class MemoryRecords:
    """The in-memory twin of the API's side and the worker's side in one; its clock and its memory are plain attributes for tests."""

    def __init__(self) -> None:
        self.now = 0.0
        self.memory_use: MemoryUse | None = MemoryUse(used=0, limit=0)
        self._entries: dict[str, dict[str, Any]] = {}
        self._sequence = self._attempts = 0
        self._system = secrets.token_hex(8)
        self._build_seconds: float | None = None
        self._retries: Counter[str] = Counter()

    async def look(self, key: str) -> BuildRecord | None:
        """See Records."""
        entry = self._entry(key)
        return (
            replace(entry["record"], code="", standing=self._standing(key, entry))
            if entry
            else None
        )

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
        """See Records."""
        entry = self._entry(key)
        if entry is not None:
            record: BuildRecord = entry["record"]
            if not record.is_retried and not (renew and record.state is State.DONE):
                return Claimed.KNOWN
        if len(self._line()) >= limit:
            return Claimed.FULL
        if (
            holder
            and sum(self._entries[waiting]["holder"] == holder.name for waiting in self._line())
            >= holder.places
        ):
            return Claimed.SHARE
        self._sequence += 1
        entry = self._new_entry(
            BuildRecord(state=State.QUEUED, step="init", body=bodies.queued), plan, bodies
        )
        self._entries[key] = entry | {"holder": holder.name if holder else None}
        return Claimed.NEW

    async def revive(self, key: str) -> Revived:
        """See Records."""
        entry = self._entry(key)
        if entry is None or entry["record"].state is not State.DONE or entry["plan"] is None:
            return Revived.NOT_DONE
        if entry["revivals"] >= REVIVALS:
            return Revived.TOO_OFTEN
        self._sequence += 1
        record = BuildRecord(state=State.QUEUED, step="init", body=entry["bodies"].queued)
        entry.update(record=record, attempt=0, tries=0, tried=[], revivals=entry["revivals"] + 1)
        entry.update(order=self._sequence, since=self.now, due=self.now, expires=None)
        return Revived.QUEUED

    async def note_use(self, key: str) -> None:
        """See Records."""
        entry = self._entry(key)
        if entry is not None and entry["record"].state is State.DONE:
            entry["used"] = self.now

    async def waiting(self) -> int:
        """See Records."""
        return len(self._line())

    async def running(self) -> int:
        """See Records."""
        return sum(entry["record"].state is State.RUNNING for entry in self._entries.values())

    async def longest_wait(self) -> float:
        """See Records."""
        line = self._line()
        first = next(
            (key for key in line if not self._entries[key]["tries"]), line[0] if line else None
        )
        return self.now - self._entries[first]["since"] if first else 0.0

    async def build_seconds(self) -> float | None:
        """See Records."""
        return self._build_seconds

    async def retries(self) -> dict[str, int]:
        """See Records."""
        return dict(self._retries)

    async def memory(self) -> MemoryUse | None:
        """See Records."""
        return self.memory_use

    def system(self) -> str:
        """See WorkerRecords."""
        return self._system

    def start_next(self, nonce: str | None = None) -> Attempt | None:
        """See WorkerRecords."""
        nonce = nonce or new_nonce()
        for key, entry in self._entries.items():
            if entry["record"].state is State.RUNNING and entry["nonce"] == nonce:
                entry["lease"] = self.now + LEASE_SECONDS
                return _attempt(key, entry, nonce)
        key = next(iter(self.due_keys()), "")
        if not key:
            return None
        entry = self._entries[key]
        self._attempts += 1
        entry.update(begun=self.now, holder=None, nonce=nonce, ended=None)
        entry["attempt"] = self._attempts
        entry["tries"] += 1
        entry["lease"] = self.now + LEASE_SECONDS
        entry["record"] = BuildRecord(
            state=State.RUNNING, step="init", body=entry["bodies"].started
        )
        return _attempt(key, entry, nonce)

    def renew(self, attempt: Attempt) -> bool:
        """See WorkerRecords."""
        entry = self._current(attempt)
        if entry is not None:
            entry["lease"] = self.now + LEASE_SECONDS
        return entry is not None

    def is_current(self, attempt: Attempt) -> bool:
        """See WorkerRecords."""
        return self._current(attempt) is not None

    def progress(self, attempt: Attempt, step: str, body: bytes) -> bool:
        """See WorkerRecords."""
        entry = self._current(attempt)
        if entry is not None:
            entry["record"] = BuildRecord(state=State.RUNNING, step=step, body=body)
        return entry is not None

    def finish(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """See WorkerRecords."""
        if self._has_ended(attempt, record.state):
            return True
        entry = self._current(attempt)
        if entry is not None:
            self._note(entry, record.state.value, record.code)
            entry.update(
                ended=(record.state, attempt.nonce),
                record=record,
                expires=self.now + ttl,
                lease=None,
            )
            if record.state is State.DONE:
                took, mean = self.now - entry["begun"], self._build_seconds
                self._build_seconds = took if mean is None else mean + NEWEST_PART * (took - mean)
        return entry is not None

    def abandoned(self) -> list[Attempt]:
        """See WorkerRecords."""
        running = [
            (key, entry)
            for key, entry in self._entries.items()
            if entry["record"].state is State.RUNNING
        ]
        return [
            _attempt(key, entry, new_nonce())
            for key, entry in running
            if entry["lease"] <= self.now
        ]

    def give_up(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """See WorkerRecords."""
        return (
            self._has_ended(attempt, record.state)
            or self._is_abandoned(attempt.key, attempt.number)
        ) and self.finish(attempt, record, ttl)

    def requeue(self, key: str, number: int) -> bool:
        """See WorkerRecords."""
        is_abandoned = self._is_abandoned(key, number)
        if is_abandoned:
            self._put_back(self._entries[key], "lost", WorkerLost.code)
        return is_abandoned

    def retry(self, attempt: Attempt, code: str, seconds: float) -> bool:
        """See WorkerRecords."""
        if self._has_ended(attempt, State.QUEUED):
            return True
        entry = self._current(attempt)
        if entry is not None:
            self._put_back(entry, "failed", code)
            entry.update(ended=(State.QUEUED, attempt.nonce), due=self.now + seconds)
        return entry is not None

    def restore(
        self,
        key: str,
        record: BuildRecord,
        *,
        plan: str | None,
        bodies: PendingBodies | None,
        ttl: int,
    ) -> bool:
        """See WorkerRecords."""
        if self.is_known(key):
            return False
        self._entries[key] = self._new_entry(record, plan, bodies) | {"expires": self.now + ttl}
        return True

    def idle(self, keys: Sequence[str]) -> dict[str, float]:
        """See WorkerRecords."""
        found = {key: self._entry(key) for key in keys}
        return {
            key: self.now - entry["used"]
            for key, entry in found.items()
            if entry and entry["used"] is not None
        }

    def forget(self, key: str, grace: float) -> bool:
        """See WorkerRecords."""
        entry = self._entry(key)
        if entry is None or entry["record"].state is State.FAILED:
            return True
        if entry["record"].is_pending or (
            key in self.idle([key]) and self.idle([key])[key] <= grace
        ):
            return False
        del self._entries[key]
        return True

    def is_known(self, key: str) -> bool:
        """See WorkerRecords."""
        return self._entry(key) is not None

    def plan(self, key: str) -> Mapping[str, Any] | None:
        """See WorkerRecords."""
        entry = self._entry(key)
        if entry is None or entry["record"].state is State.FAILED:
            return None
        return read_plan(entry["plan"])

    def due_keys(self) -> list[str]:
        """See WorkerRecords."""
        return [key for key in self._line() if self._entries[key]["due"] <= self.now]

    def _line(self) -> list[str]:
        """Return the keys of all that wait; those that were begun before stand before all others."""
        queued = [
            (not entry["tries"], entry["order"], key)
            for key, entry in self._entries.items()
            if entry["record"].state is State.QUEUED
        ]
        return [key for _, _, key in sorted(queued)]

    def _standing(self, key: str, entry: dict[str, Any]) -> Standing:
        state, tried = entry["record"].state, json.dumps(entry["tried"]).encode()
        if state is State.QUEUED:
            fresh = [waiting for waiting in self._line() if not self._entries[waiting]["tries"]]
            return Standing(
                position=fresh.index(key) if key in fresh else 0,
                seconds=max(0.0, entry["due"] - self.now),
                tried=tried,
            )
        return Standing(
            seconds=self.now - entry["begun"] if state is State.RUNNING else 0.0, tried=tried
        )

    def _note(self, entry: dict[str, Any], outcome: str, code: str) -> None:
        ended = {
            "number": entry["tries"],
            "begun": entry["begun"],
            "ended": self.now,
            "outcome": outcome,
            "code": code,
        }
        entry["tried"] = [*entry["tried"], ended][-HISTORY:]

    def _put_back(self, entry: dict[str, Any], outcome: str, code: str) -> None:
        self._note(entry, outcome, code)
        self._retries[code] += 1
        entry.update(
            record=BuildRecord(state=State.QUEUED, step="init", body=entry["bodies"].queued),
            since=self.now,
            lease=None,
        )

    def _new_entry(
        self, record: BuildRecord, plan: str | None, bodies: PendingBodies | None
    ) -> dict[str, Any]:
        return {
            "record": record,
            "bodies": bodies,
            "plan": plan,
            "holder": None,
            "attempt": 0,
            "tries": 0,
            "tried": [],
            "due": self.now,
            "revivals": 0,
            "order": self._sequence,
            "since": self.now,
            "expires": None,
            "lease": None,
            "used": None,
            "nonce": None,
            "ended": None,
        }

    def _entry(self, key: str) -> dict[str, Any] | None:
        entry = self._entries.get(key)
        if entry is not None and entry["expires"] is not None and entry["expires"] <= self.now:
            del self._entries[key]
            return None
        return entry

    def _is_abandoned(self, key: str, number: int) -> bool:
        return (key, number) in [(attempt.key, attempt.number) for attempt in self.abandoned()]

    def _has_ended(self, attempt: Attempt, state: State) -> bool:
        """Whether the attempt was ended so by whoever asks; the reply may have been lost."""
        entry = self._entry(attempt.key)
        return entry is not None and entry["ended"] == (state, attempt.nonce)

    def _current(self, attempt: Attempt) -> dict[str, Any] | None:
        entry = self._entry(attempt.key)
        if (
            entry is None
            or entry["record"].state is not State.RUNNING
            or entry["attempt"] != attempt.number
        ):
            return None
        return entry


def _attempt(key: str, entry: dict[str, Any], nonce: str) -> Attempt:
    return Attempt(
        key=key,
        number=entry["attempt"],
        plan=read_plan(entry["plan"]),
        tries=entry["tries"],
        nonce=nonce,
    )
