"""A store on a disk whose machine lost its power: what was published is on the disk itself, and
what is not whole counts as gone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from asu.errors import StoreFailed
from asu.stores.local import LocalStore
from asu.stores.manifest import ACCOUNT, MANIFEST
from tests.contract.test_store import A, B, gather, publish, read
from tests.requirements import required_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PUBLISHING = f"""
import sys
from pathlib import Path
from asu.stores.manifest import ACCOUNT
from asu.stores.local import LocalStore

store = LocalStore(Path(sys.argv[1]))
store.open()
place = store.workplace({A!r})
for name in ("a.bin", "b.bin", ACCOUNT):
    (place / name).write_text("x")
def is_current():
    print("asked", file=sys.stderr, flush=True)
    return True
store.publish({A!r}, place, 1000, is_current=is_current)
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Return a store with one build, as a worker publishes it, and another that stays whole."""
    store = LocalStore(tmp_path)
    store.open()
    place = gather(store, a_bin="image")
    (place / ACCOUNT).write_bytes(b"account")
    store.publish(A, place, 1000)
    publish(store, B, a_bin="image")
    return store


def lose_the_manifest(directory: Path) -> None:
    """Leave its name out of the directory."""
    (directory / MANIFEST).unlink()


def write(name: str, content: bytes) -> Callable[[Path], None]:
    """Return what leaves something else of a file."""

    def damage(directory: Path) -> None:
        (directory / name).write_bytes(content)

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "an empty manifest": write(MANIFEST, b""),
    "half a manifest": write(MANIFEST, b'{"version": 1, "key": "aa'),
    "zeros": write(MANIFEST, bytes(300)),
    "a manifest that names no files": write(MANIFEST, b'{"version": 1}'),
    "another document": write(MANIFEST, b"[]"),
    "no manifest": lose_the_manifest,
    "an empty image": write("a.bin", b""),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_a_power_failure_left_counts_as_gone(
    store: LocalStore, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """It is not served, and a sweep takes it out of the gateway's sight; published anew it is
    whole.
    """
    damage(tmp_path / A)

    assert (store.has(A), store.find(A, "a.bin")) == (False, None)
    assert store.remove_damaged() == [A]
    assert ((tmp_path / A).exists(), store.has(A), store.has(B)) == (False, False, True)
    assert store.remove_damaged() == []
    publish(store, a_bin="anew")
    assert (store.has(A), read(store, "a.bin")) == (True, "anew")


@pytest.mark.parametrize("document", [None, b'{"version": 2}', b'{"version": "next", "files": {}}'])
def test_what_another_release_published_is_no_damage(
    store: LocalStore, tmp_path: Path, document: bytes | None
) -> None:
    """An earlier one knew neither manifest nor account; of a later one's manifest we know
    nothing.
    """
    (tmp_path / A / ACCOUNT).unlink()
    lose_the_manifest(tmp_path / A)
    if document is not None:
        (tmp_path / A / MANIFEST).write_bytes(document)

    assert (store.has(A), read(store, "a.bin"), store.remove_damaged()) == (True, "image", [])


def test_a_manifest_that_the_disk_does_not_hand_out_is_no_damage(
    store: LocalStore, tmp_path: Path
) -> None:
    """It may be whole tomorrow: nobody can say today."""
    lose_the_manifest(tmp_path / A)
    # Reading it fails for every user, as it does on a disk that fails.
    (tmp_path / A / MANIFEST).mkdir()

    assert store.remove_damaged() == []
    assert (tmp_path / A / "a.bin").exists()
    with pytest.raises(StoreFailed, match="cannot be looked at"):
        LocalStore(tmp_path).has(A)


def test_a_build_is_on_the_disk_itself_before_it_is_seen(tmp_path: Path) -> None:
    """Each file and its name, then the question, then the rename, then the name of the build."""
    traced = subprocess.run(
        [
            required_program("strace"),
            "-f",
            "-y",
            "-e",
            "trace=fsync,rename,write",
            sys.executable,
            "-c",
            PUBLISHING,
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in traced.stderr and "asked" not in traced.stderr:
        pytest.skip("this machine lets nobody trace a process")
    # Between angle brackets strace tells what a descriptor leads to.
    steps = re.findall(r"fsync\(\d+<(.+?)>\) += 0|(rename)\(|write\(2<.*(asked)", traced.stderr)
    done = [
        (path.replace(str(tmp_path), "store") if path else renamed or asked)
        for path, renamed, asked in steps
    ]
    place = re.compile(rf"store/\.incoming/{A}\.\w+")
    done = [place.sub("place", step) for step in done]

    assert sorted(done[:4]) == [
        "place/.asu-build.json",
        "place/.asu-record.json",
        "place/a.bin",
        "place/b.bin",
    ]
    assert done[4:] == ["place", "asked", "rename", "store", "asked"]
