"""A build whose images are signed: what is published, what is answered, and what is never told."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from asu.records.build_record import State
from asu.worker.signing_key import make_signing_key
from tests.signed_images import read_signed
from tests.stored import stored_bytes
from tests.unit.job_world import World, body_of, new_world

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Return a new key to sign with."""
    path = tmp_path / "key"
    make_signing_key(path)
    return path


@pytest.fixture
def world(tmp_path: Path, key: Path) -> World:
    """Return a world whose worker signs."""
    return new_world(tmp_path / "store", build_key=key)


def published(world: World, name: str) -> bytes:
    """Return the bytes of a published file."""
    return stored_bytes(world.store, world.key, name)


def test_the_answer_tells_the_hash_of_the_signed_image(world: World) -> None:
    """What clients compare their download with are the bytes that they get; what was built is told
    beside it.
    """
    body = body_of(world.build())

    assert {image["type"] for image in body["images"]} == {"sysupgrade", "factory"}
    for image in body["images"]:
        content = published(world, image["name"])
        assert hashlib.sha256(content).hexdigest() == image["sha256"]
        assert hashlib.sha256(read_signed(content).message).hexdigest() == image["sha256_unsigned"]


def test_the_published_list_says_what_the_answer_says(world: World) -> None:
    """profiles.json in the store and the answer name the same images."""
    body = body_of(world.build())

    assert (
        json.loads(published(world, "profiles.json"))["profiles"][body["id"]]["images"]
        == body["images"]
    )


def test_a_build_that_cannot_be_signed_publishes_nothing(world: World) -> None:
    """An image that is not what its builder says is never served; the failure is ours and is tried
    again.
    """
    world.script.wrong_unsigned_hash = True

    record = world.build()

    assert record.state is State.FAILED
    assert (body_of(record)["code"], body_of(record)["fault"]) == ("signing-failed", "infra")
    assert not world.store.has(world.key)


def test_the_key_is_in_no_answer_and_in_no_container(world: World, key: Path) -> None:
    """The builder, which runs what others wrote, gets nothing of the key; neither does anybody who
    asks.
    """
    record = world.build()

    told = b"".join([*world.records.bodies, record.body]).decode()
    [container] = world.engine.containers
    given = repr([container.commands, container.files])
    assert not any(
        word in place
        for word in (key.read_text().splitlines()[1], str(key))
        for place in (told, given)
    )
