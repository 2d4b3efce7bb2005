"""The store on a disk: the contract of all stores, and what is its own."""

import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path, PosixPath
from typing import Any

import pytest

from asu.errors import StoreFailed
from asu.stores.local import LocalStore
from asu.stores.manifest import MANIFEST
from asu.stores.store import Store
from tests.contract.test_store import LIFETIMES, A, B, StoreContract, gather, let_age, publish, read


class SweptPath(PosixPath):
    """A path below which `a.bin` is swept away as soon as so many questions about it are
    answered.
    """

    left = 0

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        """See Path."""
        status = super().stat(follow_symlinks=follow_symlinks)
        if self.name == "a.bin" and SweptPath.left:
            SweptPath.left -= 1
            if not SweptPath.left:
                self.unlink()
        return status


class TestLocalStore(StoreContract):
    """The disk."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        """Return an empty store."""
        store = LocalStore(tmp_path / "store")
        store.open()
        return store

    @pytest.fixture
    def take_away(self, tmp_path: Path) -> Callable[[str, str], None]:
        """Return what removes a file."""
        return lambda key, name: (tmp_path / "store" / key / name).unlink()

    @pytest.fixture
    def shorten(self, tmp_path: Path) -> Callable[[str, str], None]:
        """Return what takes the last byte of a file away."""

        def cut(key: str, name: str) -> None:
            path = tmp_path / "store" / key / name
            os.truncate(path, path.stat().st_size - 1)

        return cut

    def test_a_shortened_file_is_not_found(self, store: Store, tmp_path: Path) -> None:
        """Half an image under its name would be flashed."""
        publish(store, a_bin="image")
        os.truncate(tmp_path / "store" / A / "a.bin", 3)

        assert store.find(A, "a.bin") is None

    def test_a_damaged_build_leaves_nothing_for_the_gateway(
        self, store: Store, tmp_path: Path
    ) -> None:
        """It serves whatever lies there."""
        publish(store, a_bin="image", b_bin="x")
        os.truncate(tmp_path / "store" / A / "a.bin", 3)

        assert store.remove_damaged() == [A]
        assert not (tmp_path / "store" / A).exists()

    def test_a_file_that_was_read_past_the_api_was_of_use(
        self, store: Store, tmp_path: Path
    ) -> None:
        """The gateway sends files without a word; of that only the time of the last access
        tells.
        """
        publish(store, a_bin="x", b_bin="x")
        directory = tmp_path / "store" / A
        document = json.loads((directory / MANIFEST).read_bytes())
        document["published"] = (datetime.now(UTC) - timedelta(days=1)).isoformat()
        (directory / MANIFEST).write_text(json.dumps(document), encoding="utf-8")
        for name, age in (("a.bin", 5000), ("b.bin", 300)):
            os.utime(directory / name, (time.time() - age,) * 2)

        [build] = store.builds()
        assert 290 < build.idle < 310

    def test_publishing_moves_the_workplace(self, store: Store, tmp_path: Path) -> None:
        """One rename, so that nobody sees a directory that is still being filled."""
        place = store.workplace(A)
        number = place.stat().st_ino
        store.publish(A, place, 1000)

        assert (tmp_path / "store" / A).stat().st_ino == number
        assert list((tmp_path / "store" / ".incoming").iterdir()) == []

    def test_expiring_leaves_nothing_behind(self, store: Store, tmp_path: Path) -> None:
        """Neither the build nor the place where it was moved to; other files of the operator
        stay.
        """
        (tmp_path / "store" / "lost+found").mkdir()
        let_age(tmp_path / "store" / "lost+found", 1_000_000)
        publish(store, lifetime=-1100, a_bin="x")
        store.expire(LIFETIMES, lambda _: False)

        assert [
            path.name for path in (tmp_path / "store").iterdir() if path.name != ".incoming"
        ] == ["lost+found"]
        assert list((tmp_path / "store" / ".incoming").iterdir()) == []

    def test_replacing_leaves_nothing_behind(self, store: Store, tmp_path: Path) -> None:
        """The files of the earlier build do not fill the disk."""
        publish(store, a_bin="old")
        publish(store, a_bin="new")

        assert [
            path.name for path in (tmp_path / "store").iterdir() if path.name != ".incoming"
        ] == [A]
        assert list((tmp_path / "store" / ".incoming").iterdir()) == []

    def test_the_gateway_may_read_what_is_published(self, store: Store, tmp_path: Path) -> None:
        """It runs under another user's name."""
        place = store.workplace(A)
        (place / "a.bin").touch(0o600)
        store.publish(A, place, 1000)

        directory = tmp_path / "store" / A
        assert [
            path.stat().st_mode & 0o777
            for path in (directory, directory / "a.bin", directory / MANIFEST)
        ] == [0o755, 0o644, 0o644]

    def test_gateway_and_api_date_a_file_alike(self, store: Store, tmp_path: Path) -> None:
        """A download that one began and the other goes on with compares the Last-Modified."""
        place = store.workplace(A)
        (place / "a.bin").write_bytes(b"image")
        let_age(place / "a.bin", 1000)
        store.publish(A, place, 1000)

        file = store.find(A, "a.bin")
        assert file
        assert file.modified == (tmp_path / "store" / A / "a.bin").stat().st_mtime

    def test_the_manifest_tells_all_that_a_build_is(self, store: Store, tmp_path: Path) -> None:
        """Enough to make a lost record anew: key, times and files."""
        publish(store, lifetime=86_400, a_bin="image")

        document = json.loads((tmp_path / "store" / A / MANIFEST).read_bytes())
        published, expires = (
            datetime.fromisoformat(document.pop(name)) for name in ("published", "expires")
        )
        assert document == {
            "version": 1,
            "key": A,
            "files": [{"name": "a.bin", "size": 5, "sha256": sha256(b"image").hexdigest()}],
        }
        assert expires - published == timedelta(days=1)
        assert abs(datetime.now(UTC) - published) < timedelta(minutes=1)

    @pytest.mark.parametrize("document", [None, b'{"version": 2}'])
    def test_a_build_without_a_manifest_is_served_and_goes_by_its_age(
        self, store: Store, tmp_path: Path, document: bytes | None
    ) -> None:
        """As an earlier version published it, or a later one."""
        for key, age in ((A, 5100), (B, 4900)):
            (tmp_path / "store" / key).mkdir()
            (tmp_path / "store" / key / "a.bin").write_text("image", encoding="utf-8")
            if document is not None:
                (tmp_path / "store" / key / MANIFEST).write_bytes(document)
            let_age(tmp_path / "store" / key, age)
        assert (store.has(A), read(store, "a.bin")) == (True, "image")

        assert store.expire(LIFETIMES, lambda _: False) == [A]
        assert store.has(B)

    def test_a_file_that_was_removed_is_not_found(self, store: Store, tmp_path: Path) -> None:
        """Though the manifest still names it."""
        publish(store, a_bin="x", b_bin="x")
        (tmp_path / "store" / A / "a.bin").unlink()

        assert store.find(A, "a.bin") is None

    @pytest.mark.parametrize("questions", [1, 2])
    def test_a_file_that_is_swept_away_while_it_is_looked_for_is_not_there(
        self, tmp_path: Path, questions: int
    ) -> None:
        """Whenever that happens, the answer is that there is none, or a file that can no longer be
        read.
        """
        store = LocalStore(SweptPath(tmp_path / "store"))
        store.open()
        publish(store, a_bin="x")
        SweptPath.left = questions
        found = store.find(A, "a.bin")
        SweptPath.left = 0

        assert found is None or found.size == 1

    def test_a_disk_that_is_not_there_is_no_empty_store(self, store: Store, tmp_path: Path) -> None:
        """Nobody can say what it holds, and nothing is built again for that."""
        publish(store, a_bin="x")
        shutil.rmtree(tmp_path / "store")

        with pytest.raises(StoreFailed):
            store.has(A)

    def test_a_store_that_cannot_be_written_says_so(self, tmp_path: Path) -> None:
        """At the start, and as a fault of the server."""
        (tmp_path / "file").touch()

        with pytest.raises(StoreFailed):
            LocalStore(tmp_path / "file").open()

    def test_a_workplace_that_cannot_be_made_is_a_fault_of_the_server(self, tmp_path: Path) -> None:
        """As when the disk has gone."""
        with pytest.raises(StoreFailed):
            LocalStore(tmp_path / "gone").workplace(A)

    def test_what_cannot_be_published_is_a_fault_of_the_server(
        self, store: Store, tmp_path: Path
    ) -> None:
        """As when somebody has cleaned up too much."""
        with pytest.raises(StoreFailed):
            store.publish(A, tmp_path / "gone", 1000)
        assert not store.has(A)


class OvertakenStore(LocalStore):
    """A store in which something happens when the next workplace has been made."""

    happens: Callable[[], object] | None = None

    def workplace(self, key: str) -> Path:
        """Make one, and let it happen."""
        place = super().workplace(key)
        happens, self.happens = self.happens, None
        if happens:
            happens()
        return place


def test_a_later_build_survives_while_an_earlier_attempt_takes_its_files_back(
    tmp_path: Path,
) -> None:
    """The later one is published between the last look at the files and their removal."""
    store, other = OvertakenStore(tmp_path / "store"), LocalStore(tmp_path / "store")
    store.open()
    place = gather(store, a_bin="mine")
    answers = iter([True, False])

    def is_current() -> bool:
        is_first = next(answers)
        if not is_first:
            store.happens = lambda: publish(other, a_bin="later")
        return is_first

    assert not store.publish(A, place, 1000, is_current=is_current)
    assert (store.has(A), read(store, "a.bin")) == (True, "later")
