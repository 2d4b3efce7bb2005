"""How the service answers as a service: errors, limits, headers, health, and its description of
itself.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from asu_prepare.__main__ import main
from asu_prepare.config import Settings
from asu_prepare.errors import PrepareError
from asu_prepare.logs import JsonLines
from asu_prepare.main import create_app
from asu_prepare.upstream import MemoryDocuments

HERE = Path(__file__).parent
README = (HERE.parent / "README.md").read_text(encoding="utf-8")
PREPARE = "/api/v1/prepare"
JSON = {"content-type": "application/json"}
BASE = {"version": "24.10.4", "target": "x86/64", "profile": "generic"}
GET_ROUTES = [
    "/",
    "/health",
    "/livez",
    "/readyz",
    "/version",
    "/api/v1/status",
    "/docs",
    "/redoc",
    "/openapi.json",
]


def in_chunks(body: bytes, size: int) -> Iterator[bytes]:
    """Yield a body in pieces, as owut and auc send it."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.fixture
def breaking(home_hub: dict[str, Any]) -> TestClient:
    """Return a client of a service with a route that fails on what it was sent."""
    app = create_app(Settings(), MemoryDocuments({}))

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError(f"secret {home_hub}")

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("path", GET_ROUTES)
def test_each_get_route_answers_get_and_head(client: TestClient, path: str) -> None:
    """Probes may use either; HEAD has no body."""
    assert client.get(path).status_code == 200
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("end", ["%0A", "%0a?x=1", "%0D%0A", "%7f", "%00"])
@pytest.mark.parametrize("path", [*GET_ROUTES, "/metrics"])
def test_a_control_character_makes_no_second_address(
    client: TestClient, path: str, end: str
) -> None:
    """A gateway that keeps `/metrics` to itself does not know `/metrics%0A`, which is the same to
    the framework's patterns.
    """
    for method in ("GET", "HEAD"):
        assert client.request(method, f"{path}{end}").status_code == 404
    assert client.get(f"{path}{end}").json()["code"] == "not-found"


def test_a_preview_is_not_to_be_stored(client: TestClient, home_hub: dict[str, Any]) -> None:
    """It repeats the request, the first-boot script included."""
    answer = client.post(PREPARE, json={**home_hub, "defaults": "#!/bin/sh"})

    assert answer.json()["prepared_request"]["defaults"] == "#!/bin/sh"
    assert answer.headers.get_list("cache-control") == ["no-store"]


def test_a_chunked_body_is_read(client: TestClient, home_hub: dict[str, Any]) -> None:
    """Some clients (owut, auc) send no Content-Length."""
    answer = client.post(PREPARE, content=in_chunks(json.dumps(home_hub).encode(), 7), headers=JSON)

    assert answer.status_code == 200
    assert "kmod-dsa-gswip" in answer.json()["resolved_packages"]


@pytest.mark.parametrize("chunked", [False, True])
# pytest passes parameters by name.
def test_a_large_body_is_refused(client: TestClient, chunked: bool) -> None:  # noqa: FBT001
    """The limit holds for what comes, not for what a header announces."""
    body = json.dumps({**BASE, "padding": "x" * 256 * 1024}).encode()
    answer = client.post(
        PREPARE, content=in_chunks(body, 10_000) if chunked else body, headers=JSON
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


def test_the_body_limit_itself_is_admitted() -> None:
    """A body of exactly the limit is read, one byte more is not."""
    body = json.dumps(BASE).encode()
    client = TestClient(create_app(Settings(max_body_bytes=len(body)), MemoryDocuments({})))

    assert client.post(PREPARE, content=body, headers=JSON).status_code == 200
    assert client.post(PREPARE, content=body + b" ", headers=JSON).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"version": "\\ud800"}',
        b"[" * 200_000,
        b'{"version": NaN}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_no_request_is_refused(client: TestClient, body: bytes) -> None:
    """Broken JSON, other JSON, lone surrogates and bottomless nesting are all a 422 in JSON."""
    answer = client.post(PREPARE, content=body, headers=JSON)

    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (
        422,
        422,
        "invalid-request",
    )


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"]
)
def test_another_content_type_is_refused(client: TestClient, content_type: str) -> None:
    """A form on a foreign page cannot be made to send requests."""
    answer = client.post(PREPARE, content=json.dumps(BASE), headers={"content-type": content_type})

    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"],
)
def test_spellings_of_json_are_admitted(client: TestClient, content_type: str) -> None:
    """Parameters and case of the content type do not matter."""
    assert (
        client.post(
            PREPARE, content=json.dumps(BASE), headers={"content-type": content_type}
        ).status_code
        == 200
    )


