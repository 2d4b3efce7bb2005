"""What starts podman beside a worker on Kubernetes, run as it stands in the manifest, by a real
shell with a real podman.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.requirements import required_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANIFEST = Path(__file__).resolve().parents[2] / "misc" / "kubernetes" / "worker.yaml"
PATIENCE = 30.0  # Seconds; on an idle machine podman's service is there within one.
# As the worker has it: no root, but of root's group.
WORKER = {"user": 10001, "group": 0, "extra_groups": []}


def sidecar() -> dict[str, Any]:
    """Return the container of podman."""
    [deployment] = [
        found for found in yaml.safe_load_all(MANIFEST.read_text()) if found["kind"] == "Deployment"
    ]
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["initContainers"][0]
    return found


@dataclass
class Sidecar:
    """The container's directory and environment, in which each path is one of the test's own."""

    directory: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        """Where podman listens."""
        return self.directory / "podman.sock"

    def start(self) -> subprocess.Popen[bytes]:
        """Start what the container starts."""
        container = sidecar()
        process = subprocess.Popen(
            [*container["command"], *container["args"]],
            env=self.environment,
            stdout=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def is_content(self) -> bool:
        """Whether the startup probe is."""
        probe = sidecar()["startupProbe"]["exec"]["command"]
        return (
            subprocess.run(
                probe, env=self.environment, check=False, stderr=subprocess.DEVNULL
            ).returncode
            == 0
        )

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """Tell it to stop, as Kubernetes does, and return how it ended."""
        process.terminate()
        return process.wait(PATIENCE)

    def answers(self, **user: Any) -> bool:
        """Whether podman answers somebody at its socket."""
        asked = [
            "curl",
            "--silent",
            "--fail",
            "--unix-socket",
            str(self.socket),
            "http://podman/_ping",
        ]
        done: subprocess.CompletedProcess[str] = subprocess.run(
            asked, check=False, capture_output=True, text=True, **user
        )
        return done.stdout == "OK"


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait for what a process must bring about."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.1)


@pytest.fixture
def container() -> Iterator[Sidecar]:
    """Return a container with a storage and networks of its own, in a directory that every user may
    enter.
    """
    podman = required_program("podman")
    required_program("curl")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "bin").mkdir()
        storage = " ".join(
            f"--{option}={directory}/{option}"
            for option in ("root", "runroot", "network-config-dir")
        )
        (directory / "bin" / "podman").write_text(
            f'#!/bin/sh\nexec {podman} --storage-driver=vfs {storage} "$@"\n'
        )
        (directory / "bin" / "podman").chmod(0o755)
        sockets = {entry["name"]: entry["value"] for entry in sidecar()["env"]}
        assert set(sockets) == {"SOCKET"}
        environment = {
            **os.environ,
            "PATH": f"{directory / 'bin'}:{os.environ['PATH']}",
            "SOCKET": str(directory / "podman.sock"),
        }
        found = Sidecar(directory, environment)
        yield found
        for process in found.processes:
            found.end(process)


def test_the_worker_may_use_the_socket(container: Sidecar) -> None:
    """When the startup probe is content, podman answers a user of root's group, and nobody else."""
    process = container.start()
    wait_until(container.is_content, process)

    assert container.answers(**WORKER)
    assert not container.answers(**{**WORKER, "group": 10001})


def test_podman_ends_in_peace(container: Sidecar) -> None:
    """A pod that is told to stop ends podman's service, with success."""
    process = container.start()
    wait_until(lambda: container.answers(**WORKER), process)

    assert container.end(process) == 0
    assert not container.answers()


def test_a_socket_that_was_left_over_does_no_harm(container: Sidecar) -> None:
    """After a crash of podman the container ends, and starts anew in the same pod; the worker can
    use the new socket, too.
    """
    process = container.start()
    wait_until(lambda: container.answers(**WORKER), process)
    service = subprocess.run(
        ["pgrep", "--parent", str(process.pid)], check=True, capture_output=True, text=True
    ).stdout.split()
    subprocess.run(["kill", "-KILL", *service], check=True)
    assert process.wait(PATIENCE) != 0
    assert container.socket.is_socket()

    wait_until(lambda: container.answers(**WORKER), container.start())
