"""Every refusal of both services is a sentence for people, and no wrong body takes them long."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from asu.build_request import BuildRequest
from asu.resolution.request_mistakes import MUST_BE
from tests.contract.both_doors import (
    API,
    JSON,
    PREPARE,
    Doors,
    assert_is_a_sentence,
    both_doors,
    posted,
    said_alike,
)
from tests.unit.fixtures.feed_keys import PEM, USIGN
from tests.unit.worlds import REQUEST, opened

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
WRONG: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**400,
    "",
    " ",
    "x" * 300,
    "a b",
    "a@b",
    ".a.",
    "a:b",
    "$(id)",
    "<b>a</b>",
    "\u00e9\u202e",
    "a\n",
    "\0",
    "\ud800",
    "src/gz own https://example.org/own",
    [],
    [None],
    [0],
    [[]],
    [{}],
    ["a b"],
    ["<b>"],
    ["x" * 5000],
    ["$(id)"] * 1001,
    {},
    {"a": None},
    {"a": 0},
    {"a": []},
    {"a": "b c"},
    {"<b>": "<b>"},
    {"a b": "c"},
    {"x" * 300: "c"},
    {"": ""},
    {f"a{number}": "@" for number in range(1001)},
]
# What is well formed and not served; whether both services say so.
REFUSED: list[tuple[dict[str, Any], bool]] = [
    ({"distro": "lede"}, True),
    ({"version": "99.99.9"}, True),
    ({"version": "17.01.4"}, True),
    ({"target": "no/such"}, True),
    ({"target": "a" * 64 + "/" + "b" * 64}, True),
    ({"profile": "no_such"}, True),
    ({"profile": "n" * 128}, True),
    ({"defaults": "echo"}, False),
    ({"rootfs_size_mb": 10_000}, False),
    ({"rootfs_size_mb": 57_000}, False),
    ({"repositories": {"own": "https://feeds.example.org/own"}}, False),
    ({"repository_keys": ["no key"]}, False),
    ({"repository_keys": [""]}, False),
    ({"repository_keys": ["\u202e<b>" * 500]}, False),
    ({"repository_keys": ["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]}, False),
]
OWN = "https://feeds.example.org/own"
# Feeds of one request, where the operator admits some.
BAD_FEEDS: list[dict[str, Any]] = [
    *(
        {"repositories": {"own": address}}
        for address in (
            "ftp://feeds.example.org/own",
            "feeds.example.org",
            "https://",
            "https://10.0.0.1/own",
            "https://010.0.0.1/own",
            "https://[::1]/own",
            "https://u:p@feeds.example.org/own",
            "https://feeds.example.org:99999/own",
            "https://feeds.example.org/../own",
            "https://feeds.example.org//own",
            "https://feeds.example.org/own?a=b",
            "https://feeds.example.org/own/$(id)",
            "https://feeds.example.org/" + "x" * 480,
            "https://other.example.org/" + "x" * 480,
            "https://other.example.org/%5b%41-%5a%5d",
            f"{OWN}/Packages.gz",
        )
    ),
    {"repositories": {"openwrt_core": OWN}},
    {"repositories": {"imagebuilder": OWN}},
    {"repository_keys": [USIGN]},
    {"repositories": {"own": OWN}, "repository_keys": [USIGN, "no key"]},
    {"repositories": {"own": OWN}, "repository_keys": [PEM]},
    {"repositories": {"own": OWN}, "repository_keys": [PEM.replace("PUBLIC", "PRIVATE")]},
    {"repositories": {"own": OWN}, "repository_keys": [PEM.replace("M", "N")]},
    {"repositories": {"own": OWN}, "repository_keys": ["\0\x1b[31m" * 500]},
]
BAD_PATHS = {
    API: [
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
    ],
    PREPARE: [
        ("GET", "/nothing"),
        ("GET", "/%00"),
        ("GET", "/%ff%fe"),
        ("GET", "/static/swagger-ui/none.js"),
        ("GET", "/api/v1/prepare"),
        ("DELETE", "/api/v1/prepare"),
        ("POST", "/api/v1/prepare?solve=perhaps"),
        ("POST", "/livez"),
    ],
}


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    """Open both services for all tests of this module."""
    with both_doors() as doors:
        yield doors


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS, ids=lambda value: ascii(value)[:40])
def test_a_wrong_field_is_named_in_a_sentence(doors: Doors, field: str, value: Any) -> None:
    """Previews and builds say the same of it."""
    content = json.dumps({**REQUEST, field: value})
    said = said_alike(posted(doors, content))

    assert f"`{field}`" in said
    assert doors[API].post("/api/v1/build", content=content, headers=JSON).json()["detail"] == said


@pytest.mark.parametrize("field", BuildRequest.model_fields)
def test_any_wrong_value_of_any_field_is_named_in_a_sentence(doors: Doors, field: str) -> None:
    """Each value is taken by both services or refused by both, in the same words."""
    refused = 0
    for value in WRONG:
        answers = posted(doors, json.dumps({**REQUEST, field: value}))
        if {answer.status_code for answer in answers} & {422}:
            assert f"`{field}`" in said_alike(answers)
            refused += 1

    assert refused > len(WRONG) / 3


@pytest.mark.parametrize("fields", [{}, *({name: None} for name in REQUEST)], ids=str)
def test_what_is_missing_is_named(doors: Doors, fields: dict[str, Any]) -> None:
    """One field that is needed, or all of them."""
    request = {name: value for name, value in REQUEST.items() if fields and name not in fields}
    answers = posted(doors, json.dumps(request))

    if {answer.is_success for answer in answers} != {True}:
        assert "is missing" in said_alike(answers)


@pytest.mark.parametrize(("fields", "by_both"), REFUSED, ids=lambda value: ascii(value)[:60])
def test_what_is_not_served_is_refused_in_a_sentence(
    doors: Doors,
    fields: dict[str, Any],
    by_both: bool,  # noqa: FBT001
) -> None:
    """By words of its own."""
    answers = posted(doors, json.dumps({**REQUEST, **fields}))

    for answer in answers if by_both else answers[:1]:
        assert_is_a_sentence(answer)


@pytest.mark.parametrize("more", [[], [f"https://{n}.example/{'y' * 90}" for n in "abcde"]])
@pytest.mark.parametrize("first", [OWN, "https://feeds.example.org/" + "y" * 300])
def test_a_feed_that_is_not_admitted_is_refused_in_a_sentence(first: str, more: list[str]) -> None:
    """However long the operator's list is."""
    with opened(repository_allow_list=[first, *more]) as world:
        for fields in BAD_FEEDS:
            said = assert_is_a_sentence(world.post({**REQUEST, **fields}))
            assert re.search(
                r"own|feeds\.ex|imagebuilder|openwrt_core|`repository_keys`|other\.", said
            )


