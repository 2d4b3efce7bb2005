"""Each payload in each field of a request: refused at the door, and nothing is put in line."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.injection import PAYLOADS
from tests.unit.worlds import REQUEST, World, opened

# How a text gets into each field; what is free text by design (`client`, `defaults`) goes to no
# command, as another ring shows.
FIELDS: dict[str, Any] = {
    "version": lambda text: text,
    "version_code": lambda text: text,
    "target": lambda text: text,
    "target after a slash": lambda text: f"ath79/{text}",
    "profile": lambda text: text,
    "packages": lambda text: ["vim", text],
    "packages_versions, a name": lambda text: {text: "1.0"},
    "packages_versions, a version": lambda text: {"vim": text},
    "filesystem": lambda text: text,
    "rootfs_size_mb": lambda text: text,
    "diff_packages": lambda text: text,
    "repositories, a name": lambda text: {text: "https://feeds.example.org/x"},
    "repositories, an address": lambda text: {"own": text},
    "repositories, a path": lambda text: {"own": f"https://feeds.example.org/{text}"},
    "repositories_mode": lambda text: text,
    "repository_keys": lambda text: [text],
    "from_version": lambda text: text,
    "distro": lambda text: text,
}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Open one API for all payloads, which leave nothing in it."""
    with opened() as world:
        yield world


@pytest.mark.parametrize("field", FIELDS)
def test_a_payload_is_refused(world: World, field: str) -> None:
    """A request with it is a mistake of the client, and no build."""
    name = field.partition(",")[0].partition(" ")[0]
    for payload in PAYLOADS.values():
        answer = world.client.post("/api/v1/build", json={**REQUEST, name: FIELDS[field](payload)})
        assert answer.status_code in (400, 422), (payload, answer.text)
    assert world.queue.tickets == 0
    assert world.records.due_keys() == []
