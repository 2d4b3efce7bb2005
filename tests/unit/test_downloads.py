"""A download between the store and the event loop."""

import asyncio
import threading

import pytest

from asu.errors import StoreFailed
from asu.stores.downloads import PIECE, THREADS, Downloads
from asu.stores.manifest import StoredFile
from asu.stores.store import Content
from tests.twins.memory_store import MemoryStore

pytestmark = pytest.mark.anyio

A = "a" * 64


class ShortStore(MemoryStore):
    """A store that loses the end of each file."""

    def content(self, file: StoredFile, start: int, length: int) -> Content | None:
        """See Store."""
        return super().content(file, start, length - 1)


def publish(store: MemoryStore, content: bytes) -> None:
    """Publish one file."""
    place = store.workplace(A)
    (place / "a.bin").write_bytes(content)
    store.publish(A, place, 100)


async def read(store: MemoryStore, start: int, length: int) -> list[bytes]:
    """Return the pieces of a download."""
    downloads = Downloads(store)
    file = await downloads.find(A, "a.bin")
    assert file is not None
    download = await downloads.open(file, start, length)
    assert download is not None
    return [piece async for piece in download]


async def test_a_file_comes_in_bounded_pieces() -> None:
    """However large it is, a piece at a time is held in memory."""
    store, content = MemoryStore(), bytes(range(256)) * (PIECE // 100)
    publish(store, content)

    pieces = await read(store, 1, len(content) - 1)

    assert b"".join(pieces) == content[1:]
    assert max(map(len, pieces)) == PIECE


async def test_an_end_before_its_time_is_an_error() -> None:
    """Whoever sends the file must not take it for the end."""
    store = ShortStore()
    publish(store, b"0123456789")

    with pytest.raises(StoreFailed, match="breaks off"):
        await read(store, 0, 10)


class HungStore(MemoryStore):
    """A store on a disk that hangs, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go, self.asked = threading.Event(), 0

    def find(self, key: str, name: str) -> StoredFile | None:
        """Hang."""
        self.asked += 1
        self.let_go.wait()
        return super().find(key, name)


async def test_a_store_that_hangs_takes_few_threads_and_no_event_loop() -> None:
    """Downloads are refused, at once as soon as all threads hang; other work goes on."""
    store = HungStore()
    downloads = Downloads(store, patience=0.2)
    try:
        for _ in range(2):
            refused = await asyncio.gather(
                *(downloads.find(A, "a.bin") for _ in range(2 * THREADS)), return_exceptions=True
            )
            assert {type(error) for error in refused} == {StoreFailed}
        assert store.asked == THREADS
    finally:
        store.let_go.set()
