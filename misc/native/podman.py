"""Whether podman runs containers on this machine, how, and whether they can reach the machine.

Asked once with a real container and remembered until podman or the kernel changes. Where the
distribution's settings work they are used as they are; elsewhere (no CAP_SYS_RESOURCE, hybrid
cgroups: common in small virtual machines) a settings file of the project's own is handed to podman
by CONTAINERS_CONF, and `/etc/containers` is left alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from misc.native.processes import BOOT_ID
from misc.native.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Of this run alone: another may be asking at the same time.
PROBE_IMAGE = f"localhost/asu-probe-{os.getpid()}"
PROBE_SECONDS = 60.0  # The first container after a boot takes up to ten on a slow disk.
GREETING = b"asu\n"

# What is tried, in this order, until a container runs. Soft and hard limit are equal because podman
# 4.3 swaps them.
ULIMITS = '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n'
# A command that has ended in a container keeps its monitor for five minutes otherwise, some fifteen
# processes a build.
ENGINE = "[engine]\nexit_command_delay = 10\n"
CONFIGURATIONS = ("", ULIMITS + ENGINE, f'{ULIMITS}{ENGINE}runtime = "runc"\n')


@dataclass(frozen=True, slots=True, kw_only=True)
class Podman:
    """How podman is to be used here."""

    seen: str  # The podman and the boot that were asked.
    settings_file: str | None  # For CONTAINERS_CONF; None where the distribution's settings work.
    network: str  # For build containers; `none` where containers cannot use a bridge.
    # This machine's own address where containers reach it: workers' networks have other gateways.
    host_address: str | None

    @property
    def environment(self) -> Mapping[str, str]:
        """What every podman process needs."""
        return {"CONTAINERS_CONF": self.settings_file} if self.settings_file else {}


def find_podman(run_dir: Path, *, network: str | None) -> Podman:
    """Return how podman works here, and make the build network; ask only what is not known yet."""
    memory = run_dir / "podman.json"
    wanted = network or "asu-build"
    version = _run(["podman", "--version"]).strip()
    given = os.environ.get("CONTAINERS_CONF", "")
    boot = BOOT_ID.read_text().strip()
    seen = f"{version}, boot {boot}, address {_own_address()}, network {wanted}, {given}"
    try:
        known = Podman(**json.loads(memory.read_text()))
    except (OSError, ValueError, TypeError):
        known = None
    if known and known.seen == seen and (known.network == "none" or _network_exists(known)):
        return known
    found = _probe(run_dir, wanted, seen, is_chosen=network is not None)
    memory.write_text(json.dumps(asdict(found)))
    return found


def _probe(run_dir: Path, network: str, seen: str, *, is_chosen: bool) -> Podman:
    """Find settings with which a container runs, then a way from a container to this machine."""
    complaints: list[str] = []
    _make_probe_image()
    try:
        for text in CONFIGURATIONS:
            podman = Podman(
                seen=seen,
                settings_file=_settings_file(run_dir, text),
                network="none",
                host_address=None,
            )
            try:
                _run_probe(podman, ["/bin/true"])
            except Trouble as trouble:
                complaints.append(str(trouble))
            else:
                return (
                    podman if network == "none" else _connect(podman, network, is_chosen=is_chosen)
                )
    finally:
        subprocess.run(["podman", "rmi", "--force", PROBE_IMAGE], check=False, capture_output=True)
    raise Trouble(
        "podman cannot run a container on this machine, neither with its own settings nor with "
        "runc and lower limits.\n"
        + "\n".join(dict.fromkeys(complaints))
        + "\nTry `podman run --rm IMAGE true` by hand; in a container or virtual machine, it may "
        "need more privileges, or: apt-get install runc"
    )


def _connect(podman: Podman, network: str, *, is_chosen: bool) -> Podman:
    """Attach to `network`, and make it if needed.

    Without a working bridge builds get no network, unless one was chosen.
    """
    connected = Podman(
        seen=podman.seen, settings_file=podman.settings_file, network=network, host_address=None
    )
    try:
        if not _network_exists(connected):
            _create_network(connected)
        address = _own_address()
        is_reachable = _reaches_host(connected, address)
    except Trouble as trouble:
        if is_chosen:
            raise Trouble(
                f"no container can use the network {network} (CONTAINER_NETWORK)\n{trouble}"
            ) from trouble
        return podman
    return Podman(
        seen=podman.seen,
        settings_file=podman.settings_file,
        network=network,
        host_address=address if is_reachable else None,
    )


def _reaches_host(podman: Podman, address: str) -> bool:
    """Let a container connect to this machine; raises Trouble if it cannot start on the network."""
    _run_probe(podman, ["/bin/true"])
    if not address:
        return False
    with socket.create_server(("", 0)) as listener:
        port = listener.getsockname()[1]
        listener.settimeout(PROBE_SECONDS)
        threading.Thread(target=_greet_once, args=(listener,), daemon=True).start()
        script = f'exec 3<>/dev/tcp/{address}/{port} && read -t 5 -r word <&3 && [ "$word" = asu ]'
        try:
            _run_probe(podman, ["/bin/bash", "-c", script])
        except Trouble:
            return False
    return True


def _greet_once(listener: socket.socket) -> None:
    """Greet the first that connects."""
    try:
        connection, _ = listener.accept()
    except OSError:
        return  # Nobody came before the listener was closed.
    with connection:
        connection.sendall(GREETING)


def _own_address() -> str:
    """Return this machine's address towards the internet, or none; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        if probe.connect_ex(("192.0.2.1", 9)):
            return ""
        return str(probe.getsockname()[0])


