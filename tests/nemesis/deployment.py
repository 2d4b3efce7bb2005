"""The system of a run: every part a process of its own on a port of its own, the store on a small
file system that can be filled.

The parts are those of `make up`, made from the same pieces; here each can be killed, frozen and
started alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from misc.native import gateway, standin, web
from misc.native.podman import Podman, find_podman
from misc.native.processes import Processes, Program, wait_for
from misc.native.settings import ROOT, Settings
from misc.native.trouble import Trouble
from tests.nemesis.schedule import WORKERS

# Twenty builds take 15, the one that is too big 40 before it is thrown away, each killed worker
# leaves a few.
STORE_MB = 192
HEALTH_SECONDS = 30.0
NO_SYSTEM = "none-yet"  # Before the first worker has begun.
PATIENCE = 5.0  # Seconds in which a process that is asked to end must have done so.

# Metadata is asked for anew every few seconds, so that a downloads server that breaks is met; what
# should stay free fits the small store.
REDIS_PORT = int(os.environ.get("REDIS_PORT", "19203"))
ENVIRONMENT = {
    "METADATA_TTL": "5",
    "DISK_RESERVE_MB": "8",
    "CONTAINER_MEMORY_MB": "512",
    "ASU_CONFIG": os.devnull,
}


class Deployment:
    """All processes of a run, by name: redis, podman, upstream, prepare, asu, worker-1, worker-2,
    gateway.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self.settings = settings
        self._say = say
        self._processes = Processes(settings.run_dir)
        self.podman: Podman
        self._programs: dict[str, Program] = {}
        self.faults_file = settings.run_dir / "faults.json"
        self.redis_directory = settings.run_dir / "redis"

    @contextmanager
    def up(self) -> Iterator[None]:
        """Run it; everything is taken down at the end, what an earlier run left included."""
        self.settings.run_dir.mkdir(parents=True, exist_ok=True)
        with _alone(self.settings.run_dir):
            self._clear()
            empty_run_dir(self.settings.run_dir)
            try:
                self._bring_up()
                yield
            finally:
                self._clear()

    def names(self) -> list[str]:
        """Return the names of all parts."""
        return list(self._programs)

    def start(self, name: str) -> None:
        """Start a part; does nothing when it runs."""
        if name == "podman" and not self.is_running(name):
            # A service that was killed leaves it behind.
            self.settings.podman_socket.unlink(missing_ok=True)
        self._processes.start(
            self._programs[name], directory=self.settings.run_dir if name == "podman" else ROOT
        )

    def is_running(self, name: str) -> bool:
        """Whether its process is there."""
        return self._processes.running(name) is not None

    def is_healthy(self, name: str) -> bool:
        """Whether a part does its work again, as far as can be asked; a worker is well when it
        runs.
        """
        settings = self.settings
        checks: dict[str, Callable[[], bool]] = {
            "redis": self._redis_answers,
            "podman": lambda: web.takes_connections(settings.podman_socket),
            "upstream": lambda: web.takes_connections(("127.0.0.1", settings.upstream_port)),
            "prepare": lambda: web.answers_well(f"{settings.prepare_url}/livez"),
            "asu": lambda: web.answers_well(f"{settings.asu_url}/livez"),
            "gateway": lambda: web.takes_connections(
                (settings.gateway_host, settings.gateway_port)
            ),
        }
        return self.is_running(name) and checks.get(name, lambda: True)()

    def send(self, name: str, number: signal.Signals) -> bool:
        """Send a part a signal; say whether it was there."""
        record = self._processes.running(name)
        if record is not None:
            os.kill(record.pid, number)
        return record is not None

    def send_to_family(self, name: str, number: signal.Signals) -> bool:
        """Send a signal to a part and all that it has begotten: a worker's build is a process of
        its own.
        """
        record = self._processes.running(name)
        for pid in [] if record is None else _family(record.pid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue  # A build that has just ended.
        return record is not None

    def running_containers(self) -> list[str]:
        """Return the ids of the builds' containers that run."""
        return [str(entry["Id"]) for entry in self.containers() if entry["State"] == "running"]

    def containers(self) -> list[dict[str, Any]]:
        """Return what podman lists of this system's containers, ended ones too; asked past the
        service, which may be away.

        Raises Trouble where podman does not list: no containers and no answer are two things.
        """
        listed = self.run_podman(
            "ps", "--all", "--format=json", f"--filter=label=asu.system={self.system()}"
        )
        if not listed:
            raise Trouble("podman does not list its containers")
        return list(json.loads(listed))

    def run_podman(self, *arguments: str) -> str:
        """Run a podman command of an operator; one that fails returns nothing."""
        done = subprocess.run(
            ["podman", *arguments],
            env={**os.environ, **self.podman.environment},
            check=False,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def system(self) -> str:
        """Return the name that tells this system's containers from others'."""
        file = self.settings.run_dir / "system"
        if not file.exists():
            name = self._redis_cli("GET", "asu:system").strip()
            if not name:
                return NO_SYSTEM
            file.write_text(name)
        return file.read_text()

    def _bring_up(self) -> None:
        """Start every part and wait until it is well."""
        self._prepare()
        for name in self._programs:
            self.start(name)
            if not wait_for(lambda name=name: self.is_healthy(name), HEALTH_SECONDS):  # type: ignore[misc]
                raise Trouble(
                    f"{name} did not become healthy; it wrote last:\n{self._processes.tail(name)}"
                )

    def _redis_answers(self) -> bool:
        # While it reads its file it answers otherwise.
        return self._redis_cli("PING").strip() == "PONG"

    def _redis_cli(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(REDIS_PORT), *words]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout

    def _prepare(self) -> None:
        settings = self.settings
        self.podman = find_podman(settings.run_dir, network=settings.container_network)
        described = standin.describe_standin(settings, self.podman)
        standin.make_tree(settings, described, self._say)
        standin.make_images(settings, described, self.podman, self._say)
        self.redis_directory.mkdir()
        settings.store.mkdir(exist_ok=True)
        _run(
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={STORE_MB}m,mode=755",
            "asu-nemesis",
            str(settings.store),
        )
        for name, port in (
            ("REDIS", REDIS_PORT),
            ("ASU", settings.asu_port),
            ("GATEWAY", settings.gateway_port),
        ):
            if not web.is_free("127.0.0.1", port):
                raise Trouble(
                    f"port {port} is taken by another program; choose another one:"
                    f" {name}_PORT={port + 1000}"
                )
        self._programs = {program.name: program for program in self._describe(described)}

    def _describe(self, described: standin.StandIn) -> Iterator[Program]:
        """Yield every part in the order in which they start."""
        settings, python = self.settings, sys.executable
        redis = (
            "--port",
            str(REDIS_PORT),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.redis_directory),
            "--appendonly",
            "yes",
            "--save",
            "",
        )
        # Never rewritten: it is the judge's witness.
        yield Program(
            name="redis",
            command=(
                "redis-server",
                *redis,
                "--auto-aof-rewrite-percentage",
                "0",
                "--rename-command",
                "BGREWRITEAOF",
                "",
            ),
        )
        service = ("podman", "system", "service", "--time=0", f"unix://{settings.podman_socket}")
        yield Program(name="podman", command=service, environment=self.podman.environment)
        yield Program(
            name="upstream",
            command=(
                *standin.serve_command(settings, described),
                "--faults",
                str(self.faults_file),
            ),
        )
        environment = {
            **ENVIRONMENT,
            "REDIS_URL": f"redis://127.0.0.1:{REDIS_PORT}/0",
            "UPSTREAM_URL": settings.standin_url,
            "BUILDER_UPSTREAM_URL": described.feeds,
            "BASE_CONTAINER": described.base_container,
            "PREPARE_SERVICE_URL": settings.prepare_url,
            "STORE_PATH": str(settings.store),
            "CONTAINER_SOCKET_PATH": str(settings.podman_socket),
            "CONTAINER_NETWORK": self.podman.network,
        }
        for name, module, port in (
            ("prepare", ("asu_prepare",), settings.prepare_port),
            ("asu", ("asu", "api"), settings.asu_port),
        ):
            yield Program(
                name=name,
                command=(python, "-m", *module, "--host", "127.0.0.1", "--port", str(port)),
                environment=environment,
            )
        for name in WORKERS:
            yield Program(
                name=name, command=(python, "-m", "asu", "worker"), environment=environment
            )
        configuration = gateway.write_configuration(
            settings.run_dir / "nginx",
            listen=f"{settings.gateway_host}:{settings.gateway_port}",
            asu=f"127.0.0.1:{settings.asu_port}",
            prepare=f"127.0.0.1:{settings.prepare_port}",
            store=settings.store,
        )
        yield Program(name="gateway", command=gateway.nginx_command(configuration))

    def _clear(self) -> None:
        """End all processes, remove all containers, and leave nothing but histories, logs and what
        takes time to make.
        """
        for name in reversed(self._processes.names()):
            self.send_to_family(name, signal.SIGCONT)
            # Killed, not drained: nobody waits for its build any more, and the build dies with it.
            if name.startswith("worker-"):
                self.send(name, signal.SIGKILL)
            record = self._processes.ask_to_stop(name)
            if record and not self._processes.wait_until_gone(record, PATIENCE):
                self._processes.kill(record)
        if (self.settings.run_dir / "podman.json").exists() and self.system() != NO_SYSTEM:
            self.podman = find_podman(
                self.settings.run_dir, network=self.settings.container_network
            )
            for entry in self.containers():
                self.run_podman("rm", "--force", "--time=0", str(entry["Id"]))
            mine = f"--filter=label=asu.system={self.system()}"
            for name in self.run_podman("network", "ls", mine, "--format={{.Name}}").split():
                self.run_podman("network", "rm", "--force", name)
        if self.settings.store.is_mount():
            # Whoever still holds a file there loses it when it ends.
            _run("umount", "--lazy", str(self.settings.store))


@contextmanager
def _alone(run_dir: Path) -> Iterator[None]:
    """Let one run at a time use the directory; another one would begin with taking this one
    down.
    """
    with (run_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Trouble(
                f"another run is going on in {run_dir}; choose another directory and other ports,"
                " or wait"
            ) from None
        yield


def _family(pid: int) -> list[int]:
    """Return a process and all its descendants, the eldest first."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # It has ended in between.
        parents.setdefault(parent, []).append(int(path.parent.name))
    family = [pid]
    for member in family:  # It grows while it is gone through.
        family += parents.get(member, [])
    return family


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Trouble(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


def empty_run_dir(run_dir: Path) -> None:
    """Take away what belongs to one run alone; nothing of it may run any more."""
    for name in ("redis", "log", "nginx", "pid"):
        shutil.rmtree(run_dir / name, ignore_errors=True)
    for name in ("system", "faults.json"):
        (run_dir / name).unlink(missing_ok=True)
