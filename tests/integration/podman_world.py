"""A real podman of the tests' own: its service on a socket, and stand-in ImageBuilders to run in
it.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from asu.settings import Settings
from asu.worker.builder_image import BuilderImage
from asu.worker.podman_engine import PodmanEngine
from misc.native.podman import Podman, find_podman
from misc.native.trouble import Trouble
from tests.requirements import exclusive, required_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asu.worker.container import BuildContainer

ROOT = Path(__file__).resolve().parents[2]
# Apart from other users of the stand-ins, whose images have other feeds.
BASE = "localhost/asu-standin/imagebuilder/worker"
OPKG, APK = "24.10.4", "25.12.1"
FEEDS = "file:///upstream"  # Inside the images.
# Their images fetch their builder themselves, as the genuine ones.
SNAPSHOTS = ("SNAPSHOT", "24.10-SNAPSHOT")
TARGETS = ("x86/64", "ath79/generic")
PATIENCE = 30.0  # Seconds for the service to answer; on an idle machine it takes half of one.


@dataclass
class PodmanWorld:
    """A podman service that can be stopped and started, and what was started in it."""

    podman: Podman
    socket: Path
    tree: Path  # The stand-in downloads server's files, from which the builders were made.
    process: subprocess.Popen[bytes] | None = None
    systems: list[str] = field(default_factory=list)

    def settings(self, **values: Any) -> Settings:
        """Return settings of a worker that uses this podman."""
        fields = {
            "base_container": BASE,
            "container_socket_path": self.socket,
            "container_network": self.podman.network,
            "pull_policy": "never",
            "builder_upstream_url": FEEDS,
            "container_memory_mb": 512,
            # A failure is the end unless a test is about the attempts after it.
            "retry_delays": (),
            "disk_reserve_mb": 0,
        }
        return Settings(**{**fields, **values})

    def engine(self, *, system: str = "", worker: str = "", **settings: Any) -> PodmanEngine:
        """Return an engine, of a system of its own unless one is named.

        Without a worker all are in one network, where only the fence keeps them apart.
        """
        self.systems.append(system or secrets.token_hex(8))
        return PodmanEngine(self.settings(**settings), system=self.systems[-1], worker=worker)

    def start_service(self) -> None:
        """Start the service and wait until it answers."""
        command = ["podman", "system", "service", "--time=0", f"unix://{self.socket}"]
        # A container that runs out of memory leaves a file `oom` where the service was started.
        directory = self.socket.parent
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.socket)) == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError("the podman service does not answer")

    def stop_service(self) -> None:
        """End the service; containers go on."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None

    @contextmanager
    def away(self) -> Iterator[None]:
        """Let the service be away for a while."""
        self.stop_service()
        try:
            yield
        finally:
            self.start_service()

    @property
    def environment(self) -> dict[str, str]:
        """What podman needs here."""
        return {**os.environ, **self.podman.environment}

    def run(self, *arguments: str) -> str:
        """Run a podman command of an operator and return its output."""
        return subprocess.run(
            ["podman", *arguments], env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def containers(self, system: str) -> list[dict[str, Any]]:
        """Return what podman lists of a system's containers, ended ones too."""
        listed: list[dict[str, Any]] = json.loads(
            self.run("ps", "--all", "--format=json", f"--filter=label=asu.system={system}")
        )
        return listed

    def inspect(self, system: str) -> dict[str, Any]:
        """Return all that podman knows of the only container of a system."""
        [container] = self.containers(system)
        described: list[dict[str, Any]] = json.loads(self.run("inspect", container["Id"]))
        return described[0]

    def networks(self, system: str) -> list[str]:
        """Return the names of the networks of a system's workers."""
        filters = (f"--filter=label=asu.system={system}", "--format={{.Name}}")
        return self.run("network", "ls", *filters).split()

    def clean_up(self) -> None:
        """Remove every container that was started here, and the networks of workers."""
        for system in self.systems:
            for container in self.containers(system):
                subprocess.run(
                    ["podman", "rm", "--force", "--time=0", container["Id"]],
                    env=self.environment,
                    check=False,
                    capture_output=True,
                )
            for network in self.networks(system):
                self.run("network", "rm", "--force", network)


@contextmanager
def podman_world(directory: Path, shared: Path) -> Iterator[PodmanWorld]:
    """Start a podman service; skip on a laptop without podman, fail in CI.

    The test processes of one run share what lies in `shared`: how podman works here, the upstream
    tree and the ImageBuilders made of it. The first process makes them.
    """
    required_program("podman")
    with exclusive(shared / "podman.lock"):
        try:
            podman = find_podman(shared, network=None)
        except Trouble as trouble:
            unavailable(str(trouble))
        world = PodmanWorld(podman, directory / "podman.sock", shared / "upstream")
        builders_are_made = shared / "builders.made"
        if not builders_are_made.exists():
            make_builders(world)
            builders_are_made.touch()
    with ExitStack() as stack:
        world.start_service()
        stack.callback(world.stop_service)
        stack.callback(world.clean_up)
        yield world


def make_builders(world: PodmanWorld) -> None:
    """Make the stand-in ImageBuilders that are missing, with their feeds inside."""
    made = subprocess.run(
        [ROOT / "tests/imagebuilder/make_base"],
        env=world.environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        unavailable(f"the stand-in's base image cannot be made here: {made.stderr.strip()}")
    _python(world, "tests.upstream.make_tree", str(world.tree))
    command = (
        "tests.imagebuilder.build",
        "--tree",
        str(world.tree),
        "--feeds",
        FEEDS,
        "--base-container",
        BASE,
        "--setup",
    )
    versions = [word for version in (OPKG, APK) for word in ("--version", version)]
    targets = [word for target in TARGETS for word in ("--target", target)]
    _python(world, *command, *versions, *targets)
    _python(
        world,
        *command,
        "--target",
        TARGETS[0],
        *[word for version in SNAPSHOTS for word in ("--version", version)],
    )


def unavailable(reason: str) -> None:
    """Skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _python(world: PodmanWorld, module: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=world.environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def builder_image(name: str, version: str = OPKG) -> BuilderImage:
    """Return an ImageBuilder's image for x86/64."""
    return BuilderImage(name=name, version=version, target="x86/64")


@contextmanager
def started(
    engine: PodmanEngine,
    image: BuilderImage,
    *,
    key: str = "0" * 64,
    attempt: int = 1,
    feeds: Sequence[str] = (),
) -> Iterator[BuildContainer]:
    """Start a build container for the time of a test."""
    container = engine.start(image, key=key, attempt=attempt, feeds=feeds)
    try:
        yield container
    finally:
        container.remove()


def output(container: BuildContainer, *command: str) -> str:
    """Return what a command prints in the container."""
    result = container.run(command, deadline=60)
    assert result.exit_code == 0, result.stderr
    return result.stdout
