"""Both services as processes of their own and a real gateway before them: three doors, to be
knocked at with bytes as they are.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asu.stores.local import LocalStore
from tests.documents import write_documents
from tests.integration.gateway_world import start_nginx
from tests.requirements import free_port
from tests.unit.worlds import metadata
from tests.upstream.serve import UpstreamServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
BUILD, IMAGE, CONTENT = "5f" * 32, "openwrt-1.0-squashfs.bin", b"what was asked for " * 10
SECRET = b"nobody may read this"  # Lies all around the image.
STARTED_SECONDS = 60.0
PATIENCE = 60.0  # Seconds for an answer that takes milliseconds.


@dataclass(frozen=True, slots=True)
class Door:
    """One of the three: where it is, which processes stand behind it, and where those write their
    log.
    """

    name: str
    port: int
    pid: int
    log: Path

    def knock(self, data: bytes, *, patience: float = PATIENCE) -> bytes:
        """Send bytes and return what comes back until the door closes, or is silent for so many
        seconds; a door that is slammed is no answer.
        """
        answer = b""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection,
        ):
            connection.sendall(data)
            connection.settimeout(patience)
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def get(self, target: bytes) -> tuple[int, bytes, bytes]:
        """Ask for a target as it is written; return status, head and body, or zero where the
        connection was closed without an answer.
        """
        answer = self.knock(b"GET %s HTTP/1.1\r\nHost: asu\r\nConnection: close\r\n\r\n" % target)
        head, _, body = answer.partition(b"\r\n\r\n")
        return (int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/") else 0), head, body

    def is_well(self) -> bool:
        """Whether a plain question is answered."""
        return self.get(b"/livez")[0] == 200

    def memory(self) -> int:
        """Return the bytes of memory that the process has now."""
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{self.pid}/status").read_text().splitlines()
        )
        return int(fields["VmRSS"].split()[0]) * 1024


@contextmanager
def three_doors(
    directory: Path,
    redis: RedisServer,
    *,
    log_format: str = "text",
    upstream_url: str | None = None,
) -> Iterator[dict[str, Door]]:
    """Run all of it, with one image in the store and secrets wherever a path might lead beside
    it.
    """
    store = _fill_store(directory)
    with ExitStack() as stack:
        upstream = stack.enter_context(_upstream(directory / "upstream"))
        common = {
            "UPSTREAM_URL": upstream_url or upstream.url,
            "LOG_LEVEL": "debug",
            "LOG_FORMAT": log_format,
            "PREPARE_LOG_FORMAT": log_format,
        }
        settings = {
            **common,
            "REDIS_URL": redis.url,
            "STORE_PATH": str(store),
            "POLL_PATIENCE": "1",
        }
        asu = stack.enter_context(_service("asu", ["asu", "api"], settings, directory))
        prepare = stack.enter_context(_service("prepare", ["asu_prepare"], settings, directory))
        port, nginx = free_port(), directory / "nginx"
        process = start_nginx(
            nginx,
            port,
            asu=f"127.0.0.1:{asu.port}",
            prepare=f"127.0.0.1:{prepare.port}",
            store=store,
        )
        stack.callback(_end, process)
        yield {
            "asu": asu,
            "prepare": prepare,
            "gateway": Door("gateway", port, process.pid, nginx / "log"),
        }


def _fill_store(directory: Path) -> Path:
    store = directory / "outside" / "store"
    store.mkdir(parents=True)
    local = LocalStore(store)
    local.open()
    workplace = local.workplace(BUILD)
    (workplace / IMAGE).write_bytes(CONTENT)
    local.publish(BUILD, workplace, 86_400)
    (store / BUILD / "link.bin").symlink_to(directory / "outside" / "secret.bin")
    for place in (directory, directory / "outside", store):
        for name in ("secret.bin", IMAGE, "hostname", "passwd"):
            (place / name).write_bytes(SECRET)
    (store / BUILD / ".hidden").write_bytes(SECRET)
    return store


@contextmanager
def _upstream(directory: Path) -> Iterator[UpstreamServer]:
    write_documents(directory, metadata())
    with UpstreamServer(directory) as server:
        yield server


@contextmanager
def _service(
    name: str, module: list[str], settings: Mapping[str, str], directory: Path
) -> Iterator[Door]:
    """Run a service as its command does, with its log in a file."""
    port, log = free_port(), directory / f"{name}.log"
    environment = {
        **os.environ,
        **settings,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'asu-prepare'}",
    }
    with log.open("wb") as output:
        command = [sys.executable, "-m", *module, "--port", str(port)]
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    door = Door(name, port, process.pid, log)
    try:
        deadline = time.monotonic() + STARTED_SECONDS
        while not door.is_well():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield door
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()
