"""The store: one set of rules, held by the in-memory twin and by the disk."""

import os
import time
from pathlib import Path

import pytest

from asu.errors import QueueUnavailable, StoreFailed
from asu.stores.base import Lifetimes, Store
from asu.stores.local import LocalStore
from asu.stores.memory import MemoryStore

A, B = "a" * 64, "b" * 64


def publish(store: Store, key: str = A, **files: str) -> None:
    """Publish files; their names are given with `_` for the dot."""
    place = store.workplace(key)
    for name, content in files.items():
        (place / name.replace("_", ".")).write_text(content, encoding="utf-8")
    store.publish(key, place)


def read(store: Store, name: str, key: str = A) -> str | None:
    """Return the content of a published file."""
    file = store.find(key, name)
    return file.path.read_text(encoding="utf-8") if file else None


def let_age(directory: Path, seconds: float) -> None:
    """Make a directory look as if nothing was put into it for so long."""
    os.utime(directory, (time.time() - seconds,) * 2)


def age_of_build(store: Store, seconds: float, key: str = A) -> None:
    """Publish a build so many seconds ago."""
    publish(store, key, a_bin="x")
    file = store.find(key, "a.bin")
    assert file is not None
    let_age(file.path.parent, seconds)


LIFETIMES = Lifetimes(builds=1000, workplaces=100)


class StoreContract:
    """What every implementation does; a subclass brings the fixture `store`."""

    def test_what_is_published_is_found(self, store: Store) -> None:
        """With its name and its size."""
        publish(store, a_bin="image", sha256sums="x")

        file = store.find(A, "a.bin")
        assert file is not None
        assert (file.name, file.size, file.path.read_bytes()) == ("a.bin", 5, b"image")
        assert store.has(A)
        assert not store.has(B)

    def test_nothing_is_seen_before_it_is_published(self, store: Store) -> None:
        """A build appears as a whole: no half of an image is ever served."""
        place = store.workplace(A)
        (place / "a.bin").write_text("half", encoding="utf-8")

        assert not store.has(A)
        assert read(store, "a.bin") is None
        assert read(store, "a.bin", key=place.name) is None
        assert not store.has(place.name)

    def test_workplaces_are_private(self, store: Store) -> None:
        """Two attempts of one build never write into each other's files."""
        assert store.workplace(A) != store.workplace(A)

    def test_a_second_publication_replaces_the_first_as_a_whole(self, store: Store) -> None:
        """No file of the earlier build is left among those of the later one."""
        publish(store, a_bin="old", old_bin="old")
        publish(store, a_bin="new")

        assert (read(store, "a.bin"), read(store, "old.bin")) == ("new", None)

    def test_a_discarded_workplace_is_gone(self, store: Store) -> None:
        """Failed builds leave nothing behind; discarding after publishing takes nothing away."""
        place = store.workplace(A)
        (place / "a.bin").write_text("x", encoding="utf-8")
        store.discard(place)
        assert not place.exists()

        published = store.workplace(A)
        (published / "a.bin").write_text("x", encoding="utf-8")
        store.publish(A, published)
        store.discard(published)
        assert read(store, "a.bin") == "x"

    def test_what_nobody_knows_any_more_is_removed_after_its_time(self, store: Store) -> None:
        """Only the old one, and whoever builds it again begins with nothing."""
        age_of_build(store, 1100)
        age_of_build(store, 900, B)

        assert store.expire(LIFETIMES, lambda _: False) == [A]
        assert (store.has(A), store.has(B)) == (False, True)
        publish(store, a_bin="new")
        assert read(store, "a.bin") == "new"

    def test_what_is_known_stays_however_old(self, store: Store) -> None:
        """Never the files that a live record names."""
        age_of_build(store, 1_000_000)
        age_of_build(store, 1_000_000, B)

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
        age_of_build(store, 1100)

        def is_known(_: str) -> bool:
            raise QueueUnavailable

        with pytest.raises(QueueUnavailable):
            store.expire(LIFETIMES, is_known)
        assert store.has(A)

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", "../a.bin", f"../{A}/a.bin", "/etc/passwd", ".hidden", "a.bin/", "a/b", "a\\b", "a.bin\n", "a b", "\0", "a\0", "x" * 256],
    )
    def test_other_names_lead_nowhere(self, store: Store, name: str) -> None:
        """Only names as the ImageBuilder makes them are looked for."""
        place = store.workplace(A)
        for odd in (".hidden", "a b", "a\\b", "a.bin"):
            (place / odd).write_text("secret", encoding="utf-8")
        store.publish(A, place)

        assert store.find(A, name) is None
        assert store.find(A, "a.bin") is not None

    @pytest.mark.parametrize("key", ["", "..", ".incoming", A[1:], A + "a", A.upper(), A + "\n", f"../{A}", f"{A}/", f"{A}/../{A}"])
    def test_other_keys_lead_nowhere(self, store: Store, key: str) -> None:
        """Only whole keys name a build."""
        publish(store, a_bin="x")

        assert not store.has(key)
        assert store.find(key, "a.bin") is None

    def test_links_are_not_followed(self, store: Store, tmp_path: Path) -> None:
        """A link that a build left behind leads to no file of the server."""
        secret = tmp_path / "secret"
        secret.write_text("secret", encoding="utf-8")
        publish(store, a_bin="x")
        file = store.find(A, "a.bin")
        assert file is not None
        (file.path.parent / "link.bin").symlink_to(secret)
        (file.path.parent / "directory").mkdir()

        assert store.find(A, "link.bin") is None
        assert store.find(A, "directory") is None


