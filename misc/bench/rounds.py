"""Short rounds of load by wrk, one server after another and again from the start, so that whatever else the machine does meets all alike."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from misc.native.trouble import Trouble

CONNECTIONS = 16  # As the bars say.
SECONDS = 2  # Thousands of requests each: enough for a p99, short enough that the machine stays the same from one round to the next.
ROUNDS = 5  # The median of five forgives two rounds in which somebody else needed the processor.
PATIENCE = 10.0  # Seconds beyond a round after which wrk itself must be stuck.
SCRIPT = Path(__file__).with_name("round.lua")
INSTALL = ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "wrk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something to be loaded: a URL, and the file to post to it."""

    name: str
    url: str
    body: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round has shown."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float


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

    def ratio_to(self, other: Rounds) -> float:
        """Return the speed as a part of `other`'s: round by round, then the median."""
        return statistics.median(mine.per_second / theirs.per_second for mine, theirs in zip(self.each, other.each, strict=True))


def ensure_wrk() -> None:
    """Install the load generator where it is missing and may be installed; raises Trouble elsewhere."""
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(INSTALL, check=False, stdout=subprocess.DEVNULL, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    if not shutil.which("wrk"):
        raise Trouble("wrk is missing; install it: apt-get install wrk")


def alternate(targets: Sequence[Target]) -> Mapping[str, Rounds]:
    """Load each target for a round, and all of them again and again; raises Trouble when anything but good answers came."""
    for target in targets:
        run_round(target, seconds=1)  # Warms up: connections to Redis, caches, code that Python specialises as it runs.
    rounds: dict[str, list[Round]] = {target.name: [] for target in targets}
    for _ in range(ROUNDS):
        for target in targets:
            rounds[target.name].append(run_round(target, seconds=SECONDS))
    return {name: Rounds(each) for name, each in rounds.items()}


def run_round(target: Target, *, seconds: int) -> Round:
    """Load one target for some seconds."""
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--script", str(SCRIPT), target.url]
    command += ["--", str(target.body)] if target.body else []
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds + PATIENCE)
    except subprocess.TimeoutExpired:
        raise Trouble(f"wrk did not end its round against {target.name}") from None
    line = next((line for line in done.stdout.splitlines() if line.startswith("round: ")), None)
    if line is None:
        raise Trouble(f"wrk failed with exit code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    seen = json.loads(line.removeprefix("round: "))
    if seen["refused"] or seen["broken"] or not seen["requests"]:
        raise Trouble(f"{target.name}: of {seen['requests']} requests {seen['refused']} were refused and {seen['broken']} broke")
    return Round(
        requests=seen["requests"],
        per_second=seen["requests"] / seen["microseconds"] * 1e6,
        p50_ms=seen["p50"] / 1000,
        p99_ms=seen["p99"] / 1000,
    )