def _create_network(podman: Podman) -> None:
    try:
        _run(["podman", "network", "create", podman.network], podman.environment)
    except Trouble:
        if not _network_exists(podman):  # Another system may have made it just now.
            raise


def _network_exists(podman: Podman) -> bool:
    command = ["podman", "network", "exists", podman.network]
    return (
        subprocess.run(
            command, check=False, capture_output=True, env={**os.environ, **podman.environment}
        ).returncode
        == 0
    )


def _settings_file(run_dir: Path, text: str) -> str | None:
    """Write a settings file, or none for the distribution's own."""
    if not text:
        return None
    path = run_dir / "containers.conf"
    path.write_text(
        f"# Written by misc/native: without it this machine's podman starts no container.\n{text}"
    )
    return str(path)


def _run_probe(podman: Podman, command: Sequence[str]) -> None:
    """Run `command` in a throw-away container with the kind of limits that builds get."""
    limits = [
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--pids-limit=64",
        "--memory=64m",
    ]
    options = ["--rm", "--pull=never", f"--network={podman.network}", *limits]
    _run(["podman", "run", *options, PROBE_IMAGE, *command], podman.environment)


def _make_probe_image() -> None:
    """Make an image of this machine's bash and its libraries: no download, two megabytes."""
    files = {
        name: Path(path).resolve()
        for name, path in (("bin/bash", shutil.which("bash")), ("bin/true", shutil.which("true")))
        if path
    }
    for program in list(files.values()):
        for library in re.findall(r"(/\S+) \(0x", _run(["ldd", str(program)])):
            files[library.lstrip("/")] = Path(library).resolve()
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "probe.tar"
        with tarfile.open(archive, "w") as tar:
            for name, path in files.items():
                tar.add(path, arcname=name)
        _run(["podman", "import", "--quiet", str(archive), PROBE_IMAGE])


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return its output; raises Trouble with what it said."""
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError:
        raise Trouble(f"{command[0]} is missing; install it: make install") from None
    except subprocess.TimeoutExpired:
        raise Trouble(f"`{' '.join(command)}` did not end within {PROBE_SECONDS:.0f} s") from None
    if done.returncode:
        raise Trouble(
            f"`{' '.join(command)}` failed with exit code {done.returncode}:\n{done.stderr.strip()}"
        )
    return done.stdout