@pytest.mark.parametrize(
    ("door", "method", "path"),
    [(door, *one) for door, bad in BAD_PATHS.items() for one in bad],
)
def test_a_wrong_address_is_refused_in_a_sentence(
    doors: Doors, door: str, method: str, path: str
) -> None:
    """Options included."""
    assert_is_a_sentence(doors[door].request(method, path, json=REQUEST))


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
    doors: Doors, fields: dict[str, Any], words: str
) -> None:
    """Cut and escaped."""
    assert words in said_alike(posted(doors, json.dumps({**REQUEST, **fields})))


def test_every_field_says_what_it_must_be(doors: Doors) -> None:
    """A new field of a request, or an option of a route, needs a sentence of its own."""
    options = {
        parameter["name"]
        for client in doors.values()
        for operations in client.get("/openapi.json").json()["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query" and parameter["schema"].get("type") != "string"
    }

    assert {*BuildRequest.model_fields, *options} - {"verbose"} <= set(MUST_BE)


def large_values(room: int, entries: int) -> dict[str, Any]:
    """Return wrong values of about `room` bytes or with `entries` entries."""
    return {
        "a list of zeros": [0] * (room // 3),
        "a list of wrong names": ["@"] * (room // 5),
        "a list of lists": [[]] * (room // 4),
        "an object": {f"@{number}": 0 for number in range(room // 13)},
        "an object of texts": {f"@{number}": "@" for number in range(room // 15)},
        "wrong names": ["@"] * entries,
        "long wrong names": ["@" * (room // entries - 4)] * entries,
        "wrong entries": {f"@{number}": 0 for number in range(entries)},
        "wrong entries of texts": {f"@{number}": "@" for number in range(entries)},
        "a text": "@" * room,
        "a text of dots": "a." * (room // 2),
        "a number": int("9" * 4000),
        "nested lists": json.loads("[" * 500 + "]" * 500),
    }


LARGEST = large_values(250_000, 1000)  # Bytes; a body may have 256 KiB.
SMALLER = large_values(250_000 // len(BuildRequest.model_fields), 16)
# Seconds of processor time, the client's included. They take 2 to 9 ms, and took 180 to 400 ms when
# pydantic looked at all entries before it counted them.
BUDGET = 0.02


@pytest.mark.parametrize("door", [API, PREPARE])
@pytest.mark.parametrize("field", [*BuildRequest.model_fields, "all of them"])
def test_the_largest_wrong_value_costs_little(doors: Doors, field: str, door: str) -> None:
    """One caller within the limits cannot hold a server up."""
    fields = list(BuildRequest.model_fields)
    for kind, value in LARGEST.items():
        wrong = {field: value} if field in fields else dict.fromkeys(fields, SMALLER[kind])
        content = json.dumps({**REQUEST, **wrong}, separators=(",", ":"))
        spent = BUDGET
        for _ in range(8):  # Other programs disturb some of them.
            if spent < BUDGET:
                break
            begun = time.process_time()
            answer = doors[door].post(door, content=content, headers=JSON)
            spent = time.process_time() - begun

        assert assert_is_a_sentence(answer)
        assert answer.status_code == 422
        assert spent < BUDGET, f"{kind}: {spent:.3f} s"


def test_the_table_is_large_enough() -> None:
    """At least eighty different mistakes."""
    paths = sum(map(len, BAD_PATHS.values()))
    assert len(BAD_FIELDS) + len(REFUSED) + len(BAD_FEEDS) + paths >= 80
