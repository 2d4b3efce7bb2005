"""How much one address may ask for at the gateway, seen through a real nginx with the shipped
template.
"""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from misc.native.gateway import TEMPLATE, UNLIMITED
from tests.integration.gateway_world import (
    BUILD,
    CAN_RUN,
    CONTENT,
    IMAGE,
    Gateway,
    error_of,
    running_gateway,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")

BURST = 3
ALLOWED = BURST + 1  # The first is no part of the burst.
AT_ONCE = 2
# One in a minute: none comes back while the tests run. The tests' own address is that of a trusted
# proxy, so they can be anybody.
LIMITS = {
    "GATEWAY_POST_RATE": "1r/m",
    "GATEWAY_POST_BURST": str(BURST),
    "GATEWAY_POST_AT_ONCE": str(AT_ONCE),
    "GATEWAY_TRUSTED_PROXY": "127.0.0.1",
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Run one strict gateway for all tests of this module; each test comes from addresses of its
    own.
    """
    with running_gateway(tmp_path_factory.mktemp("strict"), LIMITS) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def unproxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Run one as strict, that trusts no proxy."""
    with running_gateway(
        tmp_path_factory.mktemp("unproxied"),
        {**LIMITS, "GATEWAY_TRUSTED_PROXY": UNLIMITED["GATEWAY_TRUSTED_PROXY"]},
    ) as gateway:
        yield gateway


def post(gateway: Gateway, address: str, path: str = "/api/v1/build") -> int:
    """Send a POST as a client of that address; return the status."""
    return gateway.ask("POST", path, body=b"{}", headers={"X-Forwarded-For": address}).status


def use_up(gateway: Gateway, address: str) -> None:
    """Send what an address may, until it is refused."""
    assert [post(gateway, address) for _ in range(ALLOWED + 1)] == [200] * ALLOWED + [429]


def test_who_asks_too_often_is_told_when_to_come_back(gateway: Gateway) -> None:
    """In JSON that any page may read, with the seconds to wait."""
    use_up(gateway, "198.51.100.1")
    answer = gateway.ask(
        "POST", "/api/v1/build", body=b"{}", headers={"X-Forwarded-For": "198.51.100.1"}
    )

    assert answer.status == 429
    assert error_of(answer)["code"] == "rate-limited"
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/build",
        "/api/v1/build/prepare",
        "/api/v1/prepare",
        "//api/v1//build/",
        "/api/v1/build?1795421294847",
    ],
)
def test_builds_and_previews_are_counted_together(gateway: Gateway, path: str) -> None:
    """However the path is written; who may ask for no more builds gets no more previews either."""
    address = f"198.51.100.{10 + len(path)}"
    use_up(gateway, address)

    assert post(gateway, address, path) == 429


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/build/{BUILD}",
        "/api/v1/build",
        "/api/v1/prepare",
        "/json/v1/overview.json",
        f"/store/{BUILD}/{IMAGE}",
    ],
)
def test_nothing_else_is_ever_refused(gateway: Gateway, method: str, path: str) -> None:
    """An address that may send no more POSTs still polls, downloads and asks before it sends, as
    often as it likes.
    """
    address = {"X-Forwarded-For": "198.51.100.99"}
    while post(gateway, "198.51.100.99") != 429:
        pass
    answers = [gateway.ask(method, path, headers=address) for _ in range(5 * ALLOWED)]

    assert {answer.status for answer in answers} <= {200, 204}
    assert path != f"/store/{BUILD}/{IMAGE}" or method != "GET" or answers[-1].body == CONTENT


def test_one_address_does_not_use_up_another_s(gateway: Gateway) -> None:
    """Each is counted apart."""
    use_up(gateway, "198.51.100.2")

    assert post(gateway, "198.51.100.3") == 200


def test_a_network_of_ipv6_is_one_address(gateway: Gateway) -> None:
    """Whoever has one address of IPv6 has 2^64; the neighbours' network is another, even where its
    bytes are a line end and a zero.
    """
    sent = [post(gateway, f"2001:db8:0:a00::{number:x}:1") for number in range(1, ALLOWED + 2)]

    assert sent == [200] * ALLOWED + [429]
    assert post(gateway, "2001:db8:0:a00:ffff:ffff:ffff:ffff") == 429
    assert post(gateway, "2001:db8:0:a01::1:1") == 200


def test_an_ipv4_address_is_itself_in_either_spelling(gateway: Gateway) -> None:
    """A socket that takes both writes addresses of IPv4 into IPv6: all of them would be one
    network.
    """
    use_up(gateway, "::ffff:198.51.100.4")

    assert post(gateway, "198.51.100.4") == 429
    assert post(gateway, "::ffff:198.51.100.5") == 200


def test_who_comes_through_no_proxy_cannot_be_another(unproxied: Gateway) -> None:
    """As it is shipped, what a client says about its address changes nothing: not who is counted,
    and not what the services are told.
    """
    assert [post(unproxied, f"198.51.100.{number}") for number in range(ALLOWED + 1)] == [
        200
    ] * ALLOWED + [429]
    assert {seen.headers["X-Forwarded-For"] for seen in unproxied.asu.seen} == {"127.0.0.1"}


def test_through_a_proxy_the_last_address_that_it_saw_counts(gateway: Gateway) -> None:
    """A proxy appends what it saw to what the client claimed; the services are told the same."""
    use_up(gateway, "198.51.100.6")
    gateway.forget()

    assert post(gateway, "203.0.113.1, 198.51.100.6") == 429
    assert post(gateway, "198.51.100.6, 198.51.100.7") == 200
    assert [seen.headers["X-Forwarded-For"] for seen in gateway.asu.seen] == ["198.51.100.7"]


def test_slow_bodies_of_one_address_are_bounded(gateway: Gateway) -> None:
    """Requests whose bodies trickle in hold connections; beyond the bound one is refused at once,
    while polls of the same address are answered.
    """
    head = (
        "POST /api/v1/build HTTP/1.1\r\nHost: asu\r\nX-Forwarded-For:"
        " 198.51.100.8\r\nContent-Length: 10\r\n\r\n{"
    )
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=10))
            for _ in range(AT_ONCE)
        ]
        for connection in slow:
            connection.sendall(head.encode())
        refused = gateway.send_raw(
            head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").encode() + b" " * 9
        )
        poll = gateway.ask(
            "GET", f"/api/v1/build/{BUILD}", headers={"X-Forwarded-For": "198.51.100.8"}
        )
        slow[0].sendall(b" " * 8 + b"}")
        finished = slow[0].recv(65536)

    assert refused.startswith(b"HTTP/1.1 429 ")
    assert poll.status == 200
    assert finished.startswith(b"HTTP/1.1 200 ")


def test_every_variable_of_the_template_is_explained() -> None:
    """The head of the template lists what must be set: a variable that is not stops the gateway."""
    text = TEMPLATE.read_text()
    explained = set(re.findall(r"^#   ([A-Z_]+) ", text, re.MULTILINE))

    assert set(re.findall(r"\$\{([A-Z_]+)\}", text)) == explained
    assert set(UNLIMITED) <= explained
