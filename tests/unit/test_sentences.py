"""Every refusal is a sentence for people, and no wrong body takes the server long."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from asu.build_request import BuildRequest
from asu.web.request_mistakes import MUST_BE
from tests.unit.worlds import REQUEST, World, opened

JSON = {"Content-Type": "application/json"}
LONGEST = 300
# What no person should have to read: a pattern, a word of Python or pydantic, a place in our files.
MACHINERY = re.compile(
    r"\[A-Z|\[a-z|\[0-9|\{\d+,|\^|\$'|\\d"
    r"|\b(None|True|False|dict|str|int|NoneType|Traceback|pydantic|regex|regexp|pattern)\b"
    r"|[Ii]nput should|[Vv]alue error|Field required|Exception|Error:|\bloc\b"
    r"|\.py\b|/home|/usr|/work|/opt|site-packages"
)

FEED_LINE = "src/gz own https://feeds.example.org/own"
BAD_FIELDS: list[tuple[str, Any]] = [
    ("version", None),
    ("version", 24.10),
    ("version", "24,10"),
    ("version", "v24.10.4"),
    ("version", "latest"),
    ("version", "24.10.4\n"),
    ("version", ["24.10.4"]),
    ("version", "9" * 200),
    ("version_code", None),
    ("version_code", "r28959 29397011cc"),
    ("version_code", 28959),
    ("target", "ath79"),
    ("target", "ath79/generic/x"),
    ("target", "ATH79/Generic"),
    ("target", ["ath79/generic"]),
    ("target", "../.."),
    ("profile", ""),
    ("profile", "tplink:archer"),
    ("profile", "TP-Link Archer C7"),
    ("profile", {"id": "x"}),
    ("profile", "a" * 10_000),
    ("profile", "\u202egpj.exe"),
    ("packages", None),
    ("packages", "luci vim"),
    ("packages", {"luci": True}),
    ("packages", ["kmod-usb@testing"]),
    ("packages", [".luci"]),
    ("packages", ["luci=1.2"]),
    ("packages", ["luci vim"]),
    ("packages", ["luci,vim@x"]),
    ("packages", ["luci\n"]),
    ("packages", ["https://example.org/x.ipk"]),
    ("packages", [1, 2]),
    ("packages", [None]),
    ("packages", [["luci"]]),
    ("packages", ["-"]),
    ("packages", ["p"] * 1001),
    ("packages", ["$(id)"] * 1000),
    ("packages_versions", None),
    ("packages_versions", ["luci"]),
    ("packages_versions", "luci=1"),
    ("packages_versions", {"luci": None}),
    ("packages_versions", {"luci": 1}),
    ("packages_versions", {"luci": "1:2"}),
    ("packages_versions", {"-luci": "1"}),
    ("packages_versions", {"lu ci": "1"}),
    ("packages_versions", {f"p{number}": "1" for number in range(1001)}),
    ("diff_packages", None),
    ("diff_packages", "perhaps"),
    ("diff_packages", []),
    ("defaults", 1),
    ("defaults", ["echo"]),
    ("defaults", "x" * 65_537),
    ("rootfs_size_mb", ""),
    ("rootfs_size_mb", 0),
    ("rootfs_size_mb", -1),
    ("rootfs_size_mb", 256.5),
    ("rootfs_size_mb", True),
    ("rootfs_size_mb", 10**4000),
    ("rootfs_size_mb", "256 MB"),
    ("rootfs_size_mb", [256]),
    ("filesystem", ""),
    ("filesystem", "ntfs"),
    ("filesystem", 4),
    ("repositories", []),
    ("repositories", FEED_LINE),
    ("repositories", {"own": FEED_LINE}),
    ("repositories", {"own": 1}),
    ("repositories", {"own": None}),
    ("repositories", {"own feed": "https://feeds.example.org/own"}),
    ("repositories", {f"f{number}": "https://feeds.example.org/own" for number in range(17)}),
    ("repositories_mode", None),
    ("repositories_mode", "prepend"),
    ("repositories_mode", ["append"]),
    ("repository_keys", "key"),
    ("repository_keys", [1]),
    ("repository_keys", ["k" * 4097]),
    ("repository_keys", ["k"] * 17),
    ("client", 17),
    ("client", "x" * 257),
    ("from_version", "yesterday"),
    ("from_version", 23.05),
    ("leave_out_missing", "perhaps"),
    ("ignored_changes", "auc-owut"),
    ("ignored_changes", ["auc owut"]),
    ("ignored_changes", [1] * 101),
]
BAD_BODIES = [
    b"",
    b"{",
    b'{"version":',
    b"[]",
    b"null",
    b"17",
    b'"x"',
    b"not json",
    b"{} {}",
    b"{}",
    b"[" * 100_000,
    b'{"rootfs_size_mb": ' + b"9" * 5000 + b"}",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b"\x00",
    b'{"version": "\xff"}',
    b"version=24.10.4",
    b"x" * 262_145,
]
REFUSED: list[dict[str, Any]] = [
    {"distro": "lede"},
    {"version": "99.99.9"},
    {"version": "17.01.4"},
    {"target": "no/such"},
    {"profile": "no_such"},
    {"defaults": "echo"},
    {"rootfs_size_mb": 10_000},
    {"repositories": {"own": "https://feeds.example.org/own"}},
    {"repository_keys": ["no key"]},
]
BAD_PATHS = [
    ("GET", "/nothing"),
    ("GET", "/%00"),
    ("GET", "/%ff%fe"),
    ("GET", "/api/v1/build/x"),
    ("GET", f"/api/v1/build/{'0' * 64}"),
    ("GET", "/api/v1/build"),
    ("DELETE", "/api/v1/build"),
    ("PUT", "/store/a/b"),
    ("GET", f"/store/{'0' * 64}/x.bin"),
    ("GET", "/api/v1/top-packages?limit=x"),
    ("GET", "/api/v1/top-packages?limit=1001"),
    ("GET", "/api/v1/builds-by-version?branch=x"),
    ("GET", "/api/v1/builds-by-version?branch=24.10.4"),
    ("GET", f"/api/v1/builds-by-version?branch={'9' * 500}"),
    ("GET", "/api/v1/revision/x/ath79/generic"),
    ("GET", "/api/v1/revision/24.10.4/no/such"),
    ("GET", "/json/v1/releases/x/targets/ath79/generic/index.json"),
    ("GET", f"/json/v1/releases/24.10.4/packages/{'a' * 500}-index.json"),
    ("POST", "/api/v1/build?skip_package_resolution=perhaps"),
]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Open one API for all tests of this module."""
    with opened() as world:
        yield world


