"""The audit log: one line of JSON for each build that ended, which outlives images and records.

    {"time": "2026-03-01T12:00:00Z", "build": KEY, "attempt": 7, "tries": 1, "request_id": "…",
    "version": "24.10.4", "target": "x86/64",
    "profile": "generic", "outcome": "done", "fault": "", "seconds": 21.4, "builder_digest":
    "sha256:…", "files": {NAME: SHA-256, …}}

`outcome` is `done` or the code of the error. Nothing in it is secret or says who asked: no address,
no package, no script.

An empty line may stand between two; the last line may be cut short where the disk was full.
"""

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asu.logs import where_it_failed
from asu.records.build_plan import safe_plan
from asu.records.build_record import Attempt, BuildRecord, State

log = logging.getLogger(__name__)

MODE = 0o640  # For the operator's group only: it shows which devices there are.


class AuditLog:
    """The log at `path`; without one nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def note(
        self, attempt: Attempt, record: BuildRecord, *, seconds: float, files: Mapping[str, str]
    ) -> None:
        """Write down an outcome that took `seconds`, and the published files, name → SHA-256.

        Never raises, since the build has ended.
        """
        if self._path is None:
            return
        try:
            _append(self._path, json.dumps(_line(attempt, record, seconds, files)).encode() + b"\n")
        except Exception as error:  # noqa: BLE001  # Its message may quote the request.
            reason = error.strerror if isinstance(error, OSError) else where_it_failed(error)
        else:
            return
        log.error("build %s is missing in the audit log: %s", attempt.key, reason)


def _line(
    attempt: Attempt, record: BuildRecord, seconds: float, files: Mapping[str, str]
) -> dict[str, Any]:
    body, request = json.loads(record.body), safe_plan(attempt.plan, attempt.key)["request"]
    return {
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "build": attempt.key,
        "attempt": attempt.number,
        "tries": attempt.tries,
        "request_id": attempt.plan.get("request_id", ""),
        **{name: request.get(name, "") for name in ("version", "target", "profile")},
        "outcome": "done" if record.state is State.DONE else body["code"],
        "fault": record.fault,
        "seconds": round(seconds, 3),
        "builder_digest": body.get("builder_digest", ""),
        "files": dict(files) if record.state is State.DONE else {},
    }


def _append(path: Path, line: bytes) -> None:
    """Append a whole line, after ending one that an earlier write cut short; raises OSError."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(file, line) < len(line):
            raise OSError(0, "only a part of the line was written")
        os.fsync(file)
    finally:
        os.close(file)
