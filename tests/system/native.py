"""The documented commands, run as a person would run them: nothing of the project is imported
here.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

ROOT = Path(__file__).resolve().parents[2]
COMMAND_SECONDS = 600.0  # The first run makes a container image of a whole Debian.
BUILD_SECONDS = 300.0
PORTS = ("GATEWAY_PORT", "ASU_PORT", "PREPARE_PORT", "UPSTREAM_PORT")
PORT_BLOCKS = range(18100, 20000, 10)

# What `make test` itself was given, and what would turn these systems to other servers.
NOT_INHERITED = {
    "MAKEFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "MFLAGS",
    "BEGAN",
    "UPSTREAM_URL",
    "BASE_CONTAINER",
    "WORKERS",
    "ALLOW_DEFAULTS",
}

# One device is enough here, and a builder for it takes seconds to make.
VERSION, TARGET = "25.12.1", "lantiq/xrx200"

# A missing program may skip the tests on a laptop; in CI they then fail.
CAN_RUN = "CI" in os.environ or (
    os.geteuid() == 0
    and all(shutil.which(program) for program in ("podman", "redis-server", "debootstrap"))
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, whatever its status; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Read the body as a JSON object."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value


@dataclass(frozen=True, slots=True)
class NativeSystem:
    """One system of its own, in a directory of its own and on ports of its own."""

    environment: dict[str, str]

    @property
    def run_dir(self) -> Path:
        """Where it keeps everything."""
        return Path(self.environment["RUN_DIR"])

    def make(self, command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `make command` to its end."""
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        environment = {**inherited, **self.environment, **more}
        return subprocess.run(
            ["make", command],
            check=False,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        method: str | None = None,
        port: str = "GATEWAY_PORT",
    ) -> Answer:
        """Send one request, to the gateway unless another port is named."""
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.environment[port]}{path}"
        # Our own address.
        request = urllib.request.Request(
            url, data=data, method=method, headers={"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return Answer(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _lower(error.headers), error.read())

    def follow(self, answer: Answer) -> list[Answer]:
        """Poll a build until it has ended, as a client does; return every answer, the first
        included.
        """
        answers = [answer]
        deadline = time.monotonic() + BUILD_SECONDS
        while answers[-1].status == 202 and time.monotonic() < deadline:
            time.sleep(0.1)
            answers.append(self.ask(f"/api/v1/build/{answers[-1].json()['request_hash']}"))
        return answers

    def processes(self) -> dict[str, int]:
        """Return the pid of each process that was started, by name."""
        return {
            path.stem: int(json.loads(path.read_text())["pid"])
            for path in (self.run_dir / "pid").glob("*.json")
        }


def _lower(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@contextmanager
def new_system(run_dir: Path, **environment: str) -> Iterator[NativeSystem]:
    """Describe a system on ports that no other test process uses until the end of the `with`.

    The first free block of ports is taken. It is mostly the same one next time, so the builders
    that were made for it are found again: they name the port of their feeds.
    """
    with _ports() as ports:
        wanted = {"STANDIN_VERSIONS": VERSION, "STANDIN_TARGETS": TARGET, **environment}
        yield NativeSystem({"RUN_DIR": str(run_dir), **wanted, **ports})


@contextmanager
def running_system(run_dir: Path, **environment: str) -> Iterator[NativeSystem]:
    """Bring a system up until the end of the `with`."""
    with new_system(run_dir, **environment) as system:
        done = system.make("up")
        try:
            if done.returncode:
                pytest.fail(f"make up failed:\n{done.stdout}{done.stderr}")
            yield system
        finally:
            system.make("down")


@contextmanager
def _ports() -> Iterator[dict[str, str]]:
    """Hold the first block of ports that no test process holds and nobody listens on."""
    for first in PORT_BLOCKS:
        lock = Path(tempfile.gettempdir()) / f"asu-test-ports-{first}-{os.getuid()}.lock"
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            ports = range(first, first + len(PORTS))
            if all(map(_is_free, ports)):
                yield dict(zip(PORTS, map(str, ports), strict=True))
                return
    pytest.fail("no free ports for another system")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104  # Free on every address.
        except OSError:
            return False
    return True


def is_alive(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
