"""One compose file, started and taken down."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.smoke.engine import ROOT, Engine, SmokeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEALTH_SECONDS = 90.0  # All is well within fifteen seconds on an idle machine with two processors.


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A project of podman-compose."""

    engine: Engine
    project: str
    files: Sequence[str]
    settings: Mapping[str, str]  # What an operator would write into .env.

    @property
    def options(self) -> list[str]:
        """What podman-compose needs to know it by."""
        return [
            "-p",
            self.project,
            "--env-file",
            str(self._environment_file),
            *(word for file in self.files for word in ("-f", file)),
        ]

    @property
    def _environment_file(self) -> Path:
        return self.engine.directory / f"{self.project}.env"

    def compose(self, *arguments: str, before: Sequence[str] = ()) -> str:
        """Run podman-compose."""
        settings = {**self.settings, "ASU_ENV_FILE": str(self._environment_file)}
        self._environment_file.write_text(
            "".join(f"{name}={value}\n" for name, value in settings.items())
        )
        return self.engine.run(["podman-compose", *self.options, *before, *arguments])

    def up(self, *services: str) -> None:
        """Start everything, or these services and what they depend on, and wait until it is
        healthy.
        """
        self.compose("up", "-d", "--no-build", *services)
        self.wait_until_healthy()

    def scale(self, service: str, replicas: int) -> list[str]:
        """Have that many replicas of a service, without touching what runs; return their names."""
        self.compose("up", "-d", "--no-build", "--no-recreate", "--scale", f"{service}={replicas}")
        self.wait_until_healthy()
        return self.containers(service)

    def with_replicas(self, **replicas: int) -> Deployment:
        """Have that many replicas of each service, in one call and for good: the numbers go where
        an operator writes them, into .env.
        """
        settings = {
            **self.settings,
            **{f"{service.upper()}_REPLICAS": str(number) for service, number in replicas.items()},
        }
        grown = replace(self, settings=settings)
        grown.compose("up", "-d", "--no-build", "--no-recreate")
        grown.wait_until_healthy()
        return grown

    def replace(self, service: str) -> None:
        """Replace the replicas of a service as the documentation says."""
        command = [str(ROOT / "misc" / "compose" / "replace"), service, *self.options[2:]]
        self.engine.run(command, extra={"COMPOSE_PROJECT_NAME": self.project})

    def down(self) -> None:
        """End and remove all of it, volumes included, whatever state it is in."""
        with suppress(SmokeError):
            self.compose("down", "--volumes", "--timeout", "10")
        for name in self.containers(everything=True):
            self.engine.podman(
                "rm", "--force", "--ignore", "--depend", "--time", "0", "--volumes", name
            )
        label = f"label=io.podman.compose.project={self.project}"
        for kind in ("volume", "network"):
            for name in self.engine.podman(kind, "ls", "--quiet", "--filter", label).split():
                self.engine.podman(kind, "rm", "--force", name)

    def containers(self, service: str | None = None, *, everything: bool = False) -> list[str]:
        """Return the names of its containers that run, or of all."""
        filters = ["--filter", f"label=io.podman.compose.project={self.project}"]
        if service:
            filters += ["--filter", f"label=io.podman.compose.service={service}"]
        return sorted(
            self.engine.podman(
                "ps", *(["--all"] if everything else []), *filters, "--format", "{{.Names}}"
            ).split()
        )

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what podman knows of a container."""
        found: dict[str, Any] = json.loads(self.engine.podman("inspect", container))[0]
        return found

    def addresses(self, container: str, *, seen_by: str = "") -> set[str]:
        """Return a container's addresses in all its networks, or in those of `seen_by` alone."""
        networks = self.inspect(container)["NetworkSettings"]["Networks"]
        if seen_by:
            shared = self.inspect(seen_by)["NetworkSettings"]["Networks"]
            networks = {name: networks[name] for name in networks if name in shared}
        return {network["IPAddress"] for network in networks.values() if network["IPAddress"]}

    def wait_until_healthy(self) -> None:
        """Run each container's own health check until it is content, as systemd would have it
        run.
        """
        deadline = time.monotonic() + HEALTH_SECONDS
        for name in self.containers(everything=True):
            if not self.inspect(name)["Config"].get("Healthcheck"):
                continue
            while not self.engine.succeeds("healthcheck", "run", name):
                if time.monotonic() > deadline:
                    raise SmokeError(
                        f"{name} does not become healthy; it wrote last:\n{self.log(name)[-3000:]}"
                    )
                time.sleep(0.3)

    def log(self, container: str) -> str:
        """Return what a container wrote."""
        with suppress(SmokeError):
            return self.engine.run(["/bin/sh", "-c", 'exec podman logs "$1" 2>&1', "sh", container])
        return ""
