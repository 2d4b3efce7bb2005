"""The store: one set of rules, held by the in-memory twin, by the disk (test_local_store) and, in
the integration ring, by an S3 server.
"""

import os
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from asu.errors import QueueUnavailable, StoreFailed
from asu.stores.manifest import ACCOUNT, MANIFEST
from asu.stores.store import Lifetimes, Store, StoreUsage
from tests.twins.memory_store import MemoryStore

A, B = "a" * 64, "b" * 64


def gather(store: Store, key: str = A, **files: str) -> Path:
    """Put files into a workplace; their names are given with `_` for the dot."""
    place = store.workplace(key)
    for name, content in files.items():
        (place / name.replace("_", ".")).write_text(content, encoding="utf-8")
    return place


def publish(store: Store, key: str = A, lifetime: int = 1000, **files: str) -> None:
    """Publish files; their names are given with `_` for the dot."""
    place = gather(store, key, **files)
    store.publish(key, place, lifetime)
    store.discard(place)


def read(store: Store, name: str, key: str = A) -> str | None:
    """Return the content of a published file."""
    file = store.find(key, name)
    return part(store, name, 0, file.size, key) if file else None


def part(store: Store, name: str, start: int, length: int, key: str = A) -> str:
    """Return some bytes of a published file."""
    file = store.find(key, name)
    assert file is not None
    content = store.content(file, start, length)
    assert content is not None
    gathered = b""
    while len(gathered) < length:
        piece = content.read(length - len(gathered))
        assert piece
        gathered += piece
    content.close()
    return gathered.decode()


def let_age(directory: Path, seconds: float) -> None:
    """Make a directory look as if nothing was put into it for so long."""
    os.utime(directory, (time.time() - seconds,) * 2)


LIFETIMES = Lifetimes(grace=1000, undocumented=5000, workplaces=100)