def assert_is_a_sentence(answer: Any) -> str:
    """Check an answer of a refusal, and return its sentence."""
    body = answer.json()
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/json"
    sentences = [body["detail"], *(mistake["msg"] for mistake in body.get("errors", []))]
    for sentence in sentences:
        assert isinstance(sentence, str)
        assert 0 < len(sentence) < LONGEST
        assert sentence.isprintable()
        assert not MACHINERY.search(sentence), sentence
    return str(body["detail"])


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS, ids=lambda value: ascii(value)[:40])
def test_a_wrong_field_is_named_in_a_sentence(world: World, field: str, value: Any) -> None:
    """Both doors say the same of it."""
    answers = [
        world.client.post(path, content=json.dumps({**REQUEST, field: value}), headers=JSON)
        for path in ("/api/v1/build", "/api/v1/build/prepare")
    ]

    said = [assert_is_a_sentence(answer) for answer in answers]
    assert said[0] == said[1]
    assert f"`{field}`" in said[0]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: ascii(body[:30]))
def test_a_body_that_is_no_request_is_refused_in_a_sentence(world: World, body: bytes) -> None:
    """Whatever it is."""
    assert_is_a_sentence(world.client.post("/api/v1/build", content=body, headers=JSON))


@pytest.mark.parametrize("fields", REFUSED, ids=str)
def test_what_is_not_served_is_refused_in_a_sentence(world: World, fields: dict[str, Any]) -> None:
    """By words of its own."""
    assert_is_a_sentence(world.post({**REQUEST, **fields}))


