"""What an attempt has gathered so far, and the answers made of it: each step's, the finished build's, the failed one's.

The one place that composes the body of a failure, whoever finds it: the worker that builds, or the
one that finds that another was lost.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from asu.build_request import echo
from asu.errors import AsuError, InfraError
from asu.records.build_record import BuildRecord, State
from asu.records.redis_memory import ENDED_BODY_BYTES

from .bounded_log import SUCCESS_HALF, ends_of, ends_within, json_size
from .container import BuildContainer, CommandResult

log = logging.getLogger(__name__)

# Bytes that both outputs of a failure have however large the rest of its body is. The rest repeats
# the request, which may be 256 KiB; but what the record held of that before, several times over, is
# dropped when it ends.
OUTPUTS_LEAST = 8 * 1024
# Three times what genuine builds gather; a container that makes up a longer manifest fails without.
GATHERED_MOST = ENDED_BODY_BYTES // 2


@dataclass(slots=True)
class Progress:
    """What an attempt has gathered so far; it grows from step to step and ends up in the record."""

    plan: Mapping[str, Any]
    gathered: dict[str, Any] = field(default_factory=dict)
    stdout: str = ""
    stderr: str = ""
    # Name → SHA-256 of what is published, provenance apart.
    files: Mapping[str, str] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long the attempt has taken until now."""
        return time.monotonic() - self.began

    def heard(self, result: CommandResult) -> None:
        """Keep the output of a command."""
        self.stdout += result.stdout
        self.stderr += result.stderr

    def timed(
        self, step: str, container: BuildContainer, command: Sequence[str], *, deadline: int
    ) -> CommandResult:
        """Run one of the three make commands and keep how many seconds it took, under `make_seconds`."""
        began = time.monotonic()
        result = container.run(command, deadline=deadline)
        self.gathered.setdefault("make_seconds", {})[step] = round(time.monotonic() - began, 3)
        return result

    def body(self, status: int, detail: str, step: str, *, outputs: bool) -> dict[str, Any]:
        """Return the answer's body as it stands."""
        body = {
            **self.gathered,
            "status": status,
            "detail": detail,
            "imagebuilder_status": step,
            "request": echo(self.plan["request"]),
            "request_hash": self.plan["key"],
            "enqueued_at": self.plan["enqueued_at"],
        }
        if outputs:
            body |= {"stdout": self.stdout, "stderr": self.stderr}
        return body

    def done(self) -> BuildRecord:
        """Return the record of a build that ended well; of what the ImageBuilder printed it holds the two ends."""
        body = self.body(200, "done", "done", outputs=True)
        printed = {name: ends_of(body[name], SUCCESS_HALF) for name in ("stdout", "stderr")}
        return _record(State.DONE, "done", body | printed)

    def failed(self, error: AsuError) -> BuildRecord:
        """Return the record of a failed build: the reason, whose fault it is, and all that was gathered before.

        Of what the ImageBuilder printed it holds as much as fits into ENDED_BODY_BYTES, the two
        ends of what does not.
        """
        if json_size(self.gathered) > GATHERED_MOST:
            self.gathered = {}
        if isinstance(error, InfraError):
            self.stdout += error.stdout
            self.stderr += error.stderr
        # A poll always answers 500 for a failed build, whatever status the error has elsewhere.
        told = {
            name: value for name, value in error.body().items() if name not in ("status", "detail")
        }
        body = {
            **self.body(500, f"Error: {error.detail}", "failed", outputs=True),
            **told,
            "fault": error.fault,
        }
        outputs = {name: body[name] for name in ("stdout", "stderr")}
        rest = json_size({**body, **dict.fromkeys(outputs, "")})
        body |= ends_within(outputs, max(OUTPUTS_LEAST, ENDED_BODY_BYTES - rest))
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
