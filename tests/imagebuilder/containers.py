"""Runs the stand-in builder in containers; used by the tests that need a real one."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Any

BASE = "localhost/asu-standin-base"
# Some machines can neither raise limits nor run the default runtime; podman works there with these
# settings.
FALLBACK_CONF = (
    '[containers]\ndefault_ulimits=["nofile=4096:4096","nproc=4096:4096"]\n'
    '[engine]\nruntime="runc"\n'
)
LIFETIME_SECONDS = 1200  # A container that a killed test run left behind ends by itself.


@dataclass(frozen=True)
class Container:
    """A running builder."""

    name: str
    environment: dict[str, str]

    @classmethod
    def start(cls, image: str, environment: dict[str, str]) -> Container:
        """Start a builder that has no network and waits for commands."""
        command = [
            "podman",
            "run",
            "--detach",
            "--network",
            "none",
            "--image-volume",
            "ignore",
            image,
            "sleep",
            str(LIFETIME_SECONDS),
        ]
        return cls(
            subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            ).stdout.strip(),
            environment,
        )

    def remove(self) -> None:
        """End the container."""
        subprocess.run(
            ["podman", "rm", "--force", "--time", "0", self.name],
            env=self.environment,
            check=True,
            capture_output=True,
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in /builder without a shell."""
        return subprocess.run(
            ["podman", "exec", self.name, *command],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run make."""
        return self.run("make", *arguments)

    def shell(self, script: str) -> str:
        """Run a script that must succeed; return what it prints."""
        done = self.run("bash", "-c", script)
        if done.returncode != 0:
            raise AssertionError(f"{script} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def image(self, *arguments: str) -> dict[str, Any]:
        """Make an image that must succeed; return its profiles.json."""
        done = self.make("image", "BIN_DIR=/builder/out", *arguments)
        if done.returncode != 0:
            raise AssertionError(f"make image failed:\n{done.stderr}")
        overview: dict[str, Any] = json.loads(self.shell("cat out/profiles.json"))
        return overview


def starts(environment: dict[str, str]) -> bool:
    """Tell whether podman can run a container."""
    command = ["podman", "run", "--rm", "--network", "none", BASE, "true"]
    return (
        subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0
    )
