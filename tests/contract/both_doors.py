"""Both services on the same metadata, and what each of their refusals must be."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi.testclient import TestClient

from asu_prepare.config import Settings
from asu_prepare.main import create_app
from asu_prepare.upstream import MemoryDocuments
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import metadata, opened

API, PREPARE = "/api/v1/build/prepare", "/api/v1/prepare"
Doors = dict[str, TestClient]  # Each service by the path of its previews.
JSON = {"Content-Type": "application/json"}
LONGEST = 300
# What no person should have to read: a pattern, a word of Python or pydantic, a place in our files.
MACHINERY = re.compile(
    r"\[A-Z|\[a-z|\[0-9|\{\d+,|\^|\$'|\\d"
    r"|\b(None|True|False|dict|str|int|NoneType|Traceback|pydantic|regex|regexp|pattern)\b"
    r"|[Ii]nput should|[Vv]alue error|Field required|Exception|Error:|\bloc\b"
    r"|\.py\b|/home|/usr|/work|/opt|site-packages"
)


@contextmanager
def both_doors(
    documents: Mapping[str, Any] | None = None, *, down: bool = False, **settings: Any
) -> Iterator[Doors]:
    """Open both services on the same documents, the small world's if none are given."""
    found = metadata() if documents is None else documents
    raw = {
        path: (each if isinstance(each, str) else json.dumps(each)).encode()
        for path, each in found.items()
    }
    prepare = TestClient(create_app(Settings(), MemoryDocuments(raw, down=down)))
    with opened(upstream=MemoryUpstream(found, down=down), **settings) as world, prepare:
        yield {API: world.client, PREPARE: prepare}


def posted(doors: Doors, content: bytes | str) -> list[Any]:
    """Return the answer of each service to a body."""
    return [client.post(path, content=content, headers=JSON) for path, client in doors.items()]


def said_alike(answers: list[Any]) -> str:
    """Check that both services refuse in the same words, which are returned."""
    said = [assert_is_a_sentence(answer) for answer in answers]
    assert said[0] == said[1]
    assert answers[0].status_code == answers[1].status_code
    return said[0]


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
