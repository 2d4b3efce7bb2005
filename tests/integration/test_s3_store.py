"""The store in a bucket: the contract of all stores on a real S3-compatible server, and what is its
own.
"""

from __future__ import annotations

import json
import multiprocessing
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from asu.errors import StoreFailed
from asu.settings import Settings
from asu.stores import open_store
from asu.stores.manifest import MANIFEST
from asu.stores.s3 import S3Store
from asu.stores.store import Lifetimes
from tests.contract.test_store import LIFETIMES, A, B, StoreContract, gather, part, publish, read
from tests.s3_server import Faults, ask, faulty, make_bucket, running_s3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asu.stores.store import Store

PREFIX = "images/"
# As if all had been left ten seconds ago.
AT_ONCE = Lifetimes(grace=0, undocumented=0, workplaces=-10)
SECRET = "do-not-tell"  # noqa: S105  # It opens nothing.


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Faults]]:
    """Run one server for all tests of this module, behind a proxy that can fail."""
    with running_s3() as url, faulty(url) as proxy:
        yield proxy


@pytest.fixture
def faults(server: tuple[str, Faults]) -> Iterator[Faults]:
    """Return what goes wrong; nothing is wrong any more when the test has ended."""
    _, faults = server
    faults.seen.clear()
    yield faults
    faults.heal()


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


def s3_settings(url: str, bucket: str, directory: Path, **more: Any) -> Settings:
    """Return settings that name a bucket."""
    secret = {"s3_access_key_id": "tester", "s3_secret_access_key": SECRET}
    return Settings(
        **{
            "s3_bucket": bucket,
            "s3_endpoint_url": url,
            "s3_prefix": PREFIX,
            "store_path": directory / "work",
            **secret,
            **more,
        }
    )


def address(settings: Settings, name: str) -> str:
    """Return where an object of the bucket is."""
    return f"{settings.s3_endpoint_url}/{settings.s3_bucket}/{name}"


def names(settings: Settings) -> list[str]:
    """List the objects of the bucket past the store."""
    _, listing = ask(address(settings, "?list-type=2"))
    return [piece.partition("<")[0] for piece in listing.decode().split("<Key>")[1:]]


def object_of(settings: Settings, name: str, key: str = A) -> str:
    """Return the name of the object that a published file is: it lies under the publication that
    the manifest names.
    """
    manifest = json.loads(ask(address(settings, f"{PREFIX}{key}/{MANIFEST}"))[1])
    return f"{PREFIX}{key}/{manifest['publication']}/{name}"


class TestS3Store(StoreContract):
    """The bucket."""

    @pytest.fixture
    def take_away(self, settings: Settings) -> Callable[[str, str], None]:
        """Return what removes an object."""

        def remove(key: str, name: str) -> None:
            ask(address(settings, object_of(settings, name, key)), "DELETE")

        return remove

    @pytest.fixture
    def shorten(self, settings: Settings) -> Callable[[str, str], None]:
        """Return what puts a shorter object in the place of one."""

        def cut(key: str, name: str) -> None:
            where = address(settings, object_of(settings, name, key))
            ask(where, "PUT", ask(where)[1][:-1])

        return cut


def test_a_build_is_looked_for_to_its_last_file(store: Store, settings: Settings) -> None:
    """Its listing may come in several parts."""
    publish(store, lifetime=1000, **{f"f{number:02}_bin": "" for number in range(25)})
    assert store.has(A)

    ask(address(settings, object_of(settings, "f24.bin")), "DELETE")
    assert not store.has(A)


def test_a_build_is_one_object_per_file_and_its_manifest(store: Store, settings: Settings) -> None:
    """Under the prefix, with the headers that a download needs."""
    publish(store, a_bin="image", b_bin="x")

    assert names(settings) == [
        f"{PREFIX}{A}/{MANIFEST}",
        *(object_of(settings, name) for name in ("a.bin", "b.bin")),
    ]
    headers, content = ask(address(settings, object_of(settings, "a.bin")))
    assert (content, headers["Content-Type"]) == (b"image", "application/octet-stream")
    assert headers["Content-Disposition"] == 'attachment; filename="a.bin"'
    assert json.loads(ask(address(settings, f"{PREFIX}{A}/{MANIFEST}"))[1])["key"] == A


def test_the_manifest_comes_last_and_goes_first(store: Store, faults: Faults) -> None:
    """Nobody ever sees a part of a build."""
    publish(store, lifetime=-2000, a_bin="x", b_bin="x")
    puts = [request.path.rpartition("/")[2] for request in faults.seen if request.method == "PUT"]
    faults.seen.clear()
    store.expire(LIFETIMES, lambda _: False)
    deletions = [
        request.path.rpartition("/")[2] for request in faults.seen if request.method == "DELETE"
    ]

    assert puts == ["a.bin", "b.bin", MANIFEST]
    assert deletions == [MANIFEST, "a.bin", "b.bin"]