class StoreContract:
    """What every implementation does; a subclass brings `store`, and what reaches past it:
    `take_away` removes a file, `shorten` cuts it.
    """

    def test_what_is_published_is_found(self, store: Store) -> None:
        """With its name, its size, its content, and what HTTP tells of it."""
        begun = int(time.time())
        publish(store, a_bin="image", sha256sums="x")

        file = store.find(A, "a.bin")
        assert file is not None
        assert (file.key, file.name, file.size, file.url, read(store, "a.bin")) == (
            A,
            "a.bin",
            5,
            None,
            "image",
        )
        assert file.etag == sha256(b"image").hexdigest()
        assert begun <= file.modified <= time.time()
        assert store.has(A)
        assert not store.has(B)

    @pytest.mark.parametrize(
        ("start", "length", "expected"),
        [(0, 10, "0123456789"), (0, 4, "0123"), (4, 6, "456789"), (9, 1, "9")],
    )
    def test_a_part_of_a_file_is_read(
        self, store: Store, start: int, length: int, expected: str
    ) -> None:
        """From any byte on, as far as is wanted."""
        publish(store, a_bin="0123456789")

        assert part(store, "a.bin", start, length) == expected

    def test_an_empty_file_is_a_file(self, store: Store) -> None:
        """It is found, and there is nothing to read."""
        publish(store, a_bin="")

        assert read(store, "a.bin") == ""

    def test_a_file_that_has_gone_since_it_was_found_is_told(self, store: Store) -> None:
        """Before the answer begins, so that it can still be a 404."""
        publish(store, a_bin="x", lifetime=-2000)
        file = store.find(A, "a.bin")
        assert file is not None
        store.expire(LIFETIMES, lambda _: False)

        assert store.content(file, 0, 1) is None

    def test_nothing_is_seen_before_it_is_published(self, store: Store) -> None:
        """A build appears as a whole: no half of an image is ever served."""
        place = store.workplace(A)
        (place / "a.bin").write_text("half", encoding="utf-8")

        assert not store.has(A)
        assert read(store, "a.bin") is None
        assert read(store, "a.bin", key=place.name) is None
        assert not store.has(place.name)

    def test_a_build_of_which_a_file_was_taken_away_is_not_there(
        self, store: Store, take_away: Callable[[str, str], None]
    ) -> None:
        """Even if it was a moment ago, and though all the others are still there; published anew it
        is whole again.
        """
        publish(store, a_bin="x", b_bin="x")
        assert store.has(A)
        file = store.find(A, "a.bin")
        assert file is not None
        take_away(A, "a.bin")

        assert not store.has(A)
        assert store.content(file, 0, 1) is None
        publish(store, a_bin="x", b_bin="x")
        assert store.has(A)

    def test_a_build_of_which_a_file_was_shortened_is_not_there(
        self, store: Store, shorten: Callable[[str, str], None]
    ) -> None:
        """Where it lies, so that nothing but its size tells; what is left of it is never served as
        the file.
        """
        publish(store, a_bin="image", b_bin="x")
        assert store.has(A)
        file = store.find(A, "a.bin")
        assert file is not None
        shorten(A, "a.bin")

        assert not store.has(A)
        found = store.find(A, "a.bin")
        if found is not None:  # A bucket tells it when the file is read.
            with pytest.raises(StoreFailed):
                store.content(file, 0, 5)
        publish(store, a_bin="image", b_bin="x")
        assert store.has(A)

    def test_what_is_damaged_is_taken_out_of_sight(
        self,
        store: Store,
        shorten: Callable[[str, str], None],
        take_away: Callable[[str, str], None],
    ) -> None:
        """Known or not; what is whole stays."""
        for key in (A, B, "c" * 64):
            publish(store, key, a_bin="image", b_bin="x")
        shorten(A, "a.bin")
        take_away(B, "b.bin")
        store.remove_damaged()

        assert [store.has(key) for key in (A, B, "c" * 64)] == [False, False, True]
        assert store.remove_damaged() == []

    def test_what_is_hashed_already_is_not_read_again(self, store: Store) -> None:
        """A worker has read all files for their provenance; only what it has not is read for the
        manifest.
        """
        place = gather(store, a_bin="image", b_bin="other")
        store.publish(A, place, 1000, {"a.bin": "f" * 64})

        manifest = store.manifest(A)
        assert manifest
        assert {file.name: file.sha256 for file in manifest.files} == {
            "a.bin": "f" * 64,
            "b.bin": sha256(b"other").hexdigest(),
        }

    def test_what_a_record_can_be_made_from_lies_with_the_files(self, store: Store) -> None:
        """Nobody can ask for it, it is no image, and it goes with the build; what is looked through
        is told by its keys.
        """
        place = gather(store, a_bin="image")
        (place / ACCOUNT).write_bytes(b"account")
        store.publish(A, place, 1000)
        publish(store, B, lifetime=-2000, a_bin="x")

        assert (store.account(A), store.account(B), store.account("c" * 64)) == (
            b"account",
            None,
            None,
        )
        assert sorted(store.published_keys()) == [A, B]
        manifest = store.manifest(A)
        assert manifest
        assert [file.name for file in manifest.files] == ["a.bin"]
        assert (store.find(A, ACCOUNT), store.usage(), store.manifest("c" * 64)) == (
            None,
            StoreUsage(builds=2, bytes=6),
            None,
        )
        store.expire(LIFETIMES, lambda _: False)
        assert list(store.published_keys()) == [A]
        publish(store, a_bin="later")
        assert store.account(A) is None

    @pytest.mark.parametrize("key", ["", "..", ".incoming", A[1:], f"../{A}"])
    def test_other_keys_have_neither_manifest_nor_account(self, store: Store, key: str) -> None:
        """Only whole keys name a build."""
        assert (store.manifest(key), store.account(key)) == (None, None)

    def test_what_is_published_is_listed(self, store: Store) -> None:
        """With its size, and for how long nobody has published or read it; what is being gathered
        is not.
        """
        publish(store, a_bin="12345", b_bin="123")
        publish(store, B, a_bin="1")
        gather(store, "c" * 64, a_bin="x")

        found = {build.key: build for build in store.builds()}
        assert {key: build.bytes for key, build in found.items()} == {A: 8, B: 1}
        assert all(0 <= build.idle < 60 for build in found.values())

    def test_a_build_is_removed_before_its_time(self, store: Store) -> None:
        """Unless it was published a moment ago; one that is gone already is gone."""
        publish(store, a_bin="x")
        publish(store, B, a_bin="x")

        assert not store.remove(A, 60)
        assert store.remove(A, -1)
        assert (store.has(A), store.has(B), store.find(A, "a.bin")) == (False, True, None)
        assert store.remove(A, 60)
        assert list(store.published_keys()) == [B]

    def test_workplaces_are_private(self, store: Store) -> None:
        """Two attempts of one build never write into each other's files."""
        assert store.workplace(A) != store.workplace(A)

    def test_a_second_publication_replaces_the_first_as_a_whole(self, store: Store) -> None:
        """No file of the earlier build is left among those of the later one."""
        publish(store, a_bin="old, and longer", old_bin="old")
        publish(store, a_bin="new")

        assert (read(store, "a.bin"), read(store, "old.bin")) == ("new", None)

    def test_a_build_that_is_published_again_begins_a_new_life(self, store: Store) -> None:
        """Whatever was said of the earlier publication."""
        publish(store, a_bin="x", lifetime=-2000)
        publish(store, a_bin="x")

        assert store.expire(LIFETIMES, lambda _: False) == []
        assert store.has(A)

    def test_a_discarded_workplace_is_gone(self, store: Store) -> None:
        """Failed builds leave nothing behind; discarding after publishing takes nothing away."""
        place = store.workplace(A)
        (place / "a.bin").write_text("x", encoding="utf-8")
        store.discard(place)
        assert not place.exists()

        published = store.workplace(A)
        (published / "a.bin").write_text("x", encoding="utf-8")
        store.publish(A, published, 1000)
        store.discard(published)
        assert read(store, "a.bin") == "x"

    def test_what_nobody_knows_any_more_is_removed_after_its_time(self, store: Store) -> None:
        """Its own life and the grace: each build has its own, and whoever builds one again begins
        with nothing.
        """
        publish(store, lifetime=-1100, a_bin="x")
        publish(store, B, lifetime=-900, a_bin="x")

        assert store.expire(LIFETIMES, lambda _: False) == [A]
        assert (store.has(A), store.has(B)) == (False, True)
        publish(store, a_bin="new")
        assert read(store, "a.bin") == "new"

    def test_what_is_known_stays_however_old(self, store: Store) -> None:
        """Never the files that a live record names."""
        publish(store, lifetime=-1_000_000, a_bin="x")
        publish(store, B, lifetime=-1_000_000, a_bin="x")

        assert store.expire(LIFETIMES, lambda key: key == A) == [B]
        assert read(store, "a.bin") == "x"

    def test_workplaces_of_the_dead_are_removed(self, store: Store) -> None:
        """A killed worker cannot tidy up; a living one is not disturbed."""
        dead, alive = store.workplace(A), store.workplace(A)
        (dead / "a.bin").write_text("half", encoding="utf-8")
        let_age(dead, 110)
        let_age(alive, 90)
        store.expire(LIFETIMES, lambda _: True)

        assert (dead.exists(), alive.exists()) == (False, True)

    def test_a_build_that_cannot_be_looked_up_stays(self, store: Store) -> None:
        """Without the records nobody can say what may go."""
        publish(store, lifetime=-1100, a_bin="x")

        def is_known(_: str) -> bool:
            raise QueueUnavailable

        with pytest.raises(QueueUnavailable):
            store.expire(LIFETIMES, is_known)
        assert store.has(A)

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "../a.bin",
            f"../{A}/a.bin",
            "/etc/passwd",
            ".hidden",
            "a.bin/",
            "a/b",
            "a\\b",
            "a.bin\n",
            "a b",
            "\0",
            "a\0",
            "x" * 256,
        ],
    )
    def test_other_names_lead_nowhere(self, store: Store, name: str) -> None:
        """Only names as the ImageBuilder makes them are looked for."""
        place = store.workplace(A)
        for odd in (".hidden", "a b", "a\\b", "a.bin"):
            (place / odd).write_text("secret", encoding="utf-8")
        store.publish(A, place, 1000)

        assert store.find(A, name) is None
        assert store.find(A, "a.bin") is not None

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "..",
            ".incoming",
            A[1:],
            A + "a",
            A.upper(),
            A + "\n",
            f"../{A}",
            f"{A}/",
            f"{A}/../{A}",
        ],
    )
    def test_other_keys_lead_nowhere(self, store: Store, key: str) -> None:
        """Only whole keys name a build."""
        publish(store, a_bin="x")

        assert not store.has(key)
        assert store.find(key, "a.bin") is None

    def test_links_and_directories_are_not_published(self, store: Store, tmp_path: Path) -> None:
        """A link that a build left behind leads to no file of the server."""
        (tmp_path / "secret").write_text("secret", encoding="utf-8")
        place = gather(store, a_bin="x")
        (place / "link.bin").symlink_to(tmp_path / "secret")
        (place / "directory").mkdir()
        store.publish(A, place, 1000)

        assert read(store, "a.bin") == "x"
        assert store.find(A, "link.bin") is None
        assert store.find(A, "directory") is None

    def test_a_failure_is_kept_beside_the_builds(self, store: Store) -> None:
        """It is found by its key or its first digits, the last one counts, and no file is served.

        Tidying leaves it for two weeks, and takes it for no build.
        """
        assert (store.failure(A), store.failed_keys("")) == (None, set())
        store.keep_failure(A, b"old")
        store.keep_failure(A, b"packed")
        publish(store, B, image="x")
        store.keep_failure(B, b"other")

        assert store.expire(Lifetimes(grace=0, undocumented=0, workplaces=0), lambda _: True) == []
        assert (store.failure(A), store.failure(B)) == (b"packed", b"other")
        assert store.failed_keys("a" * 12) == {A}
        assert store.failed_keys("c" * 12) == set()
        assert set(store.published_keys()) == {B}
        assert store.usage() == StoreUsage(builds=1, bytes=1)

    def test_a_success_ends_what_is_kept_of_a_failure(self, store: Store) -> None:
        """It must not come back when the record of the success has ended."""
        store.keep_failure(A, b"old")
        store.keep_failure(B, b"other")
        publish(store, A, image="x")

        assert (store.failure(A), store.failure(B)) == (None, b"other")
        assert store.failed_keys("") == {B}

    def test_what_is_published_is_counted(self, store: Store) -> None:
        """Builds, and the bytes that clients may download of them; what is still being gathered is
        none.
        """
        assert store.usage() == StoreUsage(builds=0, bytes=0)
        publish(store, a_bin="12345", b_bin="123")
        publish(store, key=B, a_bin="1")
        gather(store, a_bin="another")

        assert store.usage() == StoreUsage(builds=2, bytes=9)

    def test_a_probe_leaves_nothing_behind(self, store: Store) -> None:
        """A store that works can be looked at and written to, and has nothing more afterwards."""
        store.reach()
        store.probe()

        assert store.usage() == StoreUsage(builds=0, bytes=0)
        assert store.expire(LIFETIMES, lambda _: False) == []

    def test_the_manifest_is_not_served(self, store: Store) -> None:
        """It is the server's own."""
        publish(store, a_bin="x")

        assert store.find(A, MANIFEST) is None

    def test_a_build_that_is_published_while_the_old_one_is_removed_stays(
        self, store: Store
    ) -> None:
        """The question whether anybody knows it was answered for the old one."""
        publish(store, lifetime=-1100, a_bin="x")

        def is_known(_: str) -> bool:
            publish(store, a_bin="new")
            return False

        assert store.expire(LIFETIMES, is_known) == []
        assert read(store, "a.bin") == "new"


class TestMemoryStore(StoreContract):
    """The in-memory twin."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        """Return an empty store."""
        return MemoryStore()

    @pytest.fixture
    def take_away(self, store: MemoryStore) -> Callable[[str, str], None]:
        """Return what removes a file."""
        return lambda key, name: store.published[key].contents.__delitem__(name)

    @pytest.fixture
    def shorten(self, store: MemoryStore) -> Callable[[str, str], None]:
        """Return what takes the last byte of a file away."""

        def cut(key: str, name: str) -> None:
            contents = store.published[key].contents
            contents[name] = contents[name][:-1]

        return cut
