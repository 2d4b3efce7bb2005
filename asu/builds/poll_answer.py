"""The answer to a poll, made of the record as it is and of what changes from poll to poll.

The record holds the answer's JSON as bytes. They are copied, with a few keys added at their end:
nothing is parsed, since every client polls.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from asu.records.build_record import BuildRecord, State

from .eta import EtaEstimate

HTTP_STATUS = {State.QUEUED: 202, State.RUNNING: 202, State.DONE: 200, State.FAILED: 500}
NOBODY_WORKS = (
    "no worker is alive at the moment; the build is not lost and begins as soon as one starts"
)
NO_ROOM = (
    "the server's disk is too full to begin builds at the moment; the build is not lost and begins "
    "as soon as there is room"
)

NOBODY_BEGINS = (
    "builds wait, but no worker has begun one for minutes; the build is not lost, and the operator "
    "should look into it"
)


@dataclass(frozen=True, slots=True)
class BuildAnswer:
    """The answer to a poll: status, headers, and the JSON body."""

    status: int
    headers: dict[str, str]
    body: bytes


def answer_of(record: BuildRecord, estimate: EtaEstimate) -> BuildAnswer:
    """Return the answer that a record gives."""
    state, live = record.state, record.live
    step, position = (record.step, 0) if state is not State.QUEUED else ("queued", live.position)
    added = attempts(live.tried)
    if record.is_pending:
        eta = estimate.until_finished(live, is_running=state is State.RUNNING)
        facts: dict[str, Any] = {"eta_seconds": eta, "workers_alive": estimate.workers}
        if state is State.QUEUED:
            facts["queue_position"] = position
        if estimate.workers == 0:
            facts["notice"] = NOBODY_WORKS
        elif estimate.is_full and state is State.QUEUED:
            facts["notice"] = NO_ROOM
        elif estimate.is_stuck and state is State.QUEUED:
            facts["notice"] = NOBODY_BEGINS
        added = b"%b, %b" % (added, json.dumps(facts)[1:-1].encode())
    headers = {"X-Imagebuilder-Status": step, "X-Queue-Position": str(position)}
    return BuildAnswer(HTTP_STATUS[state], headers, widened(record.body, added))


def widened(body: bytes, added: bytes) -> bytes:
    """Return a JSON object with further members at its end."""
    kept = body.rstrip()[:-1].rstrip()
    return b"%b%b%b}" % (kept, b"" if kept == b"{" else b", ", added)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the answers of two builds: the packages of their images, and their requests."""
    before, after = old.get("manifest") or {}, new.get("manifest") or {}
    asked, asks = old.get("request") or {}, new.get("request") or {}
    return {
        "packages": {
            "added": {name: after[name] for name in sorted(after.keys() - before.keys())},
            "removed": {name: before[name] for name in sorted(before.keys() - after.keys())},
            "changed": _changed(before, after, before.keys() & after.keys()),
        },
        "request": _changed(asked, asks, asked.keys() | asks.keys()),
    }


def _changed(
    old: Mapping[str, Any], new: Mapping[str, Any], names: Iterable[str]
) -> dict[str, dict[str, Any]]:
    return {
        name: {"old": old.get(name), "new": new.get(name)}
        for name in sorted(names)
        if old.get(name) != new.get(name)
    }


@lru_cache(1024)  # Most are the empty one, others some hundred bytes.
def attempts(tried: bytes) -> bytes:
    """Return the member `attempts`, with times of RFC 3339, and with `code` for failed ones.

    It is empty where somebody has overwritten them.
    """
    try:
        shown = _attempts(json.loads(tried))
    except (ValueError, TypeError, LookupError, ArithmeticError, OSError, RecursionError):
        shown = []
    return b'"attempts": ' + json.dumps(shown).encode()


def _attempts(tried: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    shown = []
    for one in tried:
        code = {"code": one["code"]} if one["code"] else {}
        shown.append(
            {
                "number": one["number"],
                "begun": _rfc3339(one["begun"]),
                "ended": _rfc3339(one["ended"]),
                "outcome": one["outcome"],
                **code,
            }
        )
    return shown


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