@pytest.mark.parametrize("name", ["b.bin", MANIFEST])
def test_a_publication_that_fails_half_way_leaves_nothing_that_is_served(
    store: Store, faults: Faults, settings: Settings, name: str
) -> None:
    """What the bucket does not let go at once is removed in time, unless the build is known: it may
    be under way again.
    """
    faults.fails = lambda request: (
        request.method == "DELETE" or (request.method == "PUT" and request.path.endswith(name))
    )
    with pytest.raises(StoreFailed, match="not published"):
        publish(store, a_bin="x", b_bin="x", c_bin="x")
    faults.heal()

    assert (store.has(A), store.find(A, "a.bin")) == (False, None)
    assert store.expire(LIFETIMES, lambda _: False) == []
    assert store.expire(AT_ONCE, lambda _: True) == []
    assert any(found.endswith("/a.bin") for found in names(settings))
    assert store.expire(AT_ONCE, lambda _: False) == [A]
    assert names(settings) == []


@pytest.mark.parametrize("name", ["b.bin", MANIFEST])
def test_a_second_publication_that_fails_leaves_the_first_as_it_was(
    store: Store, faults: Faults, settings: Settings, name: str
) -> None:
    """A mixture of two builds is never served, and what failed is removed with the next one that
    does not.
    """
    publish(store, a_bin="old", b_bin="old")
    faults.fails = lambda request: request.method == "PUT" and request.path.endswith(name)
    with pytest.raises(StoreFailed):
        publish(store, a_bin="new", b_bin="new")
    faults.heal()

    assert (store.has(A), read(store, "a.bin"), read(store, "b.bin")) == (True, "old", "old")
    publish(store, a_bin="new", b_bin="new")
    assert (read(store, "a.bin"), read(store, "b.bin")) == ("new", "new")
    assert len(names(settings)) == 3


def test_a_failure_that_passes_is_not_noticed(store: Store, faults: Faults) -> None:
    """A single refusal, as a busy server gives it, is tried again."""
    refused: list[str] = []

    def once(request: Any) -> bool:
        refused.append(request.path)
        return len(refused) == 1

    faults.fails = once
    publish(store, a_bin="x")

    assert read(store, "a.bin") == "x"


def test_whatever_s3_says_is_a_fault_of_the_server(store: Store, faults: Faults) -> None:
    """And never quotes what stands in the request, its credentials least of all."""
    publish(store, a_bin="x")
    file = store.find(A, "a.bin")
    assert file is not None
    faults.fails = lambda _: True

    def publish_b() -> None:
        store.publish(B, gather(store, B, a_bin="x"), 1000)

    for question in (
        lambda: store.has(A),
        lambda: store.find(A, "a.bin"),
        lambda: store.content(file, 0, 1),
        publish_b,
        lambda: store.expire(LIFETIMES, bool),
    ):
        with pytest.raises(StoreFailed, match="S3 says SlowDown") as caught:
            question()
        assert caught.value.fault == "infra"
        assert "tester" not in caught.value.detail


def test_a_server_that_is_away_is_a_fault_of_the_server(tmp_path: Path) -> None:
    """It is not asked before it is needed, so the order in which services start does not matter."""
    store = open_store(s3_settings("http://127.0.0.1:1", "images", tmp_path))

    with pytest.raises(StoreFailed, match="EndpointConnectionError"):
        store.has(A)


def test_a_bucket_that_does_not_exist_is_a_fault_of_the_server(
    server: tuple[str, Faults], tmp_path: Path
) -> None:
    """Not a store in which there is nothing."""
    with pytest.raises(StoreFailed, match="NoSuchBucket"):
        open_store(s3_settings(server[0], "no-such-bucket", tmp_path)).has(A)


