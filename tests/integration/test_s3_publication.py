"""Attempts of one build that meet in a bucket: none writes where another's files lie, and the
manifest alone says whose are served.
"""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from asu.errors import QueueUnavailable, StoreFailed
from asu.stores import open_store
from asu.stores.manifest import ACCOUNT, MANIFEST
from asu.stores.store import StoreUsage
from tests.contract.test_publication import PublicationContract, answers, nothing
from tests.contract.test_store import LIFETIMES, A, B, gather, publish, read
from tests.integration.test_s3_store import PREFIX, address, names, object_of, s3_settings
from tests.s3_server import Faults, ask, faulty, make_bucket, running_s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asu.settings import Settings
    from asu.stores.store import Store


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Faults]]:
    """Run one server for all tests of this module, behind a proxy that remembers what it was
    asked.
    """
    with running_s3() as url, faulty(url) as proxy:
        yield proxy


@pytest.fixture
def settings(server: tuple[str, Faults], tmp_path: Path) -> Settings:
    """Return the settings of a store in an empty bucket."""
    bucket = f"images-{secrets.token_hex(4)}"
    make_bucket(server[0], bucket)
    return s3_settings(server[0], bucket, tmp_path)


@pytest.fixture
def store(settings: Settings) -> Store:
    """Return an empty store."""
    return open_store(settings)


class TestS3Publication(PublicationContract):
    """The bucket."""


def test_the_question_comes_right_before_the_manifest(
    store: Store, server: tuple[str, Faults]
) -> None:
    """All else is in the bucket by then, and nothing was removed from it."""
    publish(store, a_bin="earlier")
    place, seen = gather(store, a_bin="mine"), server[1].seen

    def look() -> None:
        seen.clear()

    assert store.publish(A, place, 1000, is_current=answers((look, True), (nothing, True)))
    assert [(request.method, request.path.rpartition("/")[2]) for request in seen] == [
        ("PUT", MANIFEST),
        ("DELETE", "a.bin"),
        ("DELETE", A),  # What may have been kept of an earlier failure.
    ]


def test_an_attempt_writes_where_no_other_does(store: Store, settings: Settings) -> None:
    """However late it is, and whatever comes of it, the files that are served are those of the
    later attempt; its own go.
    """
    publish(store, a_bin="later")
    served = names(settings)
    here: list[str] = []

    assert not store.publish(
        A,
        gather(store, a_bin="mine"),
        1000,
        is_current=answers((lambda: here.extend(names(settings)), False)),
    )
    assert set(served) < set(here)
    assert names(settings) == served
    assert read(store, "a.bin") == "later"


def test_a_file_that_is_read_while_it_is_replaced_is_not_mixed(store: Store) -> None:
    """What was found is read as it was, or is gone."""
    publish(store, a_bin="earlier")
    file = store.find(A, "a.bin")
    assert file
    publish(store, a_bin="laterly")

    assert store.content(file, 0, 7) is None
    assert read(store, "a.bin") == "laterly"


def test_an_upload_that_fails_leaves_nothing(
    store: Store, server: tuple[str, Faults], settings: Settings
) -> None:
    """A bucket without room would be filled by each try; what was published before stays."""
    publish(store, a_bin="earlier")
    served = names(settings)
    server[1].fails = lambda request: request.method == "PUT" and request.path.endswith("z.bin")
    try:
        with pytest.raises(StoreFailed):
            publish(store, a_bin="mine", z_bin="mine")
    finally:
        server[1].heal()

    assert (names(settings), read(store, "a.bin")) == (served, "earlier")


@pytest.mark.parametrize("error", [QueueUnavailable(), SystemExit(1)])
def test_an_upload_whose_right_is_unknown_leaves_nothing(
    store: Store, settings: Settings, error: BaseException
) -> None:
    """Redis stays away, or the worker is told to end."""

    def ask_in_vain() -> bool:
        raise error

    with pytest.raises(type(error)):
        store.publish(A, gather(store, a_bin="mine"), 1000, is_current=ask_in_vain)

    assert names(settings) == []


def test_what_a_bucket_kept_of_a_failed_upload_is_no_build(
    store: Store, server: tuple[str, Faults], settings: Settings
) -> None:
    """Its bytes count, since they take room; the failure that is told is the first."""
    publish(store, B, a_bin="12345")
    server[1].fails = lambda request: (
        request.method == "DELETE" or (request.method == "PUT" and request.path.endswith("z.bin"))
    )
    try:
        with pytest.raises(StoreFailed) as caught:
            publish(store, a_bin="123", z_bin="mine")
    finally:
        server[1].heal()

    assert "not published" in caught.value.detail
    assert len(names(settings)) == 3
    assert store.usage() == StoreUsage(builds=1, bytes=8)


def publish_as_earlier_releases_did(settings: Settings, *, lifetime: int) -> None:
    """Put a build into the bucket whose files lie right under its key."""
    now = datetime.now(UTC)
    times = {
        "published": now.isoformat(),
        "expires": (now + timedelta(seconds=lifetime)).isoformat(),
    }
    files = [{"name": "a.bin", "size": 5, "sha256": sha256(b"image").hexdigest()}]
    for name, content in (
        ("a.bin", b"image"),
        (ACCOUNT, b"account"),
        (MANIFEST, json.dumps({"version": 1, "key": A, **times, "files": files}).encode()),
    ):
        ask(address(settings, f"{PREFIX}{A}/{name}"), "PUT", content)


def test_a_bucket_of_an_earlier_release_is_read(store: Store, settings: Settings) -> None:
    """Builds whose manifest names no publication are served, sent clients to, and recovered
    from.
    """
    publish_as_earlier_releases_did(settings, lifetime=1000)
    sent = open_store(
        settings.model_copy(update={"s3_public_url": "https://images.example.org"})
    ).find(A, "a.bin")

    assert (store.has(A), read(store, "a.bin"), store.account(A)) == (True, "image", b"account")
    assert store.usage() == StoreUsage(builds=1, bytes=5)
    assert [build.bytes for build in store.builds()] == [5]
    assert sent
    assert sent.url == f"https://images.example.org/{PREFIX}{A}/a.bin"


def test_a_build_of_an_earlier_release_ends_as_others_do(store: Store, settings: Settings) -> None:
    """Replaced as a whole, or removed after its time."""
    publish_as_earlier_releases_did(settings, lifetime=1000)
    publish(store, a_bin="anew")
    assert names(settings) == [f"{PREFIX}{A}/{MANIFEST}", object_of(settings, "a.bin")]

    store.remove(A, -1)
    publish_as_earlier_releases_did(settings, lifetime=-2000)
    assert store.expire(LIFETIMES, lambda _: False) == [A]
    assert names(settings) == []
