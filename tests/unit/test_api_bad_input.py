"""Whatever a caller sends: a 4xx in the one JSON shape, nothing enqueued, nothing repeated that was
sent.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from asu.resolution.request_mistakes import MAX_LISTED
from tests.unit.worlds import REQUEST, BrokenUpstream, World, opened

JSON = {"Content-Type": "application/json"}
PATHS = ["/api/v1/build", "/api/v1/build/prepare"]


@pytest.fixture(scope="module")
def opened_world() -> Iterator[World]:
    """Open one API for all tests of this module, which leave nothing in it."""
    with opened() as world:
        yield world


@pytest.fixture
def world(opened_world: World) -> Iterator[World]:
    """Return the API, and see that nothing was put in line."""
    yield opened_world
    assert opened_world.queue.tickets == 0
    assert opened_world.records.due_keys() == []


def refusal(answer: Any, status: int) -> dict[str, Any]:
    """Return the body of an error, whose shape is the same everywhere."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/json"
    assert {type(body[name]) for name in ("title", "detail", "code")} == {str}
    assert body["detail"]
    assert all(set(mistake) == {"type", "loc", "msg"} for mistake in body.get("errors", []))
    return body


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"version":',
        b"[]",
        b"null",
        b"17",
        b'"x"',
        b"not json",
        b"{} {}",
        b'{"a": NaN}',
        b"[[{}]]",
    ],
)
def test_what_is_no_request(world: World, path: str, content: bytes) -> None:
    """Malformed JSON and JSON of another kind."""
    assert (
        refusal(world.client.post(path, content=content, headers=JSON), 422)["code"]
        == "invalid-request"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"a":' * 30_000,
        b'{"rootfs_size_mb": ' + b"9" * 5000 + b"}",
        b"\xff\xfe{}",
        b"\x00",
    ],
)
def test_what_breaks_parsers(world: World, content: bytes) -> None:
    """Nesting without end, numbers without end, and bytes that are no text: our server makes no
    mistake of its own.
    """
    answer = world.client.post("/api/v1/build", content=content, headers=JSON)

    assert answer.status_code in (400, 422)
    assert refusal(answer, answer.status_code)["code"] in {"bad-request", "invalid-request"}


@pytest.mark.parametrize(
    "kind",
    [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)
def test_a_body_of_another_type(world: World, kind: str | None) -> None:
    """A form of a foreign page is no request: such a POST would come without a preflight."""
    headers = {"Content-Type": kind} if kind else {}
    answer = world.client.post(
        "/api/v1/build", content=json.dumps(REQUEST).encode(), headers=headers
    )

    assert refusal(answer, 422)["code"] == "invalid-request"


def test_all_mistakes_are_told_at_once(world: World) -> None:
    """Nobody corrects a request one field at a time; the sentence stays short, the list is
    complete.
    """
    body = refusal(world.post({"packages": ["!", "?"], "filesystem": "x"}), 422)

    assert len(body["errors"]) == 6
    assert "And 4 more" in body["detail"]


def test_a_flood_of_mistakes_gets_a_short_answer(world: World) -> None:
    """A request of a quarter of a megabyte cannot make the server send many."""
    answer = world.post(
        {**REQUEST, "packages_versions": {f"!{number:x}" * 50: 1 for number in range(1000)}}
    )

    assert len(refusal(answer, 422)["errors"]) == MAX_LISTED
    assert len(answer.content) < 100_000


def test_a_script_is_not_repeated(world: World) -> None:
    """A refused first-boot script does not come back in the answer."""
    answers = [
        world.post({**REQUEST, "defaults": "passwd hunter2"}),
        world.post({**REQUEST, "defaults": ["passwd hunter2"]}),
        world.post({**REQUEST, "defaults": "passwd hunter2" * 10_000}),
    ]

    assert [answer.status_code for answer in answers] == [400, 422, 422]
    assert not [answer for answer in answers if "hunter2" in answer.text]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_too_large(world: World, path: str, *, chunked: bool) -> None:
    """256 KiB are the limit, with Content-Length or without."""
    content = json.dumps({**REQUEST, "client": "x" * 262_144}).encode()
    answer = world.client.post(
        path, content=iter([content[:1000], content[1000:]]) if chunked else content, headers=JSON
    )

    assert "256 KiB" in refusal(answer, 413)["detail"]


def test_a_chunked_body_is_read() -> None:
    """Clients such as owut and auc send theirs in chunks, without Content-Length."""
    content = json.dumps(REQUEST).encode()
    with opened() as world:
        answer = world.client.post(
            "/api/v1/build", content=iter([content[:10], content[10:]]), headers=JSON
        )

        assert "content-length" not in answer.request.headers
        assert answer.status_code == 202


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/build"),
        ("DELETE", "/api/v1/build"),
        ("POST", "/livez"),
        ("PUT", "/store/a/b"),
    ],
)
def test_another_method(world: World, method: str, path: str) -> None:
    """The answer names the methods that there are."""
    answer = world.client.request(method, path)

    assert refusal(answer, 405)["code"] == "method-not-allowed"
    assert answer.headers["allow"]
    assert method not in answer.headers["allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api/v2/build",
        "/json/v1/nothing.json",
        "/%00",
        "/%ff%fe",
        "/store",
        "/api/v1/build/a/b",
    ],
)
def test_another_path(world: World, path: str) -> None:
    """404 in JSON, whatever the path holds."""
    assert refusal(world.client.get(path), 404)["code"] == "not-found"


def test_an_option_of_the_wrong_kind(world: World) -> None:
    """A known option with a senseless value is named; unknown ones mean nothing."""
    assert (
        "skip_package_resolution"
        in refusal(world.post(REQUEST, "?skip_package_resolution=perhaps"), 422)["detail"]
    )


def test_a_mistake_of_ours_is_no_answer_to_anybody() -> None:
    """A crash below the routers is a 500 in the same shape, with CORS, and names nothing of its
    cause.
    """
    with opened(upstream=BrokenUpstream()) as world:
        answer = world.client.post(
            "/api/v1/build", json=REQUEST, headers={"Origin": "http://192.168.1.1"}
        )

        body = refusal(answer, 500)
        assert body["code"] == "internal-error"
        assert answer.headers["x-request-id"] in body["detail"]
        assert answer.headers.get_list("access-control-allow-origin") == ["*"]
        assert "secret" not in answer.text
