"""The whole system: which processes it has, how they come up one after another, and how they go."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from misc.native import gateway, sources, standin, web
from misc.native.checks import check_first, check_last, expect_free_ports, write_environment
from misc.native.podman import find_podman
from misc.native.processes import Processes, Program, wait_for
from misc.native.redis_server import redis_program, redis_url
from misc.native.settings import ROOT, in_url
from misc.native.trouble import Trouble
from misc.native.users import choose_users

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from misc.native.podman import Podman
    from misc.native.settings import Settings

# Every service is up within two seconds on an idle machine; a busy one is given time.
HEALTH_SECONDS = 30.0
WORKER_PREFIX = "worker-"


def bring_up(settings: Settings, say: Callable[[str], None]) -> None:
    """Start what does not run yet and wait until all of it is healthy."""
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    if not settings.python.exists():
        raise Trouble("the virtual environment is missing; make it: make install")
    with _alone(settings):
        podman = find_podman(settings.run_dir, network=settings.container_network)
        system = _Ascent(settings, podman, say)
        try:
            system.check_first()
            system.start_infrastructure()
            system.start_upstream()
            system.start_services()
            system.check_last()
        except Trouble:
            system.give_up()
            raise


def take_down(settings: Settings, say: Callable[[str], None]) -> None:
    """End every process that was started for this run directory, and nothing else."""
    if not settings.run_dir.is_dir():
        say("nothing runs")
        return
    with _alone(settings):
        processes = Processes(settings.run_dir)
        names = processes.names()
        workers = [name for name in names if name.startswith(WORKER_PREFIX)]
        others = [name for name in reversed(names) if name not in workers]
        # First the door, then the workers, which finish their builds and need Redis and podman for
        # that, then the rest.
        stopped = _stop(processes, [name for name in others if name == "gateway"], None, say)
        stopped += _stop(processes, workers, settings.drain_seconds, say)
        stopped += _stop(processes, [name for name in others if name != "gateway"], None, say)
        say(f"stopped {stopped} processes" if stopped else "nothing runs")


def _stop(
    processes: Processes, names: list[str], seconds: float | None, say: Callable[[str], None]
) -> int:
    """Stop several processes at once: ask all, then wait for each; return how many there were."""
    asked = [record for record in map(processes.ask_to_stop, names) if record]
    for record in asked:
        if seconds is not None and not processes.wait_until_gone(record, 2.0):
            say(
                f"{record.name} finishes its build; waiting for it, at most {seconds:.0f} s "
                "(DRAIN_SECONDS)"
            )
        if not processes.wait_until_gone(record, record.patience if seconds is None else seconds):
            say(f"{record.name} did not stop when asked to; killed (pid {record.pid})")
            processes.kill(record)
    return len(asked)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Let one command at a time change what runs; another waits."""
    with (settings.run_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class _Ascent:
    """One way up: each step starts programs and waits for their health."""

    def __init__(self, settings: Settings, podman: Podman, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._podman = podman
        self._say = say
        self._processes = Processes(settings.run_dir)
        self._services: dict[str, str] = {}
        self._started: list[str] = []
        self._users = choose_users(settings, os.environ)

    def check_first(self) -> None:
        """Look at ports and settings before anything is started; raises Trouble."""
        settings = self._settings
        expect_free_ports(settings, self._processes)
        self._services = {
            **sources.given_settings(os.environ),
            "REDIS_URL": redis_url(settings),
            "PREPARE_SERVICE_URL": settings.prepare_url,
            "STORE_PATH": str(settings.store),
            "ALLOW_DEFAULTS": settings.allow_defaults,
            "CONTAINER_SOCKET_PATH": str(settings.podman_socket),
            "CONTAINER_NETWORK": self._podman.network,
        }
        if settings.upstream_url:
            self._services["UPSTREAM_URL"] = settings.upstream_url
        if settings.base_container:
            self._services["BASE_CONTAINER"] = settings.base_container
        check_first(settings, self._services)

    def check_last(self) -> None:
        """Leave the settings in a file, and look whether the system can work; raises Trouble."""
        write_environment(self._settings.run_dir / "env", self._services)
        check_last(self._settings, {**self._podman.environment, **self._services}, self._say)

    def give_up(self) -> None:
        """End what was started here, and nothing that ran before."""
        _stop(self._processes, self._started[::-1], None, self._say)

    def start_infrastructure(self) -> None:
        """Start Redis and podman's service."""
        settings = self._settings
        if (
            os.geteuid() == 0
            and self._users.services is None
            and self._processes.running("asu") is None
        ):
            self._say(
                "no other user can read this checkout or its Python, so both services run as root"
            )
        settings.store.mkdir(exist_ok=True)
        # The API makes its part of the store; finished builds stay the worker's.
        if self._users.services:
            os.chown(settings.store, self._users.services.uid, self._users.services.gid)
        runs = self._processes.running("redis") is not None
        self._start(
            redis_program(settings, self._users.programs, runs=runs),
            healthy=lambda: web.takes_connections(settings.redis_socket),
        )
        podman = shutil.which("podman") or "podman"
        self._start(
            Program(
                name="podman",
                # 0: else it goes after 5 s idle.
                command=(
                    podman,
                    "system",
                    "service",
                    "--time=0",
                    f"unix://{settings.podman_socket}",
                ),
                environment=self._podman.environment,
            ),
            healthy=lambda: web.takes_connections(settings.podman_socket),
            # A container that runs out of memory leaves a file `oom` there.
            directory=settings.run_dir,
        )

    def start_upstream(self) -> None:
        """Start the stand-in downloads server and make its builders, unless others are named."""
        settings = self._settings
        if settings.upstream_url:
            if self._podman.network == "none" and settings.container_network is None:
                raise Trouble(
                    "containers have no network on this machine, so builders cannot fetch packages "
                    "from UPSTREAM_URL"
                )
            return
        described = standin.describe_standin(settings, self._podman)
        standin.make_tree(settings, described, self._say)
        self._start(
            Program(
                name="upstream",
                command=standin.serve_command(settings, described),
                sources=standin.SERVER_SOURCES,
                user=self._users.services,
            ),
            healthy=lambda: web.takes_connections(("127.0.0.1", settings.upstream_port)),
        )
        self._services["UPSTREAM_URL"] = settings.standin_url
        self._services.setdefault("BUILDER_UPSTREAM_URL", described.feeds)
        if not settings.base_container:
            standin.make_images(settings, described, self._podman, self._say)
            self._services["BASE_CONTAINER"] = described.base_container

    def start_services(self) -> None:
        """Start both services, the workers and the gateway."""
        settings, python = self._settings, str(self._settings.python)
        asu = (*sources.ASU_SOURCES, sources.settings_file(os.environ))
        self._start(
            Program(
                name="prepare",
                command=(
                    python,
                    "-m",
                    "asu_prepare",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(settings.prepare_port),
                ),
                environment={
                    **sources.given_settings(os.environ),
                    "UPSTREAM_URL": self._services["UPSTREAM_URL"],
                },
                sources=sources.PREPARE_SOURCES,
                user=self._users.services,
            ),
            healthy=lambda: web.answers_well(f"{settings.prepare_url}/livez"),
        )
        self._start(
            Program(
                name="asu",
                command=(
                    python,
                    "-m",
                    "asu",
                    "api",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(settings.asu_port),
                ),
                environment=self._services,
                sources=asu,
                user=self._users.services,
            ),
            healthy=lambda: web.answers_well(f"{settings.asu_url}/livez"),
        )
        for number in range(1, settings.workers + 1):
            command = (python, "-m", "asu", "worker")
            self._start(
                Program(
                    name=f"{WORKER_PREFIX}{number}",
                    command=command,
                    environment=self._services,
                    sources=asu,
                )
            )
        self._stop_surplus_workers()
        self._start_gateway()

    def _stop_surplus_workers(self) -> None:
        """Stop what an earlier start had more of; each finishes its build."""
        wanted = {f"{WORKER_PREFIX}{number}" for number in range(1, self._settings.workers + 1)}
        surplus = [
            name
            for name in self._processes.names()
            if name.startswith(WORKER_PREFIX) and name not in wanted
        ]
        if _stop(self._processes, surplus, self._settings.drain_seconds, self._say):
            self._say(f"stopped {', '.join(surplus)}: WORKERS is {self._settings.workers}")

    def _start_gateway(self) -> None:
        """Start nginx, and see the API through it."""
        settings = self._settings
        configuration = gateway.write_configuration(
            settings.run_dir / "nginx",
            listen=f"{in_url(settings.gateway_host)}:{settings.gateway_port}",
            asu=f"127.0.0.1:{settings.asu_port}",
            prepare=f"127.0.0.1:{settings.prepare_port}",
            store=settings.store,
            user=self._users.programs,
        )
        self._start(
            # SIGQUIT lets answers that are under way end.
            Program(
                name="gateway",
                command=gateway.nginx_command(configuration),
                sources=(configuration, configuration.with_name("gateway.conf")),
                stop_signal=signal.SIGQUIT,
            ),
            healthy=lambda: web.answers_well(f"{settings.gateway_url}/readyz"),
        )
        for name in self._processes.names():
            if self._processes.running(name) is None:
                raise Trouble(f"{name} ended by itself\n{self._processes.tail(name)}")

    def _start(
        self,
        program: Program,
        *,
        healthy: Callable[[], bool] | None = None,
        directory: Path = ROOT,
    ) -> None:
        """Start one program unless it runs, and wait for its health."""
        is_new = self._processes.start(program, directory=directory)
        self._started += [program.name] if is_new else []
        began = time.monotonic()

        def is_settled() -> bool:
            return healthy is None or self._processes.running(program.name) is None or healthy()

        if (
            not wait_for(is_settled, HEALTH_SECONDS)
            or self._processes.running(program.name) is None
        ):
            what = (
                "did not become healthy"
                if self._processes.running(program.name)
                else "ended by itself"
            )
            raise Trouble(
                f"{program.name} {what}; it wrote last:\n{self._processes.tail(program.name)}"
            )
        if is_new:
            self._say(f"started {program.name} in {time.monotonic() - began:.1f} s")
        elif os.environ.get("VERBOSE"):
            self._say(f"{program.name} runs already")