@pytest.mark.parametrize("wrong", [{"s3_secret_access_key": None}, {"s3_endpoint_url": "http://-"}])
def test_what_cannot_work_is_refused_at_the_start(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """Half a key, or an address that is none."""
    with pytest.raises(StoreFailed, match="cannot be set up"):
        open_store(s3_settings("http://127.0.0.1:1", "images", tmp_path, **wrong))


def test_a_body_that_breaks_off_is_told(store: Store, faults: Faults) -> None:
    """Whoever reads learns that it was not the end."""
    publish(store, a_bin="x" * 100_000)
    faults.breaks_off = lambda request: request.path.endswith("a.bin")

    with pytest.raises(StoreFailed, match="breaks off"):
        part(store, "a.bin", 0, 100_000)


def test_a_file_that_is_not_what_was_published_is_not_served(
    store: Store, settings: Settings
) -> None:
    """Its length would be a lie; a part of it as well."""
    publish(store, a_bin="0123456789")
    ask(address(settings, object_of(settings, "a.bin")), "PUT", b"012345678")

    for start, length in ((0, 10), (0, 5)):
        with pytest.raises(StoreFailed, match="not what was published"):
            part(store, "a.bin", start, length)


def test_other_objects_stay(store: Store, settings: Settings) -> None:
    """The bucket may hold more than ours."""
    for name in ("other", f"{PREFIX}other", f"{PREFIX}{A[1:]}/a.bin"):
        ask(address(settings, name), "PUT", b"x")
    publish(store, lifetime=-2000, a_bin="x")

    assert store.expire(AT_ONCE, lambda _: False) == [A]
    assert names(settings) == [f"{PREFIX}{A[1:]}/a.bin", f"{PREFIX}other", "other"]


def test_many_builds_are_listed_to_the_last(
    store: Store, settings: Settings, faults: Faults
) -> None:
    """A listing comes in parts, and a build may begin in one and end in the next."""
    many = [f"{number:064x}" for number in range(4)]
    for key in many:
        publish(store, key, lifetime=-2000, **{f"f{number}_bin": "" for number in range(6)})
    faults.seen.clear()

    assert store.expire(LIFETIMES, lambda _: False) == many
    assert len([request for request in faults.seen if "continuation-token" in request.path]) >= 2
    assert names(settings) == []


def test_tidying_does_not_hold_a_worker_up_for_long(settings: Settings) -> None:
    """What is left after its time is removed the next time."""
    store = S3Store(settings)
    store.tidying_seconds = 0
    for key in (A, B):
        publish(store, key, lifetime=-2000, a_bin="x")

    assert [store.expire(LIFETIMES, lambda _: False) for _ in range(3)] == [[A], [B], []]


def test_a_bucket_that_takes_too_long_is_not_counted(settings: Settings) -> None:
    """A worker shows no sign of life meanwhile; a budget that cannot be kept is told."""
    store = S3Store(settings)
    publish(store, A, a_bin="x")
    store.tidying_seconds = 0

    assert store.usage() is None
    with pytest.raises(StoreFailed, match="STORE_BUDGET_MB is not kept"):
        store.builds()


def test_a_pass_over_known_builds_ends_in_time_as_well(settings: Settings) -> None:
    """Looking takes time, too; the next pass goes on where the last one ended, and after the end
    from the beginning.
    """
    store = S3Store(settings)
    store.tidying_seconds = 0
    keys = [A, f"{A[1:]}b", B]
    for key in keys:
        publish(store, key, a_bin="x")
    asked: list[str] = []

    def is_known(key: str) -> bool:
        asked.append(key)
        return True

    seen = []
    for _ in range(5):
        assert store.expire(LIFETIMES, is_known) == []
        seen.append(list(asked))
        asked.clear()
    assert seen == [*([key] for key in keys), [], [A]]


def test_a_build_that_cannot_be_removed_does_not_keep_those_behind_it(
    store: Store, faults: Faults
) -> None:
    """The next pass goes on behind it."""
    for key in (A, B):
        publish(store, key, lifetime=-2000, a_bin="x")
    faults.fails = lambda request: request.method == "DELETE" and A in request.path
    with pytest.raises(StoreFailed):
        store.expire(LIFETIMES, lambda _: False)

    assert store.expire(LIFETIMES, lambda _: False) == [B]
    faults.heal()
    assert store.expire(LIFETIMES, lambda _: False) == [A]


def test_a_server_that_never_answers_is_asked_once_when_tidying(
    store: Store, faults: Faults
) -> None:
    """A second attempt would hold the worker up for as long again; the next pass is one."""
    publish(store, lifetime=-2000, a_bin="x")
    faults.seen.clear()
    faults.hangs = lambda _: True

    with pytest.raises(StoreFailed, match="ReadTimeoutError"):
        store.expire(LIFETIMES, lambda _: False)
    assert len(faults.seen) == 1


def test_clients_can_be_sent_to_the_bucket(settings: Settings, server: tuple[str, Faults]) -> None:
    """To an address without a query, whose last part is the file's name."""
    base = f"{server[0]}/{settings.s3_bucket}/"
    store = S3Store(settings.model_copy(update={"s3_public_url": base}))
    publish(store, a_bin="image")
    file = store.find(A, "a.bin")

    assert file is not None
    assert file.url == f"{base}{object_of(settings, 'a.bin')}"
    assert ask(file.url)[1] == b"image"


def test_a_forked_process_has_a_connection_of_its_own(store: Store) -> None:
    """A worker forks for each build; two processes in one connection would read each other's
    answers.
    """
    publish(store, a_bin="image")
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_read_often, args=(store,)) for _ in range(3)]
    for child in children:
        child.start()
    _read_often(store)
    for child in children:
        child.join(60)

    assert [child.exitcode for child in children] == [0, 0, 0]


def _read_often(store: Store) -> None:
    for _ in range(20):
        assert read(store, "a.bin") == "image"


def test_secrets_are_not_shown(settings: Settings) -> None:
    """Neither in what a log may show of the settings nor in their table."""
    assert (
        SECRET
        not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    )
