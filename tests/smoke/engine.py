"""A podman of the smoke test's own: storage, settings and service apart from the machine's, so that
stand-ins fool nobody else.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from misc.native.podman import find_podman

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
BUILDER_BASE = "localhost/asu-standin-base"
SOCKET_SECONDS = 30.0  # The service answers within one second on an idle machine.
TAIL = 4000  # Characters of a failed command's output; the end says why.


class SmokeError(Exception):
    """Something does not hold; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Runs commands with that podman."""

    directory: Path
    environment: Mapping[str, str]

    @property
    def socket(self) -> Path:
        """Where its service listens."""
        return self.directory / "podman.sock"

    def run(
        self,
        command: Sequence[str],
        *,
        input_from: Any = None,
        extra: Mapping[str, str] | None = None,
    ) -> str:
        """Run a command from the checkout, return what it prints; raises SmokeError with its output
        when it fails.
        """
        environment = {**self.environment, **(extra or {})}
        done = subprocess.run(
            command,
            check=False,
            cwd=ROOT,
            env=environment,
            stdin=input_from,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SmokeError(
                f"`{' '.join(command)}` ended with"
                f" {done.returncode}:\n{(done.stdout + done.stderr)[-TAIL:]}"
            )
        return done.stdout

    def podman(self, *arguments: str) -> str:
        """Run podman; return what it prints, without the line's end."""
        return self.run(["podman", *arguments]).strip()

    def succeeds(self, *arguments: str) -> bool:
        """Say whether a podman command ends well."""
        command = ["podman", *arguments]
        return (
            subprocess.run(
                command, check=False, cwd=ROOT, env=self.environment, capture_output=True
            ).returncode
            == 0
        )

    @contextmanager
    def service(self) -> Iterator[None]:
        """Run the service that workers build with; its socket is root's and open to root's group,
        as systemd makes it.
        """
        self.socket.unlink(missing_ok=True)
        command = ["podman", "system", "service", "--time=0", f"unix://{self.socket}"]
        with (self.directory / "podman.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                umask=0o117,
            )
        try:
            deadline = time.monotonic() + SOCKET_SECONDS
            while not self.socket.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SmokeError(
                        "podman's service did not start:"
                        f" {(self.directory / 'podman.log').read_text()[-TAIL:]}"
                    )
                time.sleep(0.05)
            self.socket.chmod(0o660)
            yield
        finally:
            process.terminate()
            process.wait()


def make_engine(directory: Path) -> Engine:
    """Return an engine whose storage lies below `directory`; what an earlier run left there is
    kept.
    """
    directory.mkdir(parents=True, exist_ok=True)
    storage = directory / "storage"
    storage.mkdir(exist_ok=True)
    (storage / "defaultNetworkBackend").write_text("netavark")
    digest = hashlib.sha256(str(directory).encode()).hexdigest()[:12]
    configuration = directory / "storage.conf"
    configuration.write_text(_storage_settings(storage, f"/run/asu-smoke-{digest}"))
    found = find_podman(directory, network=None)
    environment = {**os.environ, **found.environment, "CONTAINERS_STORAGE_CONF": str(configuration)}
    # podman-compose is the lock file's.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    if not Path("/run/systemd/system").exists():
        # podman has systemd run health checks; without one the smoke test runs them itself.
        environment["DISABLE_HC_SYSTEMD"] = "true"
    return Engine(directory=directory, environment=environment)


def _storage_settings(storage: Path, run_root: str) -> str:
    """Return a storage.conf with the machine's own driver, whose choice may have reasons."""
    store = json.loads(
        subprocess.run(
            ["podman", "info", "--format", "json"], check=True, capture_output=True, text=True
        ).stdout
    )["store"]
    lines = [
        "[storage]",
        f'driver = "{store["graphDriverName"]}"',
        f'graphroot = "{storage}"',
        f'runroot = "{run_root}"',
    ]
    program = (store.get("graphOptions") or {}).get("overlay.mount_program")
    if program:
        lines += ["[storage.options.overlay]", f'mount_program = "{program["Executable"]}"']
    return "\n".join(lines) + "\n"


def fetch_builder_base(engine: Engine) -> None:
    """Copy the stand-in builders' base from the machine's own podman, where other tests have it,
    too.
    """
    subprocess.run([ROOT / "tests" / "imagebuilder" / "make_base"], check=True, capture_output=True)
    wanted = subprocess.run(
        ["podman", "image", "inspect", "--format", "{{.Id}}", BUILDER_BASE],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if engine.succeeds("image", "exists", wanted.strip()):
        return
    with subprocess.Popen(
        ["podman", "save", "--quiet", BUILDER_BASE],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as saving:
        engine.run(["podman", "load", "--quiet"], input_from=saving.stdout)


def package_index_options(engine: Engine) -> list[str]:
    """Return options of `podman build` with which pip inside finds what it finds here, by this
    machine's own settings.

    They are mounted while the build runs, and so are the files that they name; nothing of them
    stays in the image.
    """
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in {"global", "install", ":env:"}:
            settings[name] = str(ast.literal_eval(value))
    file = engine.directory / "pip.conf"
    file.write_text(
        "[global]\n"
        + "".join(
            f"{name} = {value.replace(chr(10), chr(10) + '  ')}\n"
            for name, value in settings.items()
        )
    )
    volumes = [f"{file}:/etc/pip.conf:ro"]
    volumes += [
        f"{path}:{path}:ro"
        for value in settings.values()
        for path in value.split()
        if path.startswith("/") and Path(path).exists()
    ]
    return ["--network=host", *(f"--volume={volume}" for volume in dict.fromkeys(volumes))]
