"""The package search reads what both package managers publish."""

import gzip
import zlib
from typing import Any

import pytest

from asu.catalogue.package_search import Listed, read_apk, read_opkg
from asu.resolution.package_feed import UnreadableIndexError
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import metadata, opened
from tests.upstream.adb import Entry, adb_bytes

PACKAGES = """\
Package: vim
Version: 9.1-r1
Size: 1000
Description:  An editor with <b>many</b> keys
 Package: of a continued line

Package: nano
Version: 8.2-r1
Size: 200
Description:  A small editor, unlike vim

Package: vim-full
Version: 9.1-r1
Size: 3000
"""
VIM = Listed("vim", "9.1-r1", 1000, "An editor with <b>many</b> keys")
TARGET = "releases/24.10.4/targets/ath79/generic/packages"


def test_both_indexes_are_read_alike() -> None:
    """Name, version, size of the file, description; nothing of a continued line."""
    entry = Entry(name="vim", version="9.1-r1", size=1000, description=VIM.description)
    bare = Entry(name="nano", version="1")

    assert read_opkg(gzip.compress(PACKAGES.encode()))[0] == VIM
    assert list(read_apk(adb_bytes([entry, bare]))) == [VIM, Listed("nano", "1", 0, "")]
    assert read_opkg(gzip.compress(PACKAGES.encode()))[2].description == ""


@pytest.mark.parametrize("raw", [b"", b"ADBd", b"{}", adb_bytes([])[:9]])
def test_what_is_no_index_is_refused(raw: bytes) -> None:
    """So the search says that it cannot be had."""
    with pytest.raises(UnreadableIndexError):
        read_apk(raw)
    with pytest.raises((ValueError, zlib.error)):
        read_opkg(raw)


def test_a_search_finds_names_before_descriptions() -> None:
    """Every word must be there; a version and a target that are not served are refused."""
    documents = metadata() | {f"{TARGET}/Packages.gz": gzip.compress(PACKAGES.encode())}
    with opened(upstream=MemoryUpstream(documents)) as world:

        def asked(query: str, target: str = "ath79/generic", version: str = "24.10.4") -> list[Any]:
            answer = world.client.get(
                f"/api/v1/packages?q={query}&target={target}&version={version}"
            )
            found = answer.json().get("packages")
            return [each["name"] for each in found] if found is not None else [answer.status_code]

        assert asked("vim") == ["vim", "vim-full", "nano"]
        assert asked("EDITOR+small") == ["nano"]
        assert asked("absent") == []
        assert asked("vim", target="x/y") == [404]
        assert asked("vim", target="../..") == [404]
        assert asked("vim", version="1.0") == [400]
        assert asked("vim", target="x86/64") == [503]


def test_the_files_of_a_build_are_listed() -> None:
    """For programs as JSON, for a browser as a page with a link to each."""
    with opened() as world:
        key = world.key({"version": "24.10.4", "target": "x86/64", "profile": "generic"})
        before = world.client.get(f"/store/{key}/")
        world.finish(key, {"firmware.bin": b"image"})
        listed = world.client.get(f"/store/{key}/").json()["files"]
        page = world.client.get(f"/store/{key}/", headers={"Accept": "text/html"})

    assert before.status_code == 404
    assert [(file["name"], file["size"]) for file in listed] == [("firmware.bin", 5)]
    assert f'href="/store/{key}/firmware.bin"' in page.text
    assert page.headers["vary"] == "Accept"
