"""Published files as the event loop hands them out: found and read in threads, piece by piece."""

from collections.abc import AsyncIterator

from anyio import CapacityLimiter, to_thread

from asu.errors import StoreFailed

from .manifest import StoredFile
from .store import Content, Store

# Bytes that a download holds in memory. At ten pieces a second and thread that is as fast as most
# lines.
PIECE = 256 * 1024
# Reads at the same time. Other downloads wait for a thread; nothing else uses these threads.
THREADS = 32


class Download:
    """A part of a file, to be iterated once and closed."""

    def __init__(
        self, content: Content, file: StoredFile, length: int, threads: CapacityLimiter
    ) -> None:
        self._content, self._file, self._left, self._threads = content, file, length, threads

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes; raises StoreFailed when the store stops giving them before their end."""
        while self._left:
            piece = await to_thread.run_sync(
                self._content.read, min(PIECE, self._left), limiter=self._threads
            )
            if not piece:
                raise StoreFailed(reason=f"{self._file.name} breaks off")
            self._left -= len(piece)
            yield piece

    def close(self) -> None:
        """Close the file."""
        self._content.close()


class Downloads:
    """The files of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._threads = CapacityLimiter(THREADS)

    async def find(self, key: str, name: str) -> StoredFile | None:
        """Return a published file; None if there is none. Raises StoreFailed."""
        return await to_thread.run_sync(self._store.find, key, name, limiter=self._threads)

    async def open(self, file: StoredFile, start: int, length: int) -> Download | None:
        """Begin to read a part of a file; None if it has gone since. Raises StoreFailed."""
        content = await to_thread.run_sync(
            self._store.content, file, start, length, limiter=self._threads
        )
        return Download(content, file, length, self._threads) if content else None
