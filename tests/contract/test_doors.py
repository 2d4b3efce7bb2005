"""Both services read the same bytes as the same JSON."""

import json
from collections.abc import Iterator

import pytest

from tests.contract.both_doors import Doors, both_doors, posted, said_alike
from tests.unit.worlds import REQUEST

TEXT = json.dumps(REQUEST)
BODIES: dict[str, bytes] = {
    "UTF-8": TEXT.encode(),
    "UTF-8 with a byte order mark": TEXT.encode("utf-8-sig"),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 without a byte order mark": TEXT.encode("utf-16-le"),
    "UTF-32": TEXT.encode("utf-32"),
    "Latin-1": TEXT.replace("{", '{"client": "\u00e9", ').encode("latin-1"),
    "white space around it": f" \r\n\t{TEXT}\n ".encode(),
    "something behind it": f"{TEXT} x".encode(),
    "two of them": (TEXT + TEXT).encode(),
    "cut off": TEXT.encode()[:-1],
    "a name that comes twice": TEXT.replace("{", '{"version": "1.2", ').encode(),
    "an integer of 4000 digits": TEXT.replace("{", '{"more": ' + "9" * 4000 + ", ").encode(),
    "an integer of 5000 digits": TEXT.replace("{", '{"more": ' + "9" * 5000 + ", ").encode(),
    "infinity": TEXT.replace("{", '{"more": 1e999, ').encode(),
    "no number": TEXT.replace("{", '{"more": NaN, ').encode(),
    "a lone surrogate": TEXT.replace("{", r'{"client": "\ud800", ').encode(),
    "nested deeply": TEXT.replace("{", '{"more": ' + "[" * 500 + "]" * 500 + ", ").encode(),
    "nested without end": TEXT.replace("{", '{"more": ' + "[" * 90_000).encode(),
    "a zero byte": TEXT.encode() + b"\0",
    "a comment": f"{TEXT}//".encode(),
    "a comma at its end": TEXT.replace("}", ",}").encode(),
    "nothing": b"",
    "white space": b" \r\n",
    "nothing but a byte order mark": b"\xef\xbb\xbf",
    "half of UTF-16": TEXT.encode("utf-16")[:-1],
    "a list": b"[]",
    "null": b"null",
    "a number": b"17",
    "a text": b'"x"',
    "an empty object": b"{}",
    "single quotes": TEXT.replace('"', "'").encode(),
    "a negative infinity": TEXT.replace("{", '{"more": -Infinity, ').encode(),
    "a size without end": TEXT.replace("{", '{"rootfs_size_mb": ' + "9" * 5000 + ", ").encode(),
    "a large size": TEXT.replace("{", '{"rootfs_size_mb": ' + "9" * 4000 + ", ").encode(),
    "an infinite size": TEXT.replace("{", '{"rootfs_size_mb": 1e999, ').encode(),
    "no size": TEXT.replace("{", '{"rootfs_size_mb": NaN, ').encode(),
    "a field that comes twice": TEXT.replace("}", ', "version": 1}').encode(),
    "a control character in a text": TEXT.replace("{", '{"client": "\x01", ').encode(),
    "a half of a character": TEXT.replace("{", '{"client": "\u00e9", ').encode()[:-2],
    "a form": b"version=24.10.4&target=ath79%2Fgeneric",
}


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    """Open both services for all tests of this module."""
    with both_doors() as doors:
        yield doors


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_both_doors_read_the_same(doors: Doors, body: bytes) -> None:
    """What one takes for a request, the other takes for the same; both refuse in the same words."""
    answers = posted(doors, body)

    if answers[0].is_success:
        said = [answer.json()["prepared_request"] for answer in answers]
        assert said[0] == said[1]
    else:
        said_alike(answers)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "a/b/c"])
def test_both_doors_want_json(doors: Doors, kind: str | None) -> None:
    """A form of another page's would come without a preflight."""
    headers = {"Content-Type": kind} if kind else {}
    answers = [client.post(path, content=TEXT, headers=headers) for path, client in doors.items()]

    assert "Content-Type: application/json" in said_alike(answers)
