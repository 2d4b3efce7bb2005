"""The gateway with host names behind it, as in a container: names are looked up while requests come
in.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from misc.native.gateway import TEMPLATE, UNLIMITED, fill_in, nginx_command, write_configuration
from tests.integration.gateway_world import (
    CAN_RUN,
    Gateway,
    Service,
    start_service,
    stop,
    wait_until_it_listens,
)
from tests.requirements import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")

LOOKUP_SECONDS = 10.0  # The template keeps an address for five.


class NameServer:
    """Answers every question for an address with the addresses of the moment; none means that there
    is no such name.
    """

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.socket.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                question, client = self.socket.recvfrom(512)
            except OSError:
                return  # Closed.
            records = b"".join(
                struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
                for address in self.addresses
            )
            flags = 0x8180 if self.addresses else 0x8183
            self.socket.sendto(
                question[:2]
                + struct.pack(">HHHHH", flags, 1, len(self.addresses), 0, 0)
                + question[12:]
                + records,
                client,
            )


@pytest.fixture
def names() -> Iterator[NameServer]:
    """Run a name server that knows no name yet."""
    server = NameServer()
    yield server
    server.socket.close()


@pytest.fixture
def replicas() -> Iterator[list[Service]]:
    """Run two replicas of asu-prepare: one port, two addresses."""
    first = start_service("first", "127.0.0.2")
    second = start_service("second", "127.0.0.3", int(first.server.server_address[1]))
    yield [first, second]
    for service in (first, second):
        service.server.shutdown()
        service.server.server_close()


@pytest.fixture
def gateway(tmp_path: Path, names: NameServer, replicas: list[Service]) -> Iterator[Gateway]:
    """Run a gateway that knows its services by name, as the official image would configure it."""
    port, service_port = free_port(), int(replicas[0].server.server_address[1])
    configuration = write_configuration(
        tmp_path / "nginx",
        listen=str(port),
        asu="127.0.0.1:1",
        prepare="127.0.0.1:1",
        store=tmp_path,
    )
    values = {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "ASU_UPSTREAM": f"asu.test:{service_port}",
        "PREPARE_UPSTREAM": f"prepare.test:{service_port}",
        "STORE_PATH": "/nonexistent",
        "NGINX_LOCAL_RESOLVERS": f"127.0.0.1:{names.port}",
        **UNLIMITED,
    }
    (configuration.parent / "gateway.conf").write_text(fill_in(TEMPLATE.read_text(), values))
    process = subprocess.Popen(
        nginx_command(configuration), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert wait_until_it_listens(process, port)
    yield Gateway(port, tmp_path, replicas[0], replicas[1])
    stop(process)


def service_that_answers(gateway: Gateway, path: str) -> Any:
    """Return the name of the service that answers, None when none does."""
    return json.loads(gateway.ask("POST", path, body=b"{}").body).get("service")


def test_gateway_starts_before_its_services(gateway: Gateway, names: NameServer) -> None:
    """Names that do not exist yet are a 502 until they do, not a gateway that does not start."""
    assert gateway.ask("POST", "/api/v1/prepare", body=b"{}").status == 502
    names.addresses = ["127.0.0.2"]
    time.sleep(LOOKUP_SECONDS)

    assert service_that_answers(gateway, "/api/v1/prepare") == "first"
    assert service_that_answers(gateway, "/api/v1/build") == "first"
    assert service_that_answers(gateway, "//api/v1/build/") == "first"
    assert [seen.target for seen in gateway.asu.seen] == [
        "/api/v1/prepare",
        "/api/v1/build",
        "/api/v1/build",
    ]


def test_new_and_gone_replicas_are_noticed(gateway: Gateway, names: NameServer) -> None:
    """Replicas take turns; one that comes or goes is noticed without a restart."""
    names.addresses = ["127.0.0.2", "127.0.0.3"]
    both = {service_that_answers(gateway, "/api/v1/prepare") for _ in range(10)}
    names.addresses = ["127.0.0.3"]
    time.sleep(LOOKUP_SECONDS)
    remaining = {
        service_that_answers(gateway, path)
        for path in ("/api/v1/prepare", "/api/v1/build")
        for _ in range(5)
    }

    assert (both, remaining) == ({"first", "second"}, {"second"})


def test_dead_replica_costs_no_preview(
    gateway: Gateway, names: NameServer, replicas: list[Service]
) -> None:
    """While a name still leads to a replica that is gone, another one answers."""
    names.addresses = ["127.0.0.2", "127.0.0.3"]
    replicas[0].server.shutdown()
    replicas[0].server.server_close()

    assert {service_that_answers(gateway, "/api/v1/prepare") for _ in range(10)} == {"second"}


@pytest.mark.parametrize("path", ["/api/v1/prepare", "/api/v1/build"])
def test_replica_that_ends_costs_no_request(
    gateway: Gateway, names: NameServer, replicas: list[Service], path: str
) -> None:
    """What a replica took and did not answer is given to another: a build that is asked for twice
    is one build.
    """
    names.addresses = ["127.0.0.2", "127.0.0.3"]
    address = replicas[0].server.server_address
    replicas[0].server.shutdown()
    replicas[0].server.server_close()
    with socket.create_server((str(address[0]), int(address[1]))) as ending:
        threading.Thread(target=_take_and_close, args=(ending,), daemon=True).start()

        assert {service_that_answers(gateway, path) for _ in range(10)} == {"second"}


def _take_and_close(listener: socket.socket) -> None:
    """Read each request and end the connection without an answer."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # Closed.
        with connection:
            connection.recv(65536)