@pytest.mark.parametrize(
    "members",
    [
        b'"packages": ["vim", "-ppp"], "diff_packages": "true"',
        b'"rootfs_size_mb": 256.0',
        b'"rootfs_size_mb": "256"',
        b'"rootfs_size_mb": true',
        b'"rootfs_size_mb": NaN',
        b'"rootfs_size_mb": 1e999',
        b'"packages": ["a"], "packages": ["vim"]',
        b'"client": "\\ud800"',
        b'"client": "\xff"',
        b'"from_version": ""',
        b'"packages_versions": [["vim", "1"]]',
        b'"extra": ' + b"[" * 500 + b"]" * 500,
        b'"extra": [1,]',
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_both_readers_of_a_body_agree(client: TestClient, members: bytes, mark: bytes) -> None:
    """Usual requests are read by pydantic itself, those of unusual content types by FastAPI."""
    body = mark + json.dumps(BASE).encode()[:-1] + b", " + members + b"}"
    usual, other = (
        client.post(PREPARE, content=body, headers={"content-type": content_type})
        for content_type in ("application/json", "application/vnd.x+json")
    )

    assert (usual.status_code, usual.json()) == (other.status_code, other.json())


def test_a_query_string_is_ignored(client: TestClient) -> None:
    """LuCI appends the time to every request."""
    assert client.post(f"{PREPARE}?1795421294847", json=BASE).status_code == 200


def test_an_unknown_path_is_a_json_404(client: TestClient) -> None:
    """Clients parse every answer as JSON."""
    body = client.get("/nowhere").json()

    assert (body["status"], body["code"], set(body)) == (
        404,
        "not-found",
        {"status", "title", "detail", "code"},
    )


def test_another_method_is_a_json_405(client: TestClient) -> None:
    """The answer says which methods there are."""
    answer = client.get(PREPARE)

    assert (answer.status_code, answer.json()["code"], answer.headers["allow"]) == (
        405,
        "method-not-allowed",
        "POST",
    )


def test_our_own_mistake_is_told_without_its_details(
    breaking: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets the id of the request, the log gets the place, and neither gets what was
    sent.
    """
    answer = breaking.get("/broken", headers={"x-request-id": "abc", "origin": "http://router"})

    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "abc" in answer.json()["detail"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "request abc failed: RuntimeError" in caplog.text
    assert "secret" not in answer.text
    assert "bt_homehub" not in caplog.text


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/health"), ("GET", "/nowhere"), ("GET", PREPARE), ("POST", PREPARE)],
)
def test_every_answer_may_be_read_by_browsers(client: TestClient, method: str, path: str) -> None:
    """Errors carry the header too, exactly once, or a page could not show them."""
    answer = client.request(method, path, headers={"origin": "http://192.168.1.1"})

    assert answer.headers.get_list("access-control-allow-origin") == ["*"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_preflight_is_answered(client: TestClient, method: str) -> None:
    """Browsers ask before they send JSON."""
    answer = client.options(
        PREPARE,
        headers={
            "origin": "http://192.168.1.1",
            "access-control-request-method": method,
            "access-control-request-headers": "content-type",
        },
    )

    assert (answer.status_code, answer.content) == (204, b"")
    assert method in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "content-type"
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]


def test_an_answer_carries_cors_for_whoever_asks(client: TestClient) -> None:
    """A cache must not keep an answer without it, so a caller without a page gets it too, once, on
    good answers and refusals.
    """
    for path in ("/health", "/no-such", "/api/v1/prepare"):
        assert client.get(path).headers.get_list("access-control-allow-origin") == ["*"]


def test_cors_can_be_left_to_a_proxy() -> None:
    """Two of these headers are as bad as none, so a proxy that adds them must be able to be the
    only one.
    """
    client = TestClient(create_app(Settings(cors=False), MemoryDocuments({})))

    assert (
        "access-control-allow-origin"
        not in client.get("/health", headers={"origin": "http://x"}).headers
    )


def test_a_request_id_is_taken_over(client: TestClient) -> None:
    """One id follows a request through gateway, API and this service."""
    assert (
        client.get("/health", headers={"x-request-id": "Ab1.-_"}).headers["x-request-id"]
        == "Ab1.-_"
    )


@pytest.mark.parametrize(
    "offered", ["", "a b", "a\tb", "x" * 65, "a;b", "ä".encode().decode("latin-1")]
)
def test_another_request_id_is_replaced(client: TestClient, offered: str) -> None:
    """An id that could shape a log line is not taken over."""
    given = client.get("/health", headers=[(b"x-request-id", offered.encode("latin-1"))]).headers[
        "x-request-id"
    ]

    assert given != offered
    assert len(given) == 32


def test_refusals_are_logged_in_one_line(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A path that anyone can choose cannot begin a line of its own or hold terminal codes."""
    with caplog.at_level(logging.INFO, "asu_prepare"):
        client.get("/a%0aERROR%1b[31m", headers={"x-request-id": "abc"})

    assert caplog.messages[0].startswith("GET /a\\nERROR\\x1b[31m 404 in ")
    assert json.loads(JsonLines().format(caplog.records[0]))["request_id"] == "abc"


def test_requests_leave_nothing_of_theirs_in_the_log(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """First-boot scripts hold passwords; a log at its most talkative holds none."""
    with caplog.at_level(logging.DEBUG):
        client.post(PREPARE, json={**BASE, "defaults": "secret-1"})
        client.post(PREPARE, json={**BASE, "defaults": ["secret-1"]})

    assert len([record for record in caplog.records if record.name == "asu_prepare"]) == 2
    assert "secret-1" not in caplog.text


def test_status_tells_what_runs(client: TestClient) -> None:
    """Operators see which rules a replica applies."""
    status = client.get("/api/v1/status").json()

    assert status["service"] == "asu-prepare"
    assert status["rules"]["count"] > 30
    assert (status["rules"]["newest"], status["rules"]["newest_since"]) == (
        "kmod-lib-crc32c-removed",
        "SNAPSHOT",
    )
    assert status["branches"][0] == "21.02"
    assert status["metadata_age"] == 0


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables begin with PREPARE_; LOG_LEVEL is understood too, and an argument wins."""
    monkeypatch.setenv("PREPARE_PORT", "9")
    monkeypatch.setenv("LOG_LEVEL", "debug")

    assert (Settings().port, Settings().log_level, Settings(port=7, log_level="error").port) == (
        9,
        "debug",
        7,
    )


def test_settings_cannot_be_changed() -> None:
    """What was read at the start holds until the end."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 9


def test_the_committed_description_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m asu_prepare --openapi > openapi.json` writes the file that other services are
    tested against.
    """
    main(["--openapi"])

    assert capsys.readouterr().out == (HERE.parent / "openapi.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_is_documented(name: str) -> None:
    """The table of settings in the README is complete."""
    assert f"`PREPARE_{name.upper()}`" in README


@pytest.mark.parametrize("error", PrepareError.__subclasses__(), ids=lambda error: error.code)
def test_each_error_is_documented(error: type[PrepareError]) -> None:
    """The table of errors in the README is complete."""
    assert f"| `{error.code}` | {error.status} |" in README


@pytest.mark.parametrize("path", [*GET_ROUTES, PREPARE])
def test_each_route_is_documented(path: str) -> None:
    """The table of routes in the README is complete."""
    assert f"{path}`" in README


def test_an_operators_rules_are_used(documents: MemoryDocuments, tmp_path: Path) -> None:
    """From a directory of files; one that is wrong is named, and the shipped rules stay."""
    (tmp_path / "own.toml").write_text(
        '[[rule]]\nid = "own"\nreplace = "old-tool"\nwith = "vim"\nreason = "Renamed."\n'
    )
    request = {
        "version": "25.12.0",
        "target": "lantiq/xrx200",
        "profile": "bt_homehub-v5a",
        "packages": ["old-tool", "auc"],
    }
    settings = Settings(package_changes_dir=tmp_path)
    good = TestClient(create_app(settings, documents))
    preview = good.post("/api/v1/prepare", json=request).json()
    (tmp_path / "more.toml").write_text("[[rule")
    broken = TestClient(create_app(settings, documents))
    without = broken.post("/api/v1/prepare", json=request).json()

    applied = {change["rule"] for change in preview["changes"]}
    assert applied - {change["rule"] for change in without["changes"]} == {"own"}
    assert "auc-owut" in applied
    assert good.get("/readyz").json() == {"status": "ok"}
    assert "more.toml" in broken.get("/readyz").json()["notice"]