class TestMemoryStore(StoreContract):
    """The in-memory twin."""

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store."""
        return MemoryStore()


class TestLocalStore(StoreContract):
    """The disk."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """Return an empty store."""
        store = LocalStore(tmp_path / "store")
        store.open()
        return store

    def test_publishing_moves_the_workplace(self, store: Store, tmp_path: Path) -> None:
        """One rename, so that nobody sees a directory that is still being filled."""
        place = store.workplace(A)
        number = place.stat().st_ino
        store.publish(A, place)

        assert (tmp_path / "store" / A).stat().st_ino == number
        assert list((tmp_path / "store" / ".incoming").iterdir()) == []

    def test_a_build_that_is_published_while_the_old_one_is_removed_stays(self, store: Store) -> None:
        """The question whether anybody knows it was answered for the old one."""
        age_of_build(store, 1100)

        def is_known(_: str) -> bool:
            publish(store, a_bin="new")
            return False

        assert store.expire(LIFETIMES, is_known) == []
        assert read(store, "a.bin") == "new"

    def test_expiring_leaves_nothing_behind(self, store: Store, tmp_path: Path) -> None:
        """Neither the build nor the place where it was moved to; other files of the operator stay."""
        (tmp_path / "store" / "lost+found").mkdir()
        let_age(tmp_path / "store" / "lost+found", 1_000_000)
        age_of_build(store, 1100)
        store.expire(LIFETIMES, lambda _: False)

        assert [path.name for path in (tmp_path / "store").iterdir() if path.name != ".incoming"] == ["lost+found"]
        assert list((tmp_path / "store" / ".incoming").iterdir()) == []

    def test_replacing_leaves_nothing_behind(self, store: Store, tmp_path: Path) -> None:
        """The files of the earlier build do not fill the disk."""
        publish(store, a_bin="old")
        publish(store, a_bin="new")

        assert [path.name for path in (tmp_path / "store").iterdir() if path.name != ".incoming"] == [A]
        assert list((tmp_path / "store" / ".incoming").iterdir()) == []

    def test_the_gateway_may_read_what_is_published(self, store: Store) -> None:
        """It runs under another user's name."""
        place = store.workplace(A)
        (place / "a.bin").touch(0o600)
        store.publish(A, place)

        file = store.find(A, "a.bin")
        assert file is not None
        assert (file.path.stat().st_mode & 0o777, file.path.parent.stat().st_mode & 0o777) == (0o644, 0o755)

    def test_a_store_that_cannot_be_written_says_so(self, tmp_path: Path) -> None:
        """At the start, and as a fault of the server."""
        (tmp_path / "file").touch()

        with pytest.raises(StoreFailed):
            LocalStore(tmp_path / "file").open()

    def test_a_workplace_that_cannot_be_made_is_a_fault_of_the_server(self, tmp_path: Path) -> None:
        """As when the disk has gone."""
        with pytest.raises(StoreFailed):
            LocalStore(tmp_path / "gone").workplace(A)

    def test_what_cannot_be_published_is_a_fault_of_the_server(self, store: Store, tmp_path: Path) -> None:
        """As when somebody has cleaned up too much."""
        with pytest.raises(StoreFailed):
            store.publish(A, tmp_path / "gone")
        assert not store.has(A)
