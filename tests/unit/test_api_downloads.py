"""Downloads through the API, whatever the store: what stands in the answers, and what clients may
ask about a file.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from asu.errors import StoreFailed
from asu.stores.manifest import StoredFile
from asu.stores.store import Content
from tests.twins.memory_store import MemoryStore
from tests.unit.worlds import REQUEST, World, opened

CONTENT = b"0123456789"
NAME = "openwrt-1.0-squashfs.bin"
TAG = f'"{sha256(CONTENT).hexdigest()}"'
LONG_AGO, LATER = "Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


class ShortContent:
    """A file whose end cannot be had."""

    def __init__(self) -> None:
        self.closed = False
        self._pieces = [b"01234", b""]

    def read(self, size: int, /) -> bytes:
        """See Content."""
        assert size
        return self._pieces.pop(0)

    def close(self) -> None:
        """See Content."""
        self.closed = True


class TroubledStore(MemoryStore):
    """A store with a file that breaks off, has gone, or cannot be read."""

    def __init__(self, trouble: str) -> None:
        super().__init__()
        self.trouble = trouble
        self.short = ShortContent()

    def content(self, file: StoredFile, start: int, length: int) -> Content | None:
        """See Store."""
        if self.trouble == "away":
            raise StoreFailed(reason=f"{file.name} cannot be read from {start} for {length}")
        return self.short if self.trouble == "short" else None


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Return an API over in-memory parts that all tests share, as none changes it."""
    with opened() as world:
        yield world


@pytest.fixture(scope="module")
def path(world: World) -> str:
    """Return where a file of ten bytes is."""
    key = world.key(REQUEST)
    world.finish(key, {NAME: CONTENT, "empty.bin": b""})
    return f"/store/{key}/{NAME}"


def ask(world: World, path: str, method: str = "GET", **headers: str) -> Any:
    """Ask for a file; underscores in names of headers stand for dashes."""
    return world.client.request(
        method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


def test_a_file_is_sent_as_it_is(world: World, path: str) -> None:
    """With all the headers that clients rely on, and none that would change its bytes."""
    answer = ask(
        world, f"{path}?1795421294847", Accept_Encoding="gzip, br", Origin="http://192.168.1.1"
    )

    assert (answer.status_code, answer.content) == (200, CONTENT)
    wanted = {
        "content-length": "10",
        "content-type": "application/octet-stream",
        "content-disposition": f'attachment; filename="{NAME}"',
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "etag": TAG,
        "access-control-allow-origin": "*",
    }
    assert {name: answer.headers.get(name) for name in wanted} == wanted
    assert answer.headers["last-modified"].endswith(" GMT")
    assert answer.headers.keys().isdisjoint({"content-encoding", "transfer-encoding"})


def test_head_says_what_get_says(world: World, path: str) -> None:
    """But for the file; a range is for GET alone."""
    get, head = ask(world, path), ask(world, path, "HEAD", Range="bytes=2-3")

    assert (head.status_code, head.content) == (200, b"")
    own = {"x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in own} == {
        k: v for k, v in get.headers.items() if k not in own
    }


@pytest.mark.parametrize(
    ("wanted", "content", "told"),
    [
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=2-5", b"2345", "bytes 2-5/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-100", CONTENT, "bytes 0-9/10"),
    ],
)
def test_a_part_is_sent(world: World, path: str, wanted: str, content: bytes, told: str) -> None:
    """An interrupted download goes on where it stopped."""
    answer = ask(world, path, Range=wanted)

    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (
        206,
        content,
        told,
    )
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["etag"] == TAG


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=-",
        "bytes=5-2",
        "bytes=0-1,4-5",
        "bytes=a-b",
        "lines=0-1",
        "bytes",
        "",
        "bytes=1-" + "9" * 5000,
        "bytes=\u0661-\u0662",
    ],
)
def test_what_makes_no_sense_as_a_range_is_answered_with_the_file(
    world: World, path: str, wanted: str
) -> None:
    """As the standard has it; several parts at once nobody asks for."""
    answer = world.client.get(path, headers={b"Range": wanted.encode()})

    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=999999999999-"])
