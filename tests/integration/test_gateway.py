"""The gateway's rules about requests, seen through a real nginx with the shipped template."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.integration.gateway_world import (
    BUILD,
    CAN_RUN,
    LIMIT,
    Gateway,
    error_of,
    lonely_gateway,
    running_gateway,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Run one gateway for all tests of this module."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def gateway(running: Gateway) -> Gateway:
    """Return the gateway, with nothing seen yet."""
    running.forget()
    return running


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/prepare",
        "/api/v1/prepare/",
        "//api/v1/prepare",
        "/api//v1///prepare//",
        "/api/v1/./prepare",
    ],
)
def test_prepare_reaches_the_prepare_service(gateway: Gateway, path: str) -> None:
    """A preview goes to asu-prepare under its one path, however the client joined its server's URL
    with it.
    """
    answer = gateway.ask("POST", path, body=b"{}")

    assert json.loads(answer.body)["service"] == "prepare"
    assert [seen.target for seen in gateway.prepare.seen] == ["/api/v1/prepare"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1/build/prepare",
        "/api/v1/prepared",
        "/api/v1/prepare/x",
        "/json/v1/overview.json",
        "/livez",
        "/store/",
    ],
)
def test_everything_else_reaches_asu(gateway: Gateway, path: str) -> None:
    """What is not a preview is asu's, with the very path that was asked for."""
    answer = gateway.ask("GET", path)

    assert json.loads(answer.body)["service"] == "asu"
    assert [seen.target for seen in gateway.asu.seen] == [path]


BROKEN = [
    "/metrics%0A",
    "/metrics%0a?x=1",
    "//metrics/%0A",
    "/metrics%0a%0a",
    "/metrics/%0d",
    "/%0ametrics",
    "/metrics%7f",
]


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/metrics/",
        "//metrics",
        "/metrics?name=asu_queue_length",
        "/%6detrics",
        "/x/../metrics",
        *BROKEN,
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_metrics_are_not_for_the_public(gateway: Gateway, path: str, method: str) -> None:
    """However the path is written, there is nothing: the operator's monitoring asks each service
    itself.
    """
    answer = gateway.ask(method, path)

    assert answer.status == 404
    assert method == "HEAD" or error_of(answer)["code"] == "not-found"
    assert gateway.asu.seen == []


@pytest.mark.parametrize("path", ["//api/v1/build", "/api/v1/build/", "//api///v1/build//"])
def test_extra_slashes_keep_method_and_body(gateway: Gateway, path: str) -> None:
    """A POST with doubled or trailing slashes arrives as a POST at the proper path; a redirect
    would lose its body.
    """
    answer = gateway.ask(
        "POST", path, body=b'{"a": 1}', headers={"Content-Type": "application/json"}
    )

    assert answer.status == 200
    assert [(seen.method, seen.target, seen.body) for seen in gateway.asu.seen] == [
        ("POST", "/api/v1/build", b'{"a": 1}')
    ]


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/api/v1/build?1795421294847", "asu"),
        ("/api/v1/overview?1&b=%20x", "asu"),
        ("/api/v1/prepare?1795421294847", "prepare"),
    ],
)
def test_query_passes_as_it_is(gateway: Gateway, path: str, service: str) -> None:
    """The time stamp that LuCI appends reaches the service and disturbs nothing."""
    gateway.ask("POST", path, body=b"{}")

    assert [seen.target for seen in getattr(gateway, service).seen] == [path]


def test_escaped_path_stays_escaped(gateway: Gateway) -> None:
    """A path is passed on escaped, and so is what stands behind the question mark."""
    gateway.ask("GET", "/json/v1/a%20b:%201%3Fq/%25.json?c=%0d%0aX-Evil:%201")

    seen = gateway.asu.seen[0]
    assert seen.target == "/json/v1/a%20b:%201%3Fq/%25.json?c=%0d%0aX-Evil:%201"
    assert "X-Evil" not in seen.headers


