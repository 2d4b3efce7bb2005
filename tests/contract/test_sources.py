"""The places that provenances are read from: a directory and a server answer alike."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from typing import TYPE_CHECKING, ClassVar

import pytest

from asu.provenance.envelope import PROVENANCE_FILE
from asu.provenance.sources import SourceError, open_source
from asu.stores.manifest import ACCOUNT, MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "0123456789abcdef" * 4

NOWHERE = {
    "bracket": "http://[",
    "word": "http://127.0.0.1:port/",
    "far": "http://127.0.0.1:99999/",
    "open": "http://[::1/",
    "percent": "http://%5b/",
}


class Server(http.server.SimpleHTTPRequestHandler):
    """A server of files, with addresses that lead elsewhere."""

    moved: ClassVar[dict[str, str]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Send a file, or say where it is."""
        self.asked.append(f"{self.headers['Host']}{self.path}")
        if self.path not in self.moved:
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", self.moved[self.path])
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """Return a directory that looks like a build."""
    directory = tmp_path / KEY
    directory.mkdir()
    (directory / PROVENANCE_FILE).write_bytes(b"a provenance")
    (directory / "a+b.bin").write_bytes(b"an image")
    return directory


@pytest.fixture
def server(build: Path) -> Iterator[str]:
    """Serve that directory, and return its address."""
    Server.moved = {
        "/moved/provenance.intoto.jsonl": f"/{KEY}/{PROVENANCE_FILE}",
        "/round/provenance.intoto.jsonl": "/round/provenance.intoto.jsonl",
        "/away/provenance.intoto.jsonl": f"file://{build}/{PROVENANCE_FILE}",
        **{f"/{name}/{PROVENANCE_FILE}": place for name, place in NOWHERE.items()},
    }
    Server.asked.clear()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Server, directory=build.parent)
    ) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.fixture(params=["directory", "file", "address", "address of the file"])
def place(request: pytest.FixtureRequest, build: Path, server: str) -> str:
    """Return each way to name a build."""
    named = {
        "directory": build,
        "file": build / PROVENANCE_FILE,
        "address": f"{server}/{KEY}/",
        "address of the file": f"{server}/{KEY}/{PROVENANCE_FILE}",
    }
    return str(named[request.param])


def test_a_build_is_found_however_it_is_named(place: str) -> None:
    """The provenance, the key that the place names, the hash of a file, and that there is no
    other.
    """
    source = open_source(place)

    assert source.provenance() == b"a provenance"
    assert source.key == KEY
    assert source.sha256("a+b.bin") == hashlib.sha256(b"an image").hexdigest()
    assert source.sha256("other.bin") is None


def test_a_server_may_send_us_to_its_bucket(server: str) -> None:
    """Operators may have downloads redirected."""
    assert open_source(f"{server}/moved").provenance() == b"a provenance"


@pytest.mark.parametrize("place", [KEY, "moved"])
def test_a_server_of_one_s_own_may_have_a_public_looking_name(server: str, place: str) -> None:
    """Whoever verifies has written where to look; inside a company, its public name has a private
    address.
    """
    source = open_source(f"{server.replace('127.0.0.1', '127.1')}/{place}")

    assert source.provenance() == b"a provenance"
    assert (source.sha256("a+b.bin") is None) == (place == "moved")


@pytest.mark.parametrize("host", ["localhost", "127.1"])
def test_a_server_sends_nobody_to_the_inside(server: str, host: str) -> None:
    """It may be a stranger's, and could have machines asked that it cannot reach itself; no setting
    of the API's is named, as none would help.
    """
    inside = server.removeprefix("http://").replace("127.0.0.1", host)
    Server.moved["/inwards/provenance.intoto.jsonl"] = f"http://{inside}/{KEY}/{PROVENANCE_FILE}"

    with pytest.raises(SourceError, match="may not send us there") as told:
        open_source(f"{server}/inwards").provenance()

    assert "UPSTREAM" not in str(told.value)
    assert [asked for asked in Server.asked if asked.startswith(inside)] == []


@pytest.mark.parametrize(
    ("path", "words"),
    [("away", "not allowed"), ("round", "redirects too often"), ("none", "no provenance")],
)
def test_a_server_that_leads_nowhere_is_told(server: str, path: str, words: str) -> None:
    """Not to files of this machine, not round and round, and not for ever."""
    with pytest.raises(SourceError, match=words):
        open_source(f"{server}/{path}").provenance()


@pytest.mark.parametrize("path", NOWHERE)
def test_a_server_that_names_no_address_is_told(server: str, path: str) -> None:
    """What it names may be anything."""
    with pytest.raises(SourceError):
        open_source(f"{server}/{path}").provenance()


@pytest.mark.parametrize("place", NOWHERE.values(), ids=NOWHERE)
def test_a_place_that_is_no_address_is_told(place: str) -> None:
    """Whatever a person or a list of addresses hands over."""
    with pytest.raises(SourceError):
        open_source(place).provenance()


def test_a_directory_tells_what_else_lies_in_it(build: Path, server: str) -> None:
    """Files and links of any name, but neither directories nor what a store keeps for itself; a
    server lists nothing.
    """
    for name in (".hidden", ACCOUNT, MANIFEST):
        (build / name).write_bytes(b"")
    (build / "directory").mkdir()
    (build / "link").symlink_to(build)

    assert open_source(str(build)).names() == {"a+b.bin", ".hidden", "link"}
    assert open_source(f"{server}/{KEY}").names() == frozenset()
