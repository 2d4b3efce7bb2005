"""Health, figures, pages, downloads and what every answer carries, through the whole
application.
"""

from collections.abc import Iterator

import pytest

from asu.errors import QueueUnavailable
from asu.records.build_record import BuildRecord
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.memory_fleet import MemoryFleet
from tests.unit.worlds import REQUEST, World, opened

ORIGIN = {"Origin": "http://192.168.1.1"}


class AbsentRecords(ImitatedRecords):
    """Records in a Redis that is down."""

    # The signature is the protocol's.
    async def look(self, key: str) -> BuildRecord | None:  # noqa: ARG002
        """See Records."""
        raise QueueUnavailable

    async def waiting(self) -> int:
        """See Records."""
        raise QueueUnavailable

    async def running(self) -> int:
        """See Records."""
        raise QueueUnavailable


def absent_fleet() -> MemoryFleet:
    """Return notes in a Redis that is down."""
    fleet = MemoryFleet()
    fleet.away = True
    return fleet


@pytest.fixture
def world() -> Iterator[World]:
    """Return an API over in-memory parts."""
    with opened() as world:
        yield world


@pytest.fixture(scope="module")
def idle() -> Iterator[World]:
    """Return an API over in-memory parts that all tests of this module share, as none changes
    it.
    """
    with opened() as world:
        yield world


@pytest.fixture
def down() -> Iterator[World]:
    """Return an API whose Redis is down."""
    with opened(records=AbsentRecords(), fleet=absent_fleet()) as world:
        yield world


@pytest.mark.parametrize(
    "path",
    ["/livez", "/readyz", "/health", "/version", "/", "/docs", "/openapi.json", "/api/v1/stats"],
)
def test_all_is_well(idle: World, path: str) -> None:
    """Each of them answers on a healthy server."""
    assert idle.client.get(path).status_code == 200


def test_readiness_in_detail(world: World) -> None:
    """Operators see what is missing; a server without workers still takes requests."""
    world.fleet.workers.clear()

    body = world.client.get("/readyz?verbose").json()

    assert (body["status"], body["checks"]["redis"]) == ("ok", "ok")
    assert body["checks"]["workers"].startswith("no worker")
    assert set(world.client.get("/readyz").json()) == {"status", "notice"}


def test_without_redis_the_server_lives_and_is_not_ready(down: World) -> None:
    """A restart would not help, so only readiness fails."""
    assert down.client.get("/livez").status_code == 200
    assert down.client.get("/readyz").status_code == 503
    assert down.client.get("/health").status_code == 503
    checks = down.client.get("/readyz?verbose").json()["checks"]
    assert "does not answer" in checks["redis"]
    assert "does not answer" in checks["workers"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", f"/api/v1/build/{'0' * 64}"), ("POST", "/api/v1/build"), ("GET", "/api/v1/stats")],
)
def test_without_redis_callers_are_told_to_come_back(down: World, method: str, path: str) -> None:
    """503 in JSON with a time to come back, never a 404 that clients take for an end."""
    answer = down.client.request(method, path, json=REQUEST if method == "POST" else None)

    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (
        503,
        503,
        "queue-unavailable",
    )
    assert int(answer.headers["retry-after"]) > 0


def test_figures(world: World) -> None:
    """How many wait, how many are being built, and how many work."""
    world.start(world.key(REQUEST))
    world.post({**REQUEST, "packages": []})

    assert world.client.get("/api/v1/stats").json() == {
        "queue_length": 1,
        "builds_running": 1,
        "workers_alive": 1,
    }


def test_a_download(world: World) -> None:
    """Whole, unencoded, with its length and name: auc compares lengths and old owut follows no
    redirect.
    """
    key = world.key(REQUEST)
    world.finish(key, {"openwrt-1.0-squashfs.bin": b"0123456789"})

    answer = world.client.get(
        f"/store/{key}/openwrt-1.0-squashfs.bin?1795421294847",
        headers={**ORIGIN, "Accept-Encoding": "gzip, br"},
    )

    assert (answer.status_code, answer.content) == (200, b"0123456789")
    wanted = {
        "content-length": "10",
        "content-type": "application/octet-stream",
        "content-disposition": 'attachment; filename="openwrt-1.0-squashfs.bin"',
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "access-control-allow-origin": "*",
    }
    assert {name: answer.headers.get(name) for name in wanted} == wanted
    assert answer.headers.keys() >= {"etag", "last-modified"}
    assert answer.headers.keys().isdisjoint({"content-encoding", "transfer-encoding"})


