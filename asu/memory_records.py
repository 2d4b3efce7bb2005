"""The build records' in-memory twin: both sides in one object.

The same contract tests run against it and against Redis.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from .build_record import LEASE_SECONDS, REVIVALS, Attempt, BuildRecord, Claimed, PendingBodies, Revived, State


class MemoryRecords:
    """The in-memory twin of the API's side and the worker's side in one; its clock is a plain attribute for tests."""

    def __init__(self) -> None:
        self.now = 0.0
        self._entries: dict[str, dict[str, Any]] = {}
        self._sequence = self._attempts = 0
        self._system = secrets.token_hex(8)

    async def look(self, key: str) -> BuildRecord | None:
        """See Records."""
        entry = self._entry(key)
        return entry["record"] if entry else None

    async def claim(self, key: str, *, plan: str, bodies: PendingBodies, limit: int, renew: bool) -> Claimed:
        """See Records."""
        entry = self._entry(key)
        if entry is not None:
            record: BuildRecord = entry["record"]
            if not record.is_retried and not (renew and record.state is State.DONE):
                return Claimed.KNOWN
        if len(self.waiting_keys()) >= limit:
            return Claimed.FULL
        self._sequence += 1
        self._entries[key] = {
            "record": BuildRecord(state=State.QUEUED, step="init", body=bodies.queued),
            "bodies": bodies,
            "plan": plan,
            "attempt": 0,
            "tries": 0,
            "revivals": 0,
            "order": self._sequence,
            "since": self.now,
            "expires": None,
            "lease": None,
        }
        return Claimed.NEW

    async def revive(self, key: str) -> Revived:
        """See Records."""
        entry = self._entry(key)
        if entry is None or entry["record"].state is not State.DONE:
            return Revived.NOT_DONE
        if entry["revivals"] >= REVIVALS:
            return Revived.TOO_OFTEN
        self._sequence += 1
        record = BuildRecord(state=State.QUEUED, step="init", body=entry["bodies"].queued)
        entry.update(record=record, attempt=0, tries=0, revivals=entry["revivals"] + 1, order=self._sequence, since=self.now, expires=None)
        return Revived.QUEUED

    async def position(self, key: str) -> int:
        """See Records."""
        keys = self.waiting_keys()
        return keys.index(key) if key in keys else len(keys)

    async def waiting(self) -> int:
        """See Records."""
        return len(self.waiting_keys())

    async def running(self) -> int:
        """See Records."""
        return sum(entry["record"].state is State.RUNNING for entry in self._entries.values())

    async def longest_wait(self) -> float:
        """See Records."""
        keys = self.waiting_keys()
        return self.now - self._entries[keys[0]]["since"] if keys else 0.0

    def system(self) -> str:
        """See WorkerRecords."""
        return self._system

    def start(self, key: str) -> Attempt | None:
        """See WorkerRecords."""
        entry = self._entry(key)
        if entry is None or entry["record"].state is not State.QUEUED:
            return None
        self._attempts += 1
        entry["attempt"] = self._attempts
        entry["tries"] += 1
        entry["lease"] = self.now + LEASE_SECONDS
        entry["record"] = BuildRecord(state=State.RUNNING, step="init", body=entry["bodies"].started)
        return _attempt(key, entry)

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
        entry = self._current(attempt)
        if entry is not None:
            entry.update(record=record, expires=self.now + ttl, lease=None)
        return entry is not None

    def abandoned(self) -> list[Attempt]:
        """See WorkerRecords."""
        running = [(key, entry) for key, entry in self._entries.items() if entry["record"].state is State.RUNNING]
        return [_attempt(key, entry) for key, entry in running if entry["lease"] <= self.now]

    def requeue(self, key: str, number: int) -> bool:
        """See WorkerRecords."""
        if (key, number) not in [(attempt.key, attempt.number) for attempt in self.abandoned()]:
            return False
        self._entries[key]["record"] = BuildRecord(state=State.QUEUED, step="init", body=self._entries[key]["bodies"].queued)
        return True

    def is_known(self, key: str) -> bool:
        """See WorkerRecords."""
        return self._entry(key) is not None

    def plan(self, key: str) -> Mapping[str, Any] | None:
        """See WorkerRecords."""
        entry = self._entry(key)
        if entry is None or entry["record"].state is State.FAILED:
            return None
        plan: Mapping[str, Any] = json.loads(entry["plan"])
        return plan

    def waiting_keys(self) -> list[str]:
        """See WorkerRecords."""
        queued = [(entry["order"], key) for key, entry in self._entries.items() if entry["record"].state is State.QUEUED]
        return [key for _, key in sorted(queued)]

    def _entry(self, key: str) -> dict[str, Any] | None:
        entry = self._entries.get(key)
        if entry is not None and entry["expires"] is not None and entry["expires"] <= self.now:
            del self._entries[key]
            return None
        return entry

    def _current(self, attempt: Attempt) -> dict[str, Any] | None:
        entry = self._entry(attempt.key)
        if entry is None or entry["record"].state is not State.RUNNING or entry["attempt"] != attempt.number:
            return None
        return entry


def _attempt(key: str, entry: dict[str, Any]) -> Attempt:
    return Attempt(key=key, number=entry["attempt"], plan=json.loads(entry["plan"]), tries=entry["tries"])
