"""Published files as the event loop hands them out: found and read in threads, piece by piece."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import TypeVar

from asu.blocking import BlockingCalls, NoAnswerError
from asu.errors import StoreFailed

from .manifest import PublishedFile, StoredFile
from .store import Content, Store

# Bytes that a download holds in memory. At ten pieces a second and thread that is as fast as most
# lines.
PIECE = 256 * 1024
# Reads at the same time. Other downloads wait for a thread; nothing else uses these threads.
THREADS = 32
# Seconds after which a read hangs; a bucket may take 54 s until its third attempt has failed.
PATIENCE = 60.0

T = TypeVar("T")


class Download:
    """A part of a file, to be iterated once and closed."""

    def __init__(
        self, content: Content, file: StoredFile, length: int, downloads: "Downloads"
    ) -> None:
        self._content, self._file, self._left, self._downloads = content, file, length, downloads

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes; raises StoreFailed when the store stops giving them before their end."""
        while self._left:
            piece = await self._downloads.ask(partial(self._content.read, min(PIECE, self._left)))
            if not piece:
                raise StoreFailed(reason=f"{self._file.name} breaks off")
            self._left -= len(piece)
            yield piece

    def close(self) -> None:
        """Close the file."""
        self._content.close()


class Downloads:
    """The files of one store."""

    def __init__(self, store: Store, *, patience: float = PATIENCE) -> None:
        self._store = store
        self._calls = BlockingCalls("downloads", threads=THREADS, patience=patience)

    async def find(self, key: str, name: str) -> StoredFile | None:
        """Return a published file; None if there is none. Raises StoreFailed."""
        return await self.ask(partial(self._store.find, key, name))

    async def files(self, key: str) -> tuple[PublishedFile, ...]:
        """Return all files of a build; none where there is no build. Raises StoreFailed."""
        manifest = await self.ask(partial(self._store.manifest, key))
        return manifest.files if manifest else ()

    async def open(self, file: StoredFile, start: int, length: int) -> Download | None:
        """Begin to read a part of a file; None if it has gone since. Raises StoreFailed."""
        content = await self.ask(partial(self._store.content, file, start, length))
        return Download(content, file, length, self) if content else None

    async def ask(self, question: Callable[[], T]) -> T:
        """Return what the store answers; raises StoreFailed, also when the store hangs."""
        try:
            return await self._calls.run(question)
        except NoAnswerError:
            raise StoreFailed(reason="it does not answer") from None