def test_a_range_beyond_the_end_is_refused(world: World, path: str, wanted: str) -> None:
    """In the one shape of errors, with the size of the file."""
    answer = ask(world, path, Range=wanted)

    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (416, 416, "range-not-satisfiable")
    assert answer.headers["content-range"] == "bytes */10"
    assert isinstance(body["detail"], str)


def test_an_empty_file_has_no_part(world: World, path: str) -> None:
    """It is sent whole."""
    empty = path.replace(NAME, "empty.bin")

    assert [ask(world, empty).status_code, ask(world, empty, Range="bytes=0-").status_code] == [
        200,
        416,
    ]
    assert ask(world, empty).headers["content-length"] == "0"


@pytest.mark.parametrize("tags", [TAG, f"W/{TAG}", f'"other", {TAG}', "*"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unchanged_file_is_not_sent_again(
    world: World, path: str, tags: str, method: str
) -> None:
    """Its tag counts, not a date beside it."""
    answer = ask(
        world, path, method, If_None_Match=tags, If_Modified_Since=LONG_AGO, Range="bytes=99-"
    )

    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", TAG)
    assert "content-length" not in answer.headers
    assert answer.headers["access-control-allow-origin"] == "*"


def test_a_date_counts_where_there_is_no_tag(world: World, path: str) -> None:
    """As older clients have only that; what is no date is passed over."""
    modified = ask(world, path).headers["last-modified"]

    statuses = [
        ask(world, path, If_Modified_Since=date).status_code
        for date in (modified, LATER, LONG_AGO, "yesterday", "")
    ]
    assert statuses == [304, 304, 200, 200, 200]
    assert ask(world, path, If_None_Match='"other"', If_Modified_Since=LATER).status_code == 200


def test_a_part_of_another_file_is_not_gone_on_with(world: World, path: str) -> None:
    """Who has the beginning of an earlier image gets the whole of this one."""
    modified = ask(world, path).headers["last-modified"]

    known = [
        ask(world, path, Range="bytes=4-", If_Range=name).status_code
        for name in (TAG, modified, '"other"', LONG_AGO)
    ]
    assert known == [206, 206, 200, 200]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_clients_are_sent_elsewhere_where_the_operator_has_chosen_so(method: str) -> None:
    """To an address without a query and with the same last part, or auc would fail; with CORS, or
    browsers would.
    """
    with opened(store=MemoryStore("https://images.example.org")) as world:
        key = world.key(REQUEST)
        world.finish(key, {NAME: CONTENT})
        answer = ask(world, f"/store/{key}/{NAME}?1795421294847", method)
        missing = ask(world, f"/store/{key}/other.bin", method)

    assert (answer.status_code, answer.headers["location"]) == (
        302,
        f"https://images.example.org/{key}/{NAME}",
    )
    assert answer.headers["access-control-allow-origin"] == "*"
    assert missing.status_code == 404


def test_a_file_that_vanishes_between_two_looks_is_not_found() -> None:
    """Nothing has been said yet that could not be kept."""
    with opened(store=TroubledStore("gone")) as world:
        key = world.key(REQUEST)
        world.finish(key, {NAME: CONTENT})

        assert ask(world, f"/store/{key}/{NAME}").status_code == 404


def test_a_store_that_is_away_is_told_in_json() -> None:
    """With a time to come back."""
    with opened(store=TroubledStore("away")) as world:
        key = world.key(REQUEST)
        world.finish(key, {NAME: CONTENT})
        answer = ask(world, f"/store/{key}/{NAME}")

    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
        500,
        "store-failed",
        "30",
    )


def test_a_file_that_breaks_off_is_let_go_of() -> None:
    """No connection to a store stays open for a download that has failed; nothing is made up for
    what is missing.
    """
    store = TroubledStore("short")
    with opened(store=store) as world:
        key = world.key(REQUEST)
        world.finish(key, {NAME: CONTENT})
        answer = ask(world, f"/store/{key}/{NAME}")

    assert (answer.headers["content-length"], answer.content, store.short.closed) == (
        "10",
        b"01234",
        True,
    )


@pytest.mark.parametrize("path", [f"/store/{'0' * 64}", f"/store/{'0' * 64}/", "/store", "/store/"])
def test_there_are_no_listings(world: World, path: str) -> None:
    """The Firmware Selector links to the directory: 404 in JSON."""
    answer = ask(world, path)

    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (
        404,
        404,
        "not-found",
    )
