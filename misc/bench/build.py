"""What a build costs beside a plain `make image` in the same container image, and outside of make.

On a whole native system with the stand-in downloads server and an ImageBuilder that is made as slow
as the genuine one of 24.10.4 for ath79. Builds and plain runs take turns, so that load on the
machine meets both.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import statistics
import subprocess
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
from misc.native.podman import Podman, find_podman
from misc.native.settings import DEFAULT_RUN_DIR, Settings, read_settings
from misc.native.standin import describe_standin
from misc.native.system import bring_up, take_down
from misc.native.trouble import Trouble

TITLE = "a build, POST to finished, beside plain make image"
# Kept from run to run, so that the builders' images are made once.
RUN_DIR = DEFAULT_RUN_DIR / "bench"
POLL_SECONDS = 0.02  # Adds at most as much to each figure.
BUILD_SECONDS = 120.0  # The stand-in builds in seconds.
OK, ACCEPTED = 200, 202
TARGET, PROFILE = "ath79/generic", "tplink_archer-c7-v5"
VERSIONS = {"opkg": "24.10.4", "apk": "25.12.1"}
# Seconds by which each check of prerequisites, install and image of the stand-in takes longer; see
# tests/imagebuilder/README.md.
DELAYS = "1.8 5.5 3"
# One build each.
EXTRAS = ("curl", "htop", "nano", "rsync", "socat")


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
    """Measure distinct builds one after another through the gateway, each beside a plain run."""
    rows: list[Row] = []
    notes: list[str] = []
    details: dict[str, Any] = {}
    with _system() as settings:
        podman = find_podman(settings.run_dir, network=settings.container_network)
        for manager, version in VERSIONS.items():
            pairs = [
                (_build(settings, version, extra), _plain(settings, podman, version, extra))
                for extra in EXTRAS
            ]
            builds, plain = [build for build, _ in pairs], [seconds for _, seconds in pairs]
            rows += _rows(manager, builds, plain)
            notes.append(f"{manager}: {_steps(builds)}")
            details[manager] = {"builds": [asdict(build) for build in builds], "plain": plain}
    return Section(title=TITLE, rows=rows, notes=notes, details=details)


def _rows(manager: str, builds: list[Build], plain: list[float]) -> list[Row]:
    whole = statistics.median(build.seconds for build in builds)
    alone = statistics.median(plain)
    overhead = statistics.median(build.overhead for build in builds)
    return [
        at_most(f"{manager}: build / plain make image", whole / alone, 1.0, "times", digits=2),
        Row(what=f"  build (median of {len(builds)})", value=whole, unit="s", digits=2),
        Row(what=f"  plain make image (median of {len(plain)})", value=alone, unit="s", digits=2),
        at_most("  outside of make (median)", overhead, 0.5, "s", digits=2),
    ]


def _steps(builds: list[Build]) -> str:
    """Return the median seconds of each step that polls show, make included.

    A build that is requested at once after another waits while the worker still removes the
    former one's container: that is in `queued`.
    """
    names = dict.fromkeys(name for build in builds for name in build.steps)
    medians = {
        name: statistics.median(build.steps.get(name, 0.0) for build in builds) for name in names
    }
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items())


def _plain(settings: Settings, podman: Podman, version: str, extra: str) -> float:
    """Return the seconds of a plain `make image` in a new container of the same image."""
    base = describe_standin(settings, podman).base_container
    image = f"{base}:{TARGET.replace('/', '-')}-v{version}"
    options = ["--detach", "--rm", "--pull=never", f"--network={podman.network}"]
    name = _podman(podman, "run", *options, image, "sleep", str(int(BUILD_SECONDS)))
    try:
        began = time.monotonic()
        words = (f"PROFILE={PROFILE}", f"PACKAGES={extra} luci", "EXTRA_IMAGE_NAME=0123456789ab")
        _podman(podman, "exec", name, "make", "image", *words)
        return time.monotonic() - began
    finally:
        _podman(podman, "kill", name)


def _podman(podman: Podman, *arguments: str) -> str:
    done = subprocess.run(
        ["podman", *arguments],
        env={**os.environ, **podman.environment},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Trouble(f"podman {arguments[0]} failed: {done.stderr[-500:]}")
    return done.stdout.strip()


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
    """Return settings for a system of its own: free ports, two builders, no environment."""
    environment = {name: str(free_port()) for name in ("GATEWAY_PORT", "ASU_PORT", "PREPARE_PORT")}
    environment |= {
        "RUN_DIR": str(RUN_DIR),
        "UPSTREAM_PORT": str(_upstream_port()),
        "DRAIN_SECONDS": "5",
    }
    environment |= {
        "STANDIN_VERSIONS": " ".join(VERSIONS.values()),
        "STANDIN_TARGETS": TARGET,
        "STANDIN_DELAYS": DELAYS,
    }
    return read_settings(environment)


def _upstream_port() -> int:
    """Return the port of the last run while it is free, since the builders' images name it."""
    memory = Path(RUN_DIR / "upstream-port")
    with suppress(OSError, ValueError):
        port = int(memory.read_text())
        # The stand-in server listens on all addresses, so that containers reach it.
        if web.is_free("0.0.0.0", port):  # noqa: S104
            return port
    port = free_port()
    memory.write_text(str(port))
    return port


def _build(settings: Settings, version: str, extra: str) -> Build:
    """Ask for one build and poll it to its end."""
    steps: dict[str, float] = {}
    began = step_began = time.monotonic()
    request = {
        "version": version,
        "target": TARGET,
        "profile": PROFILE,
        "packages": ["luci", extra],
        "client": "bench/1",
    }
    answer = web.ask(f"{settings.gateway_url}/api/v1/build", body=request)
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