def test_a_part_of_a_download(world: World) -> None:
    """An interrupted download goes on where it stopped."""
    key = world.key(REQUEST)
    world.finish(key, {"a.bin": b"0123456789"})

    answer = world.client.get(f"/store/{key}/a.bin", headers={"Range": "bytes=4-"})

    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (
        206,
        b"456789",
        "bytes 4-9/10",
    )


def test_head_of_a_download(world: World) -> None:
    """The headers of GET without the file."""
    key = world.key(REQUEST)
    world.finish(key, {"a.bin": b"0123456789"})

    answer = world.client.head(f"/store/{key}/a.bin")

    assert (answer.status_code, answer.headers["content-length"], answer.content) == (
        200,
        "10",
        b"",
    )


@pytest.mark.parametrize(
    "name",
    [
        "none.bin",
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        ".hidden",
        "a.bin%00",
        "a%0a",
        "a.bin/b",
    ],
)
def test_nothing_else_is_there(world: World, name: str) -> None:
    """404 in JSON, whatever the name holds."""
    key = world.key(REQUEST)
    world.finish(key, {"a.bin": b"0"})

    answer = world.client.get(f"/store/{key}/{name}")

    assert (answer.status_code, answer.json()["status"]) == (404, 404)


@pytest.mark.parametrize("key", ["0" * 64, "..", "%2e%2e", ".incoming", "x"])
def test_no_other_directory_is_there(idle: World, key: str) -> None:
    """Only published builds are served, and by their whole key."""
    assert idle.client.get(f"/store/{key}/a.bin").status_code == 404


ANSWERS = [
    ("GET", "/"),
    ("GET", "/json/v1/latest.json"),
    ("GET", "/api/v1/overview"),
    ("GET", "/nothing"),
    ("PUT", "/api/v1/build"),
    ("POST", "/api/v1/build"),
    ("GET", "/store/a/b"),
    ("HEAD", f"/api/v1/build/{'0' * 64}"),
]


@pytest.mark.parametrize(("method", "path"), ANSWERS)
@pytest.mark.parametrize("headers", [{}, ORIGIN])
def test_every_answer_has_an_id_and_one_cors_header(
    idle: World, method: str, path: str, headers: dict[str, str]
) -> None:
    """Redirects and errors included: browsers hide an answer without it, and one with two."""
    answer = idle.client.request(method, path, headers=headers)

    assert answer.headers["x-request-id"]
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/build",
        f"/api/v1/build/{'0' * 64}",
        "/api/v1/build/prepare",
        "/json/v1/overview.json",
        "/store/a/b",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_preflight_is_granted(idle: World, path: str, method: str) -> None:
    """A preflight is about the page, not about the path; 405 would stop browsers."""
    answer = idle.client.options(
        path,
        headers={
            **ORIGIN,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "content-type",
        },
    )

    assert answer.is_success
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]
    assert "content-type" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("path", [path for _, path in ANSWERS])
def test_cors_can_be_left_to_a_proxy(path: str) -> None:
    """Where a proxy adds the header, a second one would stop browsers."""
    with opened(cors=False) as world:
        assert "access-control-allow-origin" not in world.client.get(path, headers=ORIGIN).headers


@pytest.mark.parametrize(
    "path", ["//api/v1/build", "/api//v1//build", "/api/v1/build/", "//api/v1/build/?1795421294847"]
)
def test_a_post_survives_extra_slashes(world: World, path: str) -> None:
    """Old LuCI and auc join addresses with two slashes; a redirect would turn the POST into a
    GET.
    """
    assert world.client.post(f"http://testserver{path}", json=REQUEST).status_code == 202


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/build",
        "/api/v1/build/{request_hash}",
        "/api/v1/build/prepare",
        "/store/{request_hash}/{name}",
    ],
)
def test_the_reference_knows_the_routes(idle: World, path: str) -> None:
    """/docs is made from this document."""
    assert path in idle.client.get("/openapi.json").json()["paths"]
