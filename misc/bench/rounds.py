"""Short rounds of load by wrk, one server after another, again and again."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from misc.bench.report import Row, at_most
from misc.native.trouble import Trouble

CONNECTIONS = 16  # As the bars say.
# Thousands of requests: enough for a p99, short enough that the machine stays the same from round
# to round.
SECONDS = 2
ROUNDS = 5  # The median of five forgives two rounds in which somebody else needed the processor.
PATIENCE = 10.0  # Seconds beyond a round after which wrk itself must be stuck.
SCRIPT = Path(__file__).with_name("round.lua")
INSTALL = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "wrk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something to be loaded: a URL, the process that answers, and the file to post to it."""

    name: str
    url: str
    pid: int
    body: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round has shown."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    # Processor time of the server for each request: hardly changed by what else the machine does.
    cpu_us: float
    # Part of the round in which the server could have run but others had the processor.
    waited: float


@dataclass(frozen=True, slots=True)
class Rounds:
    """All rounds of one target."""

    each: Sequence[Round]

    @property
    def requests(self) -> int:
        """How many requests were answered in all."""
        return sum(one.requests for one in self.each)

    @property
    def per_second(self) -> float:
        """Requests per second, the median of the rounds."""
        return statistics.median(one.per_second for one in self.each)

    @property
    def p50_ms(self) -> float:
        """Median latency in milliseconds, the median of the rounds."""
        return statistics.median(one.p50_ms for one in self.each)

    @property
    def p99_ms(self) -> float:
        """99th percentile of the latency in milliseconds, the median of the rounds."""
        return statistics.median(one.p99_ms for one in self.each)

    @property
    def cpu_us(self) -> float:
        """Microseconds of the server's processor for each request, the median of the rounds."""
        return statistics.median(one.cpu_us for one in self.each)

    @property
    def waited(self) -> float:
        """Part of the time in which the server waited for a processor, the median of the rounds."""
        return statistics.median(one.waited for one in self.each)

    def ratio_to(self, other: Rounds) -> float:
        """Return the speed as a part of `other`'s: round by round, then the median."""
        return statistics.median(
            mine.per_second / theirs.per_second
            for mine, theirs in zip(self.each, other.each, strict=True)
        )


def speed_rows(name: str, rounds: Rounds, p99_bar: float | None = None) -> list[Row]:
    """Return what a table shows of one target."""
    p99 = f"{name}, p99"
    return [
        Row(what=f"{name}, per second", value=rounds.per_second, unit="/s", digits=0),
        Row(what=f"{name}, processor time each", value=rounds.cpu_us, unit="us", digits=0),
        Row(what=p99, value=rounds.p99_ms, unit="ms")
        if p99_bar is None
        else at_most(p99, rounds.p99_ms, p99_bar, "ms"),
    ]


def noise_notes(seen: Mapping[str, Rounds]) -> list[str]:
    """Say how long the servers waited for a processor: that is in every p99, whatever they do."""
    waited = ", ".join(f"{name} {rounds.waited:.0%}" for name, rounds in seen.items())
    return [f"of the time, each server waited for a processor that others had: {waited}"]


def ensure_wrk() -> None:
    """Install the load generator if it is missing and may be installed; raises Trouble."""
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(
            INSTALL,
            check=False,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
    if not shutil.which("wrk"):
        raise Trouble("wrk is missing; install it: apt-get install wrk")


def alternate(targets: Sequence[Target]) -> Mapping[str, Rounds]:
    """Load each target for a round, then all again; raises Trouble for a bad answer."""
    for target in targets:
        # Warms up: connections to Redis, caches, code that Python specialises as it runs.
        run_round(target, seconds=1)
    rounds: dict[str, list[Round]] = {target.name: [] for target in targets}
    for _ in range(ROUNDS):
        for target in targets:
            rounds[target.name].append(run_round(target, seconds=SECONDS))
    return {name: Rounds(each) for name, each in rounds.items()}


def run_round(target: Target, *, seconds: int) -> Round:
    """Load one target for some seconds."""
    command = [
        "wrk",
        "--threads",
        "1",
        "--connections",
        str(CONNECTIONS),
        "--duration",
        f"{seconds}s",
        "--script",
        str(SCRIPT),
        target.url,
    ]
    command += ["--", str(target.body)] if target.body else []
    ran, waited = processor_time(target.pid)
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=seconds + PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise Trouble(f"wrk did not end its round against {target.name}") from None
    ran, waited = (
        after - before
        for before, after in zip((ran, waited), processor_time(target.pid), strict=True)
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("round: ")), None)
    if line is None:
        raise Trouble(
            f"wrk failed with exit code {done.returncode}: "
            f"{done.stderr.strip() or done.stdout.strip()}"
        )
    seen = json.loads(line.removeprefix("round: "))
    if seen["refused"] or seen["broken"] or not seen["requests"]:
        raise Trouble(
            f"{target.name}: of {seen['requests']} requests {seen['refused']} were refused and "
            f"{seen['broken']} broke{_fate(target.pid)}"
        )
    return Round(
        requests=seen["requests"],
        cpu_us=ran / 1000 / seen["requests"],
        waited=waited / 1000 / seen["microseconds"],
        per_second=seen["requests"] / seen["microseconds"] * 1e6,
        p50_ms=seen["p50"] / 1000,
        p99_ms=seen["p99"] / 1000,
    )


def processor_time(pid: int) -> tuple[int, int]:
    """Return the nanoseconds that a server's main thread has run, and has waited to run."""
    try:
        ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    except (OSError, ValueError):
        raise Trouble(
            f"/proc/{pid}/schedstat cannot be read: the server is gone, or the kernel does not "
            "count"
        ) from None
    return int(ran), int(waited)


def _fate(pid: int) -> str:
    """Say how a server has ended, if it has; servers are our own children."""
    with suppress(ChildProcessError):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return f"; the server ended by itself (exit code {code}, negative for a signal)"
    return ""
