"""Servers that live for one measurement: started on free ports, timed, weighed, ended."""

from __future__ import annotations

import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from misc.native import web
from misc.native.processes import Processes, Program
from misc.native.settings import ROOT
from misc.native.trouble import Trouble

START_SECONDS = 30.0  # Thirty times the bar: slower than this is broken, not slow.
LOOK_SECONDS = 0.005  # Between two looks at a starting server; the bar is a second.
STARTS = 5
KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server and how long it took from its exec to the first good answer."""

    name: str
    pid: int
    url: str
    port: int
    started_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of one process in MiB: resident, and with shared pages counted by their share."""

    rss: float
    pss: float


class Servers:
    """The servers of one measurement, in a directory of their own; the context ends them."""

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="asu-bench-"))
        self._processes = Processes(self.directory)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in reversed(self._processes.names()):
            self.stop(name)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start_web(
        self, name: str, module: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Server:
        """Start a Python module as a web server on `{port}` and wait for a 200 of /livez."""
        port = free_port()
        command = (sys.executable, "-m", *(word.format(port=port) for word in module))
        url = f"http://127.0.0.1:{port}"
        return self._start(
            Program(name=name, command=command, environment=environment or {}),
            port,
            lambda: web.answers_well(f"{url}/livez"),
        )

    def start_redis(self) -> Server:
        """Start a Redis that keeps nothing on disk."""
        program = next(
            (path for path in map(shutil.which, ("redis-server", "valkey-server")) if path), None
        )
        if program is None:
            raise Trouble("redis-server is missing; install it: make install")
        port = free_port()
        command = (
            program,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.directory),
            "--save",
            "",
            "--appendonly",
            "no",
        )
        return self._start(
            Program(name="redis", command=command),
            port,
            lambda: web.takes_connections(("127.0.0.1", port)),
        )

    def stop(self, name: str) -> None:
        """End one server."""
        record = self._processes.ask_to_stop(name)
        if record and not self._processes.wait_until_gone(record, record.patience):
            self._processes.kill(record)

    def _start(self, program: Program, port: int, is_well: Callable[[], bool]) -> Server:
        began = time.monotonic()
        self._processes.start(program, directory=ROOT)
        while not is_well():
            record = self._processes.running(program.name)
            if record is None or time.monotonic() - began > START_SECONDS:
                raise Trouble(
                    f"{program.name} did not start; it wrote last:\n"
                    f"{self._processes.tail(program.name)}"
                )
            time.sleep(LOOK_SECONDS)
        started_in = time.monotonic() - began
        record = self._processes.running(program.name)
        if record is None:
            raise Trouble(
                f"{program.name} ended by itself; it wrote last:\n"
                f"{self._processes.tail(program.name)}"
            )
        return Server(
            name=program.name,
            pid=record.pid,
            url=f"http://127.0.0.1:{port}",
            port=port,
            started_in=started_in,
        )


def time_starts(
    servers: Servers, name: str, module: Sequence[str], environment: Mapping[str, str] | None = None
) -> list[float]:
    """Start and end a server several times; return the seconds that each start took."""
    seconds = []
    for number in range(1, STARTS + 1):
        server = servers.start_web(f"{name}-start-{number}", module, environment)
        servers.stop(server.name)
        seconds.append(server.started_in)
    return seconds


def weigh(pid: int) -> Memory:
    """Return the memory of one process, without its children; the kernel counts in KiB."""
    return Memory(
        rss=_kib(Path(f"/proc/{pid}/status"), "VmRSS") / KIB_PER_MIB,
        pss=_kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss") / KIB_PER_MIB,
    )


def free_port() -> int:
    """Return a port on which nothing listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


def _kib(path: Path, name: str) -> int:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    except OSError as error:
        raise Trouble(f"{path} cannot be read: {error.strerror}") from error
    if found is None:
        raise Trouble(f"{path} does not say {name}")
    return int(found[1])
