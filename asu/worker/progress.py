"""What an attempt has gathered, and its answers: of each step, of the end, of a failure."""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from asu.build_request import echo
from asu.errors import AsuError, InfraError
from asu.records.build_record import BuildRecord, State
from asu.records.redis_memory import ENDED_BODY_BYTES

from .container import BoundedLog, CommandResult

log = logging.getLogger(__name__)

# Bytes of either end of an output that are kept after success: records of a day lie in Redis'
# memory, and nobody looks for an error in them.
SUCCESS_HALF = 2 * 1024
# Bytes that both outputs of a failure always get. The rest of its body repeats the request, which
# may be 256 KiB, but the record held that several times and drops it when the build ends.
OUTPUTS_LEAST = 8 * 1024
# Three times what genuine builds gather; a failure leaves out a longer, invented manifest.
GATHERED_MOST = ENDED_BODY_BYTES // 2


@dataclass(slots=True)
class Progress:
    """What an attempt has gathered so far; it grows from step to step and ends up in the record."""

    plan: Mapping[str, Any]
    gathered: dict[str, Any] = field(default_factory=dict)
    stdout: str = ""
    stderr: str = ""
    # Name → SHA-256 of what is published, without the provenance.
    files: Mapping[str, str] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long the attempt has taken until now."""
        return time.monotonic() - self.began

    def keep_output(self, result: CommandResult) -> None:
        """Keep the output of a command."""
        self.stdout += result.stdout
        self.stderr += result.stderr

    def _body(self, status: int, detail: str, step: str) -> dict[str, Any]:
        return {
            **self.gathered,
            "status": status,
            "detail": detail,
            "imagebuilder_status": step,
            "request": echo(self.plan["request"]),
            "request_hash": self.plan["key"],
            "enqueued_at": self.plan["enqueued_at"],
        }

    def begun(self, step: str) -> bytes:
        """Return the body of the answer while a step runs."""
        return json.dumps(self._body(202, "started", step)).encode()

    def done(self) -> BuildRecord:
        """Return the record of a build that ended well, with both ends of the builder's output."""
        printed = {"stdout": self.stdout, "stderr": self.stderr}
        ends = {name: _ends_of(text, SUCCESS_HALF) for name, text in printed.items()}
        return _record(State.DONE, "done", self._body(200, "done", "done") | ends)

    def failed(self, error: AsuError) -> BuildRecord:
        """Return the record of a failed build; its body has at most about ENDED_BODY_BYTES."""
        if _json_size(self.gathered) > GATHERED_MOST:
            self.gathered = {}
        if isinstance(error, InfraError):
            self.stdout += error.stdout
            self.stderr += error.stderr
        # A poll answers 500 for every failed build, whatever status the error has elsewhere.
        detail = f"Error: {error.words}"
        body = self._body(500, detail, "failed") | error.body()
        body |= {"status": 500, "detail": detail, "fault": error.fault}
        outputs = {"stdout": self.stdout, "stderr": self.stderr}
        rest = _json_size({**body, **dict.fromkeys(outputs, "")})
        body |= _ends_within(outputs, max(OUTPUTS_LEAST, ENDED_BODY_BYTES - rest))
        log.warning(
            "build %s: %s (%s): %s", self.plan["key"], error.code, error.fault, error.detail
        )
        return _record(State.FAILED, "failed", body, fault=error.fault, code=error.code)


def _record(
    state: State, step: str, body: Mapping[str, Any], *, fault: str = "", code: str = ""
) -> BuildRecord:
    return BuildRecord(
        state=state, step=step, body=json.dumps(body).encode(), fault=fault, code=code
    )


def _ends_of(text: str, half: int) -> str:
    kept = BoundedLog(half)
    kept.write(text.encode())
    return kept.text()


def _ends_within(outputs: Mapping[str, str], most: int) -> dict[str, str]:
    """Shorten the longest of some outputs, so that all together take at most `most` bytes as JSON.

    JSON escapes control and replacement characters as six bytes each, so that is not their size.
    """
    kept, left = dict(outputs), most
    by_size = sorted(outputs, key=lambda name: _json_size(outputs[name]))
    for place, name in enumerate(by_size):
        kept[name] = _ends_as_json(outputs[name], left // (len(by_size) - place))
        left -= _json_size(kept[name])
    return kept


def _ends_as_json(text: str, most: int) -> str:
    half, kept = len(text.encode()) // 2, text
    # A few rounds: what is left may need more escapes than what was dropped.
    while (size := _json_size(kept)) > most and half > 1:
        half = max(1, half * most // size - 1)
        kept = _ends_of(text, half)
    return kept


def _json_size(value: object) -> int:
    return len(json.dumps(value))  # Which is ASCII.
