"""What a build costs beyond the ImageBuilder's own work, on a whole native system with the stand-in builder and downloads server."""

from __future__ import annotations

import fcntl
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from misc.bench.report import Row, Section, at_most
from misc.bench.servers import free_port
from misc.native import web
from misc.native.settings import DEFAULT_RUN_DIR, Settings, read_settings
from misc.native.system import bring_up, take_down
from misc.native.trouble import Trouble

TITLE = "build overhead, POST to finished less the time inside make"
# Kept from run to run, so that the builder's image is made once.
RUN_DIR = DEFAULT_RUN_DIR / "bench"
POLL_SECONDS = 0.02  # Adds at most as much to each figure, a fiftieth of the bar.
BUILD_SECONDS = 120.0  # The stand-in builds in seconds.
OK, ACCEPTED = 200, 202
REQUEST: dict[str, Any] = {
    "version": "24.10.4",
    "target": "ath79/generic",
    "profile": "tplink_archer-c7-v5",
    "client": "bench/1",
}
# One build each.
EXTRAS = ("bash", "curl", "ethtool", "htop", "iperf3", "mtr", "nano", "rsync", "screen", "socat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build: seconds in all, in the make commands, and in each step that polling has shown."""

    seconds: float
    make: float
    steps: dict[str, float]

    @property
    def overhead(self) -> float:
        """Seconds beyond the make commands."""
        return self.seconds - self.make


def measure() -> Section:
    """Measure distinct builds one after another, through the gateway."""
    with _system() as settings:
        builds = [_build(settings, extra) for extra in EXTRAS]
    overheads = [build.overhead for build in builds]
    rows = [
        at_most(
            f"overhead (median of {len(builds)} builds)",
            statistics.median(overheads),
            1.0,
            "s",
            digits=2,
        ),
        Row(what="  the longest", value=max(overheads), unit="s", digits=2),
        Row(
            what="inside make (median)",
            value=statistics.median(build.make for build in builds),
            unit="s",
            digits=2,
        ),
    ]
    names = dict.fromkeys(name for build in builds for name in build.steps)
    steps = {
        name: statistics.median(build.steps.get(name, 0.0) for build in builds) for name in names
    }
    # Asked for without a pause, a build waits while the worker still throws the former one's
    # container away: that is in `queued`.
    note = "seconds in each step, make included: " + ", ".join(
        f"{name} {seconds:.2f}" for name, seconds in steps.items()
    )
    return Section(
        title=TITLE,
        rows=rows,
        notes=[note],
        details={"builds": [asdict(build) for build in builds]},
    )


@contextmanager
def _system() -> Iterator[Settings]:
    """Bring a whole system up that has built nothing yet; end it whatever happens."""
    RUN_DIR.mkdir(parents=True, exist_ok=True)
    with (RUN_DIR / "bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble("another bench runs in this checkout") from None
        settings = _settings()
        take_down(settings, _ignore)  # What a bench that was killed has left behind.
        for remembered in ("redis", "store"):
            shutil.rmtree(RUN_DIR / remembered, ignore_errors=True)
        try:
            bring_up(settings, _say)
            yield settings
        finally:
            take_down(settings, _ignore)


def _settings() -> Settings:
    """Return the settings of a system beside any other: free ports, one builder, nothing from the environment."""
    environment = {
        name: str(free_port())
        for name in ("GATEWAY_PORT", "ASU_PORT", "PREPARE_PORT", "REDIS_PORT")
    }
    environment |= {
        "RUN_DIR": str(RUN_DIR),
        "UPSTREAM_PORT": str(_upstream_port()),
        "DRAIN_SECONDS": "5",
    }
    environment |= {"STANDIN_VERSIONS": REQUEST["version"], "STANDIN_TARGETS": REQUEST["target"]}
    return read_settings(environment)


def _upstream_port() -> int:
    """Return the port of the last time while it is free: the builder's image names it, and would have to be made anew."""
    memory = Path(RUN_DIR / "upstream-port")
    with suppress(OSError, ValueError):
        port = int(memory.read_text())
        if web.is_free("0.0.0.0", port):  # noqa: S104 - Where the stand-in server will listen, so that containers reach it.
            return port
    port = free_port()
    memory.write_text(str(port))
    return port


def _build(settings: Settings, extra: str) -> Build:
    """Ask for one build and poll it to its end."""
    steps: dict[str, float] = {}
    began = step_began = time.monotonic()
    answer = web.ask(
        f"{settings.gateway_url}/api/v1/build", body={**REQUEST, "packages": ["luci", extra]}
    )
    if answer.status != ACCEPTED:
        raise Trouble(
            f"the server answered {answer.status} to a new build: {answer.json().get('detail')}"
        )
    key, step = answer.json()["request_hash"], "queued"
    while answer.status == ACCEPTED:
        time.sleep(POLL_SECONDS)
        answer = web.ask(f"{settings.gateway_url}/api/v1/build/{key}")
        now, seen = time.monotonic(), _step(answer)
        if seen != step:
            steps[step], step, step_began = steps.get(step, 0.0) + now - step_began, seen, now
        if now - began > BUILD_SECONDS:
            raise Trouble(f"a build with {extra} has not ended within {BUILD_SECONDS:.0f} s")
    body = answer.json()
    if answer.status != OK:
        raise Trouble(f"a build with {extra} failed: {body.get('detail')}")
    return Build(
        seconds=time.monotonic() - began, make=sum(body["make_seconds"].values()), steps=steps
    )


def _step(answer: web.Answer) -> str:
    """Return the step that an answer shows."""
    if answer.status != ACCEPTED:
        return "ended"
    return str(answer.json().get("imagebuilder_status") or "queued")


def _say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def _ignore(_: str) -> None:
    """Say nothing: ending the system is no news."""
