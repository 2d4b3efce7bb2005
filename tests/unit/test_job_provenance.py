"""A build and its provenance: which builder ran, what is published beside the images, and who
signed it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from asu.keys.usign import read_public_key
from asu.provenance.envelope import PROVENANCE_FILE, Envelope, read_envelope, signed_message
from asu.provenance.statement import Provenance, read_statement
from asu.records.build_record import State
from asu.stores.manifest import MANIFEST, read_manifest
from asu.worker.signing_key import make_signing_key
from tests.stored import stored_bytes
from tests.twins.memory_container import regular
from tests.unit.job_world import SCRIPT, World, body_of, new_world

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world with an empty store."""
    return new_world(tmp_path)


def envelope_of(world: World) -> Envelope:
    """Return the published envelope."""
    return read_envelope(stored_bytes(world.store, world.key, PROVENANCE_FILE))


def provenance_of(world: World) -> Provenance:
    """Return what the published provenance says."""
    return read_statement(envelope_of(world).payload)


def test_the_builder_is_pinned_for_the_attempt(world: World) -> None:
    """The name is looked up once; what is run, told and written down is the image that it led to
    then.
    """
    world.script.before["start"] = lambda: setattr(world.script, "revision", "r1-another")
    body = body_of(world.build())

    [started] = world.engine.started
    assert started == world.engine.pinned[0]
    assert body["builder_digest"] == started.digest == provenance_of(world).builder.digest


def test_a_failed_build_tells_its_builder_too(world: World) -> None:
    """Whoever looks into a failure knows which builder it was."""
    world.script.wrong_hash = True

    record = world.build()

    assert record.state is State.FAILED
    assert body_of(record)["builder_digest"] == world.engine.started[0].digest


def test_every_published_file_is_a_subject(world: World, tmp_path: Path) -> None:
    """The provenance names all files but itself, with their hashes; the store's manifest knows it
    as one more.
    """
    body = body_of(world.build())

    manifest = read_manifest((tmp_path / world.key / MANIFEST).read_bytes(), world.key)
    assert manifest is not None
    published = {file.name: file.sha256 for file in manifest.files}
    assert published.pop(PROVENANCE_FILE)
    assert provenance_of(world).files == published
    assert {image["name"] for image in body["images"]} <= published.keys()


def test_the_answer_tells_of_it_and_offers_it_as_no_image(world: World) -> None:
    """Clients that list the images see no difference."""
    body = body_of(world.build())

    assert body["provenance"] == "provenance.intoto.jsonl"
    assert body["provenance"] not in [image["name"] for image in body["images"]]


def test_it_says_what_was_built_from_what(world: World) -> None:
    """Packages as the answer lists them, feeds with the hash of their index, the attempt, and the
    builder's name.
    """
    body = body_of(world.build())
    provenance = provenance_of(world)

    assert provenance.packages == body["manifest"]
    assert provenance.feeds == ("https://mirror.example/base",)
    assert provenance.builder.name == next(iter(world.engine.images))
    assert provenance.builder.revision == body["version_code"]
    assert provenance.invocation == f"{world.key}/{world.records.last_number(world.key)}"
    assert provenance.builder_id == f"urn:x-asu:system:{world.records.system()}"
    assert hashlib.sha256(b"openwrt_base").hexdigest().encode() in envelope_of(world).payload


def test_an_index_without_a_known_feed_stands_for_itself(world: World) -> None:
    """Copies of indexes that apk names by a hash of the address; they are told, though not of which
    feed each is.
    """
    world.script.repositories, world.script.indexes = (
        "https://feeds.example/packages.adb\n",
        ("APKINDEX.0123abcd.tar.gz",),
    )

    world.build(version="25.12.1")

    assert provenance_of(world).feeds == ("https://feeds.example/packages.adb",)
    assert b"feed/APKINDEX.0123abcd.tar.gz" in envelope_of(world).payload


def test_the_operator_may_name_the_builder(tmp_path: Path) -> None:
    """BUILDER_ID is what a provenance calls this server."""
    world = new_world(tmp_path, builder_id="https://firmware.example/")
    world.build()

    assert provenance_of(world).builder_id == "https://firmware.example/"


def test_without_a_key_it_is_not_signed(world: World) -> None:
    """An envelope without signatures says what it is."""
    world.build()

    assert envelope_of(world).seals == ()


def test_with_a_key_it_is_signed_by_it(tmp_path: Path) -> None:
    """The signature is that of the images' key, which is named by its number, and the hashes are
    those of the signed images.
    """
    make_signing_key(tmp_path / "key")
    key = read_public_key((tmp_path / "key.pub").read_text())
    world = new_world(tmp_path / "store", build_key=tmp_path / "key")

    body = body_of(world.build())

    envelope = envelope_of(world)
    [seal] = envelope.seals
    assert seal.key_id == key.fingerprint.hex()
    assert key.verifies(signed_message(envelope.payload), seal.signature)
    assert not key.verifies(envelope.payload, seal.signature)
    assert {image["sha256"] for image in body["images"]} <= set(provenance_of(world).files.values())


def test_a_first_boot_script_is_in_no_provenance(world: World) -> None:
    """Neither as text nor as a hash of its own."""
    world.build(defaults=SCRIPT)

    payload = envelope_of(world).payload
    assert provenance_of(world).has_script
    assert b"do not tell" not in payload
    assert hashlib.sha256(SCRIPT.encode()).hexdigest().encode() not in payload


def test_a_provenance_of_the_builders_own_is_not_published(world: World) -> None:
    """What ran in the container cannot speak for the server."""
    world.script.extra.append((regular(f"{world.key}/{PROVENANCE_FILE}", b"forged"), b"forged"))

    world.build()

    assert provenance_of(world).key == world.key
    assert PROVENANCE_FILE not in provenance_of(world).files
