"""A real nginx with the shipped template in front of two recording servers."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from misc.native.gateway import NGINX_PATH, UNLIMITED, nginx_command, write_configuration
from tests.requirements import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import Message
    from pathlib import Path


BUILD = "5f" * 32
IMAGE = "openwrt-25.12.1-0123456789ab-lantiq-xrx200-bt_homehub-v5a-squashfs-sysupgrade.bin"
CONTENT = b"\x27\x05\x19\x56" + bytes(range(256)) * 40
LIMIT = 256 * 1024
STARTED_SECONDS = 60.0

# A missing nginx may skip the tests on a laptop; in CI they then fail.
CAN_RUN = shutil.which("nginx", path=NGINX_PATH) is not None or "CI" in os.environ


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as a service received it."""

    method: str
    target: str
    headers: Message
    body: bytes


@dataclass(slots=True)
class Service:
    """A service behind the gateway: says its name, and remembers what reached it."""

    name: str
    server: ThreadingHTTPServer
    seen: list[Seen] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.server.server_address[1]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as a client received it."""

    status: int
    headers: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway and what lies behind it."""

    port: int
    store: Path
    asu: Service
    prepare: Service

    def forget(self) -> None:
        """Let both services forget what they have seen."""
        for service in (self.asu, self.prepare):
            service.seen.clear()
            service.connections.clear()

    def ask(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request, the target just as it is written."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=50)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def send_raw(self, data: bytes) -> bytes:
        """Send bytes as they are and return all that comes back until the gateway closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))


class Handler(BaseHTTPRequestHandler):
    """Records each request; answers with its service's name, or with the status that the path ends
    in.
    """

    protocol_version = "HTTP/1.1"
    # Head and body leave together; apart, the second waits 40 ms for the first one's
    # acknowledgement.
    wbufsize = 64 * 1024
    service: Service

    def answer(self) -> None:
        """Answer any request."""
        service = self.service
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service.seen.append(Seen(self.command, self.path, self.headers, body))
        service.connections.add(self.client_address[1])
        status = int(self.path[-3:]) if self.path.startswith("/status/") else 200
        content = json.dumps({"service": service.name, "status": status}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    # The names that http.server looks for.
    do_GET = do_HEAD = do_POST = do_OPTIONS = answer  # noqa: N815

    # The signature is http.server's.
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def start_service(name: str, address: str = "127.0.0.1", port: int = 0) -> Service:
    """Start one recording server, on a free port unless one is given."""
    handler = type("NamedHandler", (Handler,), {})
    server = ThreadingHTTPServer((address, port), handler)
    server.daemon_threads = True
    service = Service(name, server)
    handler.service = service  # type: ignore[attr-defined]  # Made above.
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    ).start()
    return service


def start_nginx(
    directory: Path,
    port: int,
    *,
    asu: str,
    prepare: str,
    store: Path,
    limits: Mapping[str, str] = UNLIMITED,
) -> subprocess.Popen[bytes]:
    """Start nginx and wait until it listens."""
    configuration = write_configuration(
        directory, listen=f"127.0.0.1:{port}", asu=asu, prepare=prepare, store=store, limits=limits
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            nginx_command(configuration), stdout=log, stderr=subprocess.STDOUT
        )
    if not wait_until_it_listens(process, port):
        pytest.fail(f"nginx did not start: {(directory / 'log').read_text()}")
    return process


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until nginx takes connections; a process that does not is ended."""
    deadline = time.monotonic() + STARTED_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    process.kill()
    process.wait()
    return False


@contextmanager
def running_gateway(directory: Path, limits: Mapping[str, str] = UNLIMITED) -> Iterator[Gateway]:
    """Run a gateway with both services and a store with one image, one hidden file and one link."""
    store = directory / "store"
    (store / BUILD).mkdir(parents=True)
    (store / BUILD / IMAGE).write_bytes(CONTENT)
    (store / BUILD / ".hidden").write_text("secret")
    (store / BUILD / "link.bin").symlink_to("/etc/hostname")
    asu, prepare = start_service("asu"), start_service("prepare")
    port = free_port()
    process = start_nginx(
        directory / "nginx",
        port,
        asu=asu.address,
        prepare=prepare.address,
        store=store,
        limits=limits,
    )
    try:
        yield Gateway(port, store, asu, prepare)
    finally:
        stop(process, asu, prepare)


@contextmanager
def lonely_gateway(directory: Path) -> Iterator[Gateway]:
    """Run a gateway whose asu is gone and whose asu-prepare takes connections but never answers."""
    store = directory / "store"
    store.mkdir()
    port, unused = free_port(), start_service("unused")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        prepare = f"127.0.0.1:{silent.getsockname()[1]}"
        process = start_nginx(
            directory / "nginx", port, asu=f"127.0.0.1:{free_port()}", prepare=prepare, store=store
        )
        try:
            yield Gateway(port, store, unused, unused)
        finally:
            stop(process, unused)


def stop(process: subprocess.Popen[bytes], *services: Service) -> None:
    """End nginx and what lies behind it."""
    process.terminate()
    process.wait()
    for service in services:
        service.server.shutdown()
        service.server.server_close()


def error_of(answer: Answer) -> dict[str, object]:
    """Return an error in the one shape, having checked it."""
    body = json.loads(answer.body)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert set(body) == {"status", "title", "detail", "code"}
    assert body["status"] == answer.status
    assert isinstance(body["detail"], str)
    return dict(body)