@pytest.mark.parametrize(("method", "path"), BAD_PATHS)
def test_a_wrong_address_is_refused_in_a_sentence(world: World, method: str, path: str) -> None:
    """Options included."""
    assert_is_a_sentence(world.client.request(method, path, json=REQUEST))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"packages": ["kmod-usb@testing"]}, '"kmod-usb@testing" is not a package name'),
        ({"packages": ["a\u202e\nb"]}, r'"a\u202e\nb" is not a package name'),
        ({"packages": ["x" * 5000]}, f'"{"x" * 40}..." is not a package name'),
        ({"packages_versions": {"l@ci": "1"}}, '"l@ci" is not a package name'),
        ({"packages_versions": {"luci": "1:2"}}, '"1:2" is not a package version'),
        ({"repositories": {"own": FEED_LINE}}, "give the address alone"),
        ({"repositories": {"own feed": "https://x"}}, '"own feed" is not a name for a feed'),
        ({"profile": "tplink:archer"}, '"tplink:archer" is not the name of a profile'),
        ({"version": "v24.10.4"}, '"v24.10.4" is not a version such as 24.10.4'),
        ({"packages": {"luci": 1}}, "`packages` must be a list of package names"),
        ({"packages_versions": ["luci"]}, "`packages_versions` must be an object"),
        ({"filesystem": "ntfs"}, '"ntfs" is not a file system'),
        ({"packages": ["p"] * 1001}, "`packages` has more than 1000 entries"),
    ],
    ids=str,
)
def test_the_value_is_quoted_and_what_is_allowed_is_said(
    world: World, fields: dict[str, Any], words: str
) -> None:
    """Cut and escaped."""
    assert words in assert_is_a_sentence(world.post({**REQUEST, **fields}))


def test_every_field_says_what_it_must_be(world: World) -> None:
    """A new field of a request, or an option of a route, needs a sentence of its own."""
    options = {
        parameter["name"]
        for operations in world.client.get("/openapi.json").json()["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query" and parameter["schema"].get("type") != "string"
    }

    assert {*BuildRequest.model_fields, *options} - {"verbose"} <= set(MUST_BE)


ROOM = 250_000  # Bytes; a body may have 256 KiB.
LARGEST: dict[str, Any] = {
    "a list of zeros": [0] * (ROOM // 3),
    "a list of wrong names": ["@"] * (ROOM // 5),
    "a list of lists": [[]] * (ROOM // 4),
    "an object": {f"@{number}": 0 for number in range(ROOM // 13)},
    "an object of texts": {f"@{number}": "@" for number in range(ROOM // 15)},
    "as many wrong names as are allowed": ["@"] * 1000,
    "as many wrong entries as are allowed": {f"@{number}": 0 for number in range(1000)},
    "a text": "@" * ROOM,
    "a text of dots": "a." * (ROOM // 2),
    "a number": int("9" * 4000),
    "nested lists": json.loads("[" * 500 + "]" * 500),
}
# Seconds of processor time. They take 2 to 7 ms, and took 180 to 280 ms when pydantic looked at the
# entries of mappings before it counted them.
BUDGET = 0.06


@pytest.mark.parametrize("field", BuildRequest.model_fields)
def test_the_largest_wrong_value_costs_little(world: World, field: str) -> None:
    """One caller within the limits cannot hold the server up."""
    for kind, value in LARGEST.items():
        content = json.dumps({**REQUEST, field: value}, separators=(",", ":"))
        spent = BUDGET
        for _ in range(5):  # Other programs disturb some of them.
            if spent < BUDGET:
                break
            begun = time.process_time()
            answer = world.client.post("/api/v1/build", content=content, headers=JSON)
            spent = time.process_time() - begun

        assert_is_a_sentence(answer)
        assert spent < BUDGET, f"{kind}: {spent:.3f} s"


def test_the_table_is_large_enough() -> None:
    """At least eighty different mistakes."""
    assert len(BAD_FIELDS) + len(BAD_BODIES) + len(REFUSED) + len(BAD_PATHS) >= 80
