"""Several who ask for one image: what one of them said of himself is told to none, whichever of
them came first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asu.errors import ContainerFailed
from asu.resolution.request_hash import NOT_IDENTITY
from tests.unit.worlds import REQUEST, World, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

# All that two requests for the same image may differ in.
FIRST = {
    "client": "EVIL <script>",
    "from_version": "23.05.9",
    "ignored_changes": ["evil-rule"],
    "leave_out_missing": True,
}
NOBODYS: dict[str, Any] = {
    "client": None,
    "from_version": None,
    "ignored_changes": [],
    "leave_out_missing": False,
}


@pytest.fixture
def world() -> Iterator[World]:
    """Return an API over in-memory parts."""
    with opened() as world:
        yield world


def told(answer: Any) -> dict[str, Any]:
    """Return what an answer says was asked for, and see that the first one's words are nowhere in
    it.
    """
    assert not any(word in answer.text for word in ("EVIL", "23.05.9", "evil-rule"))
    request: dict[str, Any] = answer.json()["request"]
    return {name: request[name] for name in FIRST}


def test_the_fields_are_those_that_are_no_identity() -> None:
    """But for the distribution, of which only one is served, and for what says how to sort."""
    assert FIRST.keys() | {"distro", "any_order"} == NOT_IDENTITY.keys()


def test_the_words_of_whoever_came_first_are_told_to_nobody(world: World) -> None:
    """Neither while it is built nor when it is finished; the fields stay, as clients know them."""
    # A resolution might take the version from which he comes into account.
    prepared = "?skip_package_resolution=true"
    key = world.key({**REQUEST, **FIRST}, prepared)
    attempt, progress = world.start(key)
    running = world.post(REQUEST, prepared)
    world.records.finish(attempt, progress.failed(ContainerFailed(reason="none")), 100)
    failed = world.client.get(f"/api/v1/build/{key}")
    world.key({**REQUEST, **FIRST}, prepared)
    world.finish(key)
    finished = world.post(REQUEST, prepared)

    assert (running.status_code, failed.status_code, finished.status_code) == (202, 500, 200)
    assert {answer.json()["request_hash"] for answer in (running, failed, finished)} == {key}
    assert told(running) == told(failed) == told(finished) == NOBODYS


def test_a_worker_is_not_told_who_asked(world: World) -> None:
    """What is kept of a build, in records and beside its files, has nothing that only one of its
    askers said.
    """
    attempt, _ = world.start(world.key({**REQUEST, **FIRST}, "?skip_package_resolution=true"))

    assert attempt.plan["request"].items() >= NOBODYS.items()
    assert attempt.plan["request"]["packages"] == REQUEST["packages"]