@pytest.mark.parametrize("path", ["/json/v1/overview.json", "/api/v1/build", "/"])
def test_what_is_no_method_is_refused_in_json(gateway: Gateway, path: str) -> None:
    """A service's parser would end the exchange in plain text."""
    answer = gateway.ask("FOO", path)

    assert (answer.status, json.loads(answer.body)["code"]) == (405, "method-not-allowed")
    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert gateway.asu.seen == []


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/api/v1/build/%0A",
            "/api/v1/prepare/%0A",
            "/api/v1/prepare%0A",
            "/api/v1/build%0a",
            "/%0a",
            "/livez%01",
            "/json/%1f/x",
            "/%7F",
        ),
        *(
            "/json/v1/a%0d%0aX-Evil:%201",
            f"/store/{BUILD}/%0a",
            f"/store/{BUILD}/image.bin%0a",
            "/-/error%0a",
        ),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_a_path_with_a_control_character_goes_no_further(
    gateway: Gateway, path: str, method: str
) -> None:
    """To a careless pattern the path ends before a line break, and would mean another address."""
    answer = gateway.ask(method, path)

    assert answer.status == 404
    assert method == "HEAD" or error_of(answer)["code"] == "not-found"
    assert gateway.asu.seen == gateway.prepare.seen == []


def test_chunked_body_arrives_whole(gateway: Gateway) -> None:
    """A body without Content-Length, as owut and auc send it, reaches either service whole."""
    for path in ("/api/v1/build", "/api/v1/prepare"):
        request = (
            f"POST {path} HTTP/1.1\r\nHost: asu\r\nTransfer-Encoding: chunked\r\nConnection:"
            " close\r\n\r\n"
        )
        answer = gateway.send_raw(request.encode() + b'6\r\n{"a": \r\n3\r\n[]}\r\n0\r\n\r\n')
        assert answer.startswith(b"HTTP/1.1 200")

    assert [seen.body for seen in gateway.asu.seen + gateway.prepare.seen] == [b'{"a": []}'] * 2


@pytest.mark.parametrize("path", ["/api/v1/build", "/api/v1/prepare"])
def test_body_of_the_limit_passes(gateway: Gateway, path: str) -> None:
    """A body of just 256 KiB passes."""
    assert gateway.ask("POST", path, body=b"x" * LIMIT).status == 200


@pytest.mark.parametrize("path", ["/api/v1/build", "/api/v1/prepare"])
def test_body_beyond_the_limit_is_refused(gateway: Gateway, path: str) -> None:
    """One byte more is a 413 in JSON, and no service hears of it."""
    answer = gateway.ask("POST", path, body=b"x" * (LIMIT + 1))

    assert answer.status == 413
    assert error_of(answer)["code"] == "body-too-large"
    assert not gateway.asu.seen + gateway.prepare.seen


def test_chunked_body_beyond_the_limit_is_refused(gateway: Gateway) -> None:
    """The limit is counted, so it holds without Content-Length too."""
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    head = (
        b"POST /api/v1/build HTTP/1.1\r\nHost: asu\r\nTransfer-Encoding: chunked\r\nConnection:"
        b" close\r\n\r\n"
    )
    answer = gateway.send_raw(head + chunk * 9 + b"0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code": "body-too-large"' in answer
    assert not gateway.asu.seen


def test_forwarded_headers_come_from_the_connection(gateway: Gateway) -> None:
    """What a client claims about itself is replaced."""
    claims = dict.fromkeys(
        (
            "X-Forwarded-For",
            "X-Real-IP",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "Forwarded",
            "X-Forwarded-Port",
        ),
        "6.6.6.6",
    )
    gateway.ask("GET", "/api/v1/stats", headers=claims)

    headers = gateway.asu.seen[0].headers
    assert headers.get_all("X-Forwarded-For") == ["127.0.0.1"]
    assert headers.get_all("X-Real-IP") == ["127.0.0.1"]
    assert headers.get_all("X-Forwarded-Proto") == ["http"]
    assert headers.get_all("X-Forwarded-Host") == [f"127.0.0.1:{gateway.port}"]
    assert headers.get_all("Host") == [f"127.0.0.1:{gateway.port}"]
    assert "6.6.6.6" not in str(headers)


def test_request_id_is_made_when_absent(gateway: Gateway) -> None:
    """Every request has an id of its own; a harmless one is kept, one that could shape a log is
    replaced.
    """
    for given in (None, "trace-42.a_B", "evil id\tx", "x" * 65):
        gateway.ask("GET", "/", headers={} if given is None else {"X-Request-ID": given})

    made, kept, spaced, long = (seen.headers["X-Request-ID"] for seen in gateway.asu.seen)
    assert kept == "trace-42.a_B"
    assert len({made, spaced, long}) == 3
    assert all(len(value) == 32 and value.isalnum() for value in (made, spaced, long))


@pytest.mark.parametrize("status", [400, 404, 405, 413, 422, 429, 500, 502, 503, 529])
def test_error_bodies_of_services_pass_through(gateway: Gateway, status: int) -> None:
    """An error of a service arrives as the service wrote it."""
    answer = gateway.ask("GET", f"/status/{status}")

    assert answer.status == status
    assert json.loads(answer.body) == {"service": "asu", "status": status}
    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]


