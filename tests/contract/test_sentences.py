"""Every refusal of both services is a sentence for people, and no wrong body takes them long."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from asu.build_request import BuildRequest
from asu.resolution.request_mistakes import MUST_BE
from tests.contract.bad_requests import (
    BAD_FEEDS,
    BAD_FIELDS,
    BAD_PATHS,
    FEED_LINE,
    HOSTILE,
    OWN,
    REFUSED,
    WRONG,
)
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
from tests.unit.worlds import REQUEST, opened


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    """Open both services for all tests of this module."""
    with both_doors() as doors:
        yield doors


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS, ids=lambda value: ascii(value)[:40])
def test_a_wrong_field_is_named_in_a_sentence(doors: Doors, field: str, value: Any) -> None:
    """Previews and builds say the same of it."""
    content = json.dumps({**REQUEST, field: value})
    answers = posted(doors, content)
    said = said_alike(answers)
    places = [[mistake["loc"] for mistake in answer.json()["errors"]] for answer in answers]

    assert f"`{field}`" in said
    assert places[0] == [["body", *place] for place in places[1]]
    assert {place[0] for place in places[1]} == {field}
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


@pytest.mark.parametrize("door", [API, PREPARE])
def test_every_route_refuses_in_sentences(doors: Doors, door: str) -> None:
    """With each hostile part of its path, each wrong option, and by each method."""
    client, refused = doors[door], 0
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        named = [one for each in operations.values() for one in each.get("parameters", [])]
        options = [one["name"] for one in named if one["in"] == "query"]
        for value in HOSTILE:
            place = re.sub(r"\{\w+\}", value.replace("\\", r"\\"), path)
            asked = [place, *(f"{place}?{name}={value}" for name in options)]
            for method in ("GET", "POST", "DELETE", "PATCH"):
                for one in asked:
                    answer = client.request(method, one, json={})
                    if answer.is_client_error:
                        assert_is_a_sentence(answer)
                        refused += 1

    assert refused > 100


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"packages": ["kmod-usb@testing"]}, '"kmod-usb@testing" is not a package name'),
        ({"packages": ["a\u202e\nb"]}, r'"a\u202e\nb" is not a package name'),
        ({"packages": ["x" * 5000]}, f'"{"x" * 40}..." is not a package name'),
        ({"packages_versions": {"l@ci": "1"}}, '"l@ci" is not a package name'),
        ({"packages_versions": {"luci": "1:2"}}, '"1:2" for luci is not a package version'),
        ({"repositories": {"own": FEED_LINE}}, "for own is not the address of a feed; give"),
        ({"repositories": {"own": FEED_LINE}}, "give the address alone"),
        ({"repositories": [FEED_LINE]}, "must be an object of feed names and addresses, such as"),
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
