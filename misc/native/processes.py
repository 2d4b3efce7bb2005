"""Background processes that can be found again: started once, ended exactly.

Each has a record under `<run_dir>/pid/` with its pid, the tick at which the kernel started it and
the boot it belongs to. All three together name one process for ever, so a recycled pid is never
mistaken for ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from misc.native.sources import digest_of
from misc.native.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from misc.native.users import User

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# The 22nd field of /proc/PID/stat, counted from the one after the command's closing bracket (the
# 3rd).
START_TICK_FIELD = 19
TAIL_LINES = 25
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process to run."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    # What it reads when it starts; a process is outdated when they change.
    sources: tuple[Path, ...] = ()
    user: User | None = None  # None: the user of this process.
    stop_signal: signal.Signals = signal.SIGTERM
    patience: float = 15.0  # Seconds between the stop signal and SIGKILL.

    def fingerprint(self) -> dict[str, str]:
        """Return a digest of each thing that makes this process what it is."""
        parts = {
            "its command": "\0".join(self.command),
            "its sources": digest_of(self.sources),
            **self.environment,
        }
        return {
            name: hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()[:16]
            for name, value in parts.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is remembered about a started process."""

    name: str
    pid: int
    start_tick: int
    boot: str
    fingerprint: dict[str, str]
    stop_signal: int
    patience: float


class Processes:
    """The processes of one run directory."""

    def __init__(self, run_dir: Path) -> None:
        self._records = run_dir / "pid"
        self._logs = run_dir / "log"

    def start(self, program: Program, *, directory: Path) -> bool:
        """Start `program` unless it runs already; say whether it was started now.

        Raises Trouble when its command, settings or sources are others by now: ending it silently
        could lose work.
        """
        running = self.running(program.name)
        fingerprint = program.fingerprint()
        if running and running.fingerprint == fingerprint:
            return False
        if running:
            raise Trouble(
                f"{program.name} runs already (pid {running.pid}), but "
                f"{_changes(running, fingerprint)} since; end it first: make down"
            )
        self._records.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log(program.name).open("ab") as log:
            process = subprocess.Popen(  # It outlives us on purpose; its record finds it again.
                program.command,
                cwd=directory,
                env={**os.environ, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=program.user.uid if program.user else None,
                group=program.user.gid if program.user else None,
                extra_groups=[] if program.user else None,
                # Ctrl-C at the terminal is for the command in front, not for the system behind it.
                start_new_session=True,
            )
        tick = start_tick(process.pid)
        if tick is None:
            raise Trouble(f"{program.name} ended at once\n{self.tail(program.name)}")
        record = Record(
            name=program.name,
            pid=process.pid,
            start_tick=tick,
            boot=BOOT_ID.read_text().strip(),
            fingerprint=fingerprint,
            stop_signal=program.stop_signal,
            patience=program.patience,
        )
        self._path(program.name).write_text(
            json.dumps({name: getattr(record, name) for name in Record.__slots__})
        )
        return True

    def running(self, name: str) -> Record | None:
        """Return the record of `name` when that very process is still alive."""
        try:
            record = Record(**json.loads(self._path(name).read_text()))
        except (OSError, ValueError, TypeError):
            return None
        same = (
            record.boot == BOOT_ID.read_text().strip()
            and start_tick(record.pid) == record.start_tick
        )
        return record if same else None

    def names(self) -> list[str]:
        """Name every process with a record, in the order in which they were started."""
        paths = sorted(self._records.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return [path.stem for path in paths]

    def ask_to_stop(self, name: str) -> Record | None:
        """Send `name` its stop signal; return what is to be waited for."""
        record = self.running(name)
        if record is None:
            self._path(name).unlink(missing_ok=True)
            return None
        os.kill(record.pid, record.stop_signal)
        return record

    def wait_until_gone(self, record: Record, seconds: float) -> bool:
        """Wait for the end of a process; say whether it came in time."""
        gone = wait_for(lambda: self.running(record.name) is None, seconds)
        if gone:
            self._path(record.name).unlink(missing_ok=True)
        return gone

    def kill(self, record: Record) -> None:
        """End a process that did not stop when asked to."""
        if self.running(record.name):
            os.kill(record.pid, signal.SIGKILL)
            self.wait_until_gone(record, 5.0)

    def log(self, name: str) -> Path:
        """Return the file that takes the output of `name`."""
        return self._logs / f"{name}.log"

    def tail(self, name: str) -> str:
        """Return the last lines that `name` wrote, with the path of the whole."""
        try:
            lines = self.log(name).read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        shown = "\n".join(f"  | {line}" for line in lines[-TAIL_LINES:]) or "  | (it wrote nothing)"
        return f"{shown}\n  the whole log: {self.log(name)}"

    def _path(self, name: str) -> Path:
        return self._records / f"{name}.json"


def _changes(running: Record, fingerprint: Mapping[str, str]) -> str:
    """Say what is no longer as it was when a process was started."""
    # An older version of this file wrote a string.
    before = running.fingerprint if isinstance(running.fingerprint, dict) else {}
    changed = sorted(
        name
        for name in before.keys() | fingerprint.keys()
        if before.get(name) != fingerprint.get(name)
    )
    return f"{', '.join(changed)} changed"


def start_tick(pid: int) -> int | None:
    """Return when the kernel started `pid`, in clock ticks since boot; None if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[START_TICK_FIELD])


def wait_for(is_true: Callable[[], bool], seconds: float) -> bool:
    """Ask again and again until `is_true`, for at most `seconds`; return the last answer."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
