"""The edge around a bare ASGI application: paths, bodies, ids, our own mistakes, and CORS."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asu.errors import Overloaded
from asu.logs import Lines
from asu.web.edge import MAX_BODY_BYTES, Cors, Edge

SCRIPT = "#!/bin/sh"
ORIGIN = {"Origin": "http://192.168.1.1"}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what arrived: method, path, query, id, and size of the body."""
    size, more = 0, scope["method"] == "POST"
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    seen = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "id": scope["state"]["request_id"],
        "size": size,
    }
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json")],
        }
    )
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})


async def crash(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Fail as a mistake of ours would, with a secret in its message."""
    raise RuntimeError(SCRIPT)


async def overload(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Fail with an error that we know."""
    raise Overloaded(waiting=200)


def client(app: ASGIApp = echo) -> TestClient:
    """Return a client of an application behind the edge."""
    return TestClient(Cors(Edge(app)), raise_server_exceptions=False)


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(
    ("asked", "means"),
    [
        ("//api//v1///build", "/api/v1/build"),
        ("/api/v1/build/", "/api/v1/build"),
        ("/api/v1/build//", "/api/v1/build"),
        ("/", "/"),
        ("///", "/"),
    ],
)
def test_slashes_too_many_mean_nothing(method: str, asked: str, means: str) -> None:
    """Clients of old join a server's address and a path with two slashes; a redirect would lose
    their POST.
    """
    seen: list[str] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path"])
        await echo(scope, receive, send)

    TestClient(Edge(note)).request(method, f"http://testserver{asked}")

    assert seen == [means]


@pytest.mark.parametrize(
    "path", ["/a%0A", "/a%0a?b=1", "//a/%0A", "/%0a", "/a%0d%0a", "/%00a", "/a%1f/b", "/a%7F"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE"])
def test_a_path_with_a_control_character_leads_nowhere(method: str, path: str) -> None:
    """The framework's patterns take `/a%0A` for `/a`, which a gateway that denies `/a` does not."""
    answer = client().request(method, f"http://testserver{path}", headers=ORIGIN)

    assert answer.status_code == 404
    assert method == "HEAD" or answer.json()["code"] == "not-found"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-request-id"]


def test_the_query_is_left_alone() -> None:
    """LuCI puts a timestamp behind every path, and slashes in a query mean what they say."""
    assert client().get("/a?1795421294847").json()["query"] == "1795421294847"
    assert client().get("/a?b=c//d/").json()["query"] == "b=c//d/"


@pytest.mark.parametrize(
    ("size", "status"), [(0, 200), (MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)]
)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_is_counted(size: int, status: int, *, chunked: bool) -> None:
    """The limit holds with Content-Length and without, as owut and auc send it; what is within
    arrives whole.
    """

    def pieces() -> Iterator[bytes]:
        yield b"x" * (size // 2)
        yield b"x" * (size - size // 2)

    answer = client().post("/", content=pieces() if chunked else b"x" * size)

    assert answer.status_code == status
    assert answer.json().get("size") == (size if status == 200 else None)


@pytest.mark.anyio
async def test_a_flood_is_not_read_to_its_end() -> None:
    """As soon as a body is too large, the rest is not even taken."""
    taken, sent = 0, []

    async def receive() -> Message:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    await Edge(echo)(
        {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []},
        receive,
        send,
    )

    assert (sent[0]["status"], taken) == (413, 5)
    assert json.loads(sent[1]["body"])["code"] == "body-too-large"


@pytest.mark.anyio
async def test_a_caller_who_leaves_half_way_ends_the_body() -> None:
    """The application learns of it, and nobody waits for what never comes."""
    messages: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]
    seen: list[str] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.extend([(await receive())["type"], (await receive())["type"]])

    async def send(_: Message) -> None:
        pass

    await Edge(app)(
        {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []},
        receive,
        send,
    )

    assert seen == ["http.request", "http.disconnect"]


def test_an_id_is_taken_over_and_answered() -> None:
    """The id that the gateway gave goes through to the end and back."""
    answer = client().get("/", headers={"X-Request-ID": "gateway-1.a_B"})

    assert (answer.headers["x-request-id"], answer.json()["id"]) == (
        "gateway-1.a_B",
        "gateway-1.a_B",
    )


@pytest.mark.parametrize("sent", [None, "", "a" * 65, "a b", "a\tb", "<script>", "caf\u00e9"])
def test_any_other_id_is_replaced(sent: str | None) -> None:
    """An id stands in logs, so nobody outside shapes it; each request gets one of its own."""
    headers = [] if sent is None else [(b"X-Request-ID", sent.encode("latin-1"))]
    ids = [client().get("/", headers=headers).headers["x-request-id"] for _ in range(2)]

    assert len(set(ids)) == 2
    assert all(len(one) == 32 and one.isalnum() for one in ids)


def test_a_mistake_of_ours_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Clients get the common shape and an id; the log has the same id, the kind and the place, but
    not the message.
    """
    with caplog.at_level(logging.ERROR):
        answer = client(crash).get("/", headers={"X-Request-ID": "found-again"})

    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (500, 500, "internal-error")
    assert "found-again" in body["detail"]
    assert "request found-again failed: RuntimeError" in caplog.text
    assert ", in crash" in caplog.text
    assert SCRIPT not in answer.text + caplog.text


def test_a_logged_exception_tells_no_message() -> None:
    """Whoever logs an exception, the lines say kind and place of it and of its cause, and no
    message.
    """
    try:
        try:
            int(SCRIPT)
        except ValueError as error:
            raise OSError(28, SCRIPT) from error
    except OSError:
        line = written("build failed", sys.exc_info())

    assert "OSError (No space left on device)" in line
    assert "ValueError" in line
    assert "  |   File " in line
    assert SCRIPT not in line


def test_nobody_forges_a_log_line() -> None:
    """Control characters are shown, and what follows a line end is marked as belonging to the
    record.
    """
    assert written("a\nb\x1b[1m\rc") == "logger: a\n  | b\\x1b[1m\\rc"


def written(message: str, error: Any = None) -> str:
    """Return what a record looks like in the log."""
    return Lines("%(name)s: %(message)s").format(
        logging.LogRecord("logger", logging.ERROR, __file__, 1, message, None, error)
    )


def test_a_known_error_keeps_its_face() -> None:
    """What was raised beyond the application's own handlers still has its status and its time to
    try again.
    """
    answer = client(overload).post("/")

    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
        529,
        "overloaded",
        "60",
    )


@pytest.mark.parametrize("app", [echo, crash, overload])
@pytest.mark.parametrize("headers", [{}, ORIGIN, {**ORIGIN, "Cookie": "a=b"}])
def test_every_answer_may_be_read_by_any_page(app: ASGIApp, headers: dict[str, str]) -> None:
    """There is exactly one header that says so, errors included: two are as bad as none."""
    assert (
        len(client(app).get("/", headers=headers).headers.get_list("access-control-allow-origin"))
        == 1
    )


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("wanted", ["content-type", "content-type,cache-control", None])
def test_a_preflight_is_granted(method: str, wanted: str | None) -> None:
    """Browsers ask first for every request with JSON, polls included; any other status than 2xx is
    a refusal.
    """
    headers = {**ORIGIN, "Access-Control-Request-Method": method}
    if wanted:
        headers["Access-Control-Request-Headers"] = wanted
    answer = client(crash).options("//api/v1/build/?1795421294847", headers=headers)

    assert answer.is_success
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]
    assert method in answer.headers["access-control-allow-methods"]
    assert wanted is None or all(
        name in answer.headers["access-control-allow-headers"] for name in wanted.split(",")
    )
