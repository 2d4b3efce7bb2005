"""Both services read the same bytes as the same JSON."""

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from asu_prepare.config import Settings
from asu_prepare.main import create_app
from asu_prepare.upstream import MemoryDocuments
from tests.unit.worlds import REQUEST, metadata, opened

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
}


@pytest.fixture(scope="module")
def doors() -> Iterator[dict[str, TestClient]]:
    """Open both services on the same metadata."""
    prepare = TestClient(create_app(Settings(), MemoryDocuments(metadata())))
    with opened() as world, prepare:
        yield {"/api/v1/build/prepare": world.client, "/api/v1/prepare": prepare}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_both_doors_read_the_same(doors: dict[str, TestClient], body: bytes) -> None:
    """What one takes for a request, the other takes for the same request."""
    answers = [
        client.post(path, content=body, headers={"Content-Type": "application/json"})
        for path, client in doors.items()
    ]

    assert answers[0].is_success == answers[1].is_success, [answer.text for answer in answers]
    if answers[0].is_success:
        said = [answer.json()["prepared_request"] for answer in answers]
        assert said[0] == said[1]
    else:
        assert {answer.is_client_error for answer in answers} == {True}