@pytest.mark.parametrize(
    ("path", "service"), [("/api/v1/build", "asu"), ("/api/v1/prepare", "prepare")]
)
def test_preflight_reaches_the_service(gateway: Gateway, path: str, service: str) -> None:
    """The services answer CORS preflights themselves, so nothing is doubled."""
    answer = gateway.ask("OPTIONS", path, headers={"Access-Control-Request-Method": "POST"})

    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert [seen.method for seen in getattr(gateway, service).seen] == ["OPTIONS"]


def test_connections_to_asu_are_kept(gateway: Gateway) -> None:
    """Polls share a connection to the API, over HTTP/1.1."""
    for _ in range(20):
        gateway.ask("GET", f"/api/v1/build/{BUILD}")

    # nginx keeps connections per worker process.
    assert len(gateway.asu.connections) <= (os.cpu_count() or 1)
    assert "Connection" not in gateway.asu.seen[0].headers


def test_polls_are_never_limited(gateway: Gateway) -> None:
    """Any number of polls in a second is answered: clients take a 429 for the end of the build."""
    statuses = {gateway.ask("GET", f"/api/v1/build/{BUILD}").status for _ in range(300)}

    assert statuses == {200}


@pytest.mark.parametrize(
    ("request_line", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad-request"),
        (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad-request"),
        (b"\x16\x03\x01 nonsense\r\n\r\n", 400, "bad-request"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri-too-long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-Large: " + b"x" * 9000 + b"\r\n\r\n", 400, "bad-request"),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405, "method-not-allowed"),
        (b"GET /-/error HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404, "not-found"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not-implemented"),
    ],
    ids=[
        "two hosts",
        "bad escape",
        "no http",
        "long uri",
        "long header",
        "trace",
        "error page",
        "unknown encoding",
    ],
)
def test_requests_that_nginx_refuses_get_json(
    gateway: Gateway, request_line: bytes, status: int, code: str
) -> None:
    """What never reaches a service is refused in the same shape as everything else."""
    head, _, body = gateway.send_raw(request_line).partition(b"\r\n\r\n")

    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert head.count(b"Access-Control-Allow-Origin: *") == 1
    assert b"application/json" in head
    assert json.loads(body)["code"] == code
    assert json.loads(body)["status"] == status


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Gateway]:
    """Run a gateway without services."""
    with lonely_gateway(tmp_path) as gateway:
        yield gateway


def test_absent_service_is_said_in_json(lonely: Gateway) -> None:
    """While a service is down its clients get a 502 in JSON that says when to come back, whatever
    their method.
    """
    for method in ("GET", "POST"):
        answer = lonely.ask(method, "/api/v1/build", body=b"{}" if method == "POST" else None)
        assert answer.status == 502
        assert error_of(answer)["code"] == "service-unreachable"
        assert int(answer.headers["Retry-After"]) > 0


def test_silent_prepare_service_is_given_up(lonely: Gateway) -> None:
    """A preview that does not come within its time is a 504 in JSON."""
    answer = lonely.ask("POST", "/api/v1/prepare", body=b"{}")

    assert answer.status == 504
    assert error_of(answer)["code"] == "service-timeout"
    assert int(answer.headers["Retry-After"]) > 0
