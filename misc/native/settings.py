"""Everything that the environment may choose about a native system, read once."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from misc.native.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_RUN_DIR = ROOT / ".run"

# A unix socket's address has room for 107 bytes on Linux.
MAX_SOCKET_PATH, MAX_PORT = 107, 65535

# One release of each packaging kind (opkg, apk) on three unlike targets: enough to try every
# documented case by hand.
DEFAULT_STANDIN_VERSIONS = "24.10.4 25.12.1"
DEFAULT_STANDIN_TARGETS = "ath79/generic x86/64 lantiq/xrx200"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One native system: its directory, its ports and what it builds against."""

    run_dir: Path
    gateway_host: str
    gateway_port: int
    asu_port: int
    prepare_port: int
    upstream_port: int
    workers: int
    drain_seconds: int
    upstream_url: str | None
    base_container: str | None
    container_network: str | None
    allow_defaults: str
    standin_versions: tuple[str, ...]
    standin_targets: tuple[str, ...]
    standin_delays: tuple[str, ...]

    @property
    def python(self) -> Path:
        """The virtual environment's interpreter, which has what both services need."""
        return ROOT / ".venv" / "bin" / "python"

    @property
    def logs(self) -> Path:
        """Where each process leaves its output."""
        return self.run_dir / "log"

    @property
    def store(self) -> Path:
        """Where finished images lie."""
        return self.run_dir / "store"

    @property
    def gateway_url(self) -> str:
        """The address for clients on this machine."""
        everywhere = {"", "*", "0.0.0.0"}  # noqa: S104 - Compared with, not bound to.
        host = "127.0.0.1" if self.gateway_host in everywhere else self.gateway_host
        return f"http://{in_url('::1' if host == '::' else host)}:{self.gateway_port}"

    @property
    def asu_url(self) -> str:
        """The API without the gateway."""
        return f"http://127.0.0.1:{self.asu_port}"

    @property
    def prepare_url(self) -> str:
        """asu-prepare without the gateway."""
        return f"http://127.0.0.1:{self.prepare_port}"

    @property
    def standin_url(self) -> str:
        """The stand-in for the OpenWrt downloads server, as this machine sees it."""
        return f"http://127.0.0.1:{self.upstream_port}"

    @property
    def podman_socket(self) -> Path:
        """Where podman's service listens; a shorter path if RUN_DIR is too long for a socket."""
        return self._short("podman.sock", "sock")

    @property
    def redis_socket(self) -> Path:
        """Where Redis listens, in a directory of its user alone; shorter likewise."""
        return self._short("redis/redis.sock", "redis/redis.sock")

    def _short(self, name: str, instead: str) -> Path:
        path = self.run_dir / name
        if len(str(path).encode()) <= MAX_SOCKET_PATH:
            return path
        digest = hashlib.sha256(str(self.run_dir).encode()).hexdigest()[:12]
        return (Path("/run") if os.geteuid() == 0 else Path.home()) / f"asu-{digest}.{instead}"


def in_url(host: str) -> str:
    """Return a host as it stands in a URL and in nginx's configuration."""
    return f"[{host}]" if ":" in host else host


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Take the settings from `environment`; an empty value counts as not set."""
    given = {name: value for name, value in environment.items() if value}
    return Settings(
        run_dir=(ROOT / given.get("RUN_DIR", DEFAULT_RUN_DIR)).resolve(),
        gateway_host=given.get("GATEWAY_HOST", "127.0.0.1"),
        gateway_port=_port(given, "GATEWAY_PORT", 8080),
        asu_port=_port(given, "ASU_PORT", 8000),
        prepare_port=_port(given, "PREPARE_PORT", 8001),
        upstream_port=_port(given, "UPSTREAM_PORT", 8002),
        workers=_number(given, "WORKERS", 1),
        drain_seconds=_number(given, "DRAIN_SECONDS", 300),
        upstream_url=given.get("UPSTREAM_URL"),
        base_container=given.get("BASE_CONTAINER"),
        container_network=given.get("CONTAINER_NETWORK"),
        allow_defaults=given.get("ALLOW_DEFAULTS", "false"),
        standin_versions=tuple(given.get("STANDIN_VERSIONS", DEFAULT_STANDIN_VERSIONS).split()),
        standin_targets=tuple(given.get("STANDIN_TARGETS", DEFAULT_STANDIN_TARGETS).split()),
        standin_delays=tuple(given.get("STANDIN_DELAYS", "0 0 0").split()),
    )


def _port(given: Mapping[str, str], name: str, default: int) -> int:
    port = _number(given, name, default)
    if not 1 <= port <= MAX_PORT:
        raise Trouble(f"{name} must be a port from 1 to {MAX_PORT}, not {port}")
    return port


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    """Read one whole number."""
    value = given.get(name, str(default))
    if not value.isascii() or not value.isdigit():
        raise Trouble(f"{name} must be a whole number, not {value!r}")
    return int(value)
