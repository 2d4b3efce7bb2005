"""The last good documents of the downloads server on disk, for an API that starts while it is away.

A file is packed: a line of JSON with the validators, then the document as it was sent. Its time is
when it was last written or confirmed. A broken file, or a disk that hangs, costs no request.
"""

import contextlib
import gzip
import hashlib
import json
import logging
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from asu.blocking import BlockingCalls

from .http_client import UNREADABLE

T = TypeVar("T")
log = logging.getLogger(__name__)

# Below the store's directory. Nothing serves it: builds are named by hashes.
DIRECTORY = ".metadata"
MAX_DOCUMENT = 33 * 1024 * 1024  # Bytes unpacked, with the line before it.
MAX_HEAD = 64 * 1024  # Bytes; the headers of an answer are no longer than that.
MAX_TOTAL = 128 * 1024 * 1024  # Bytes; the packed documents of five releases are about half of it.
MAX_AGE = 7 * 86_400.0  # Seconds; an older document may be long gone from the server.
PATIENCE = 1.0  # Seconds for a disk that hangs; a good one takes milliseconds.
WRITE_PATIENCE = 10.0  # Nobody waits for these; packing the largest document takes a second.
MAX_WRITES = 16  # Documents in memory until they are written; a skipped one is fetched again later.
# Seconds after a full disk in which `confirm` asks for no document.
REST = 3600.0
UNREADABLE_FILE = (*UNREADABLE, OSError, EOFError, zlib.error)
LEVEL = 3  # Of packing: nearly as small as the best, in a quarter of its time.


@dataclass(frozen=True, slots=True)
class LastGoodDocument:
    """A document as it was sent, headers for a conditional request, and its age in seconds."""

    body: bytes
    validators: Mapping[str, str]
    age: float


class LastGood:
    """Keeps documents of one downloads server in a directory. Nothing here raises.

    Processes may share the directory, since each file is replaced as a whole.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        *,
        max_total: int = MAX_TOTAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory, self._url, self._max_total, self._clock = directory, url, max_total, clock
        # Reading has a thread of its own, since writing a large document takes a second.
        self._reading = BlockingCalls("the disk", patience=PATIENCE)
        self._writing = BlockingCalls("the disk", patience=WRITE_PATIENCE)
        self._writes, self._fails, self._rest_ends = 0, False, float("-inf")

    async def find(self, path: str) -> LastGoodDocument | None:
        """Return a document that was good within a week."""
        try:
            return await self._reading.run(partial(_read, self._file(path)))
        except TimeoutError:
            return None

    async def keep(self, path: str, body: bytes, validators: Mapping[str, str]) -> None:
        """Keep a document that was just sent."""
        await self._write(partial(self._replace, self._file(path), body, validators))

    async def confirm(self, path: str, validators: Mapping[str, str]) -> bool:
        """Note that the document with these validators is current.

        Return False if it is not there and should be; not while the disk is too full for it.
        """
        is_there = await self._write(partial(_touch, self._file(path), validators))
        return is_there is not False or self._clock() < self._rest_ends

    async def forget(self, path: str) -> None:
        """Drop a document that the server does not have any more."""
        with contextlib.suppress(OSError):
            await self._write(partial(self._file(path).unlink, missing_ok=True))

    async def _write(self, call: Callable[[], T]) -> T | None:
        """Return what `call` returns; None if it is skipped, as when the disk hangs."""
        if self._writes >= MAX_WRITES:
            return None
        self._writes += 1
        try:
            return await self._writing.run(call)
        except TimeoutError:
            return None
        finally:
            self._writes -= 1

    def _file(self, path: str) -> Path:
        """Return the file of a document, named by a hash, since clients choose parts of paths.

        All readings of a document, which differ in the fragment, share its file.
        """
        name = f"{self._url}/{path.partition('#')[0]}".encode(errors="surrogatepass")
        return self._directory / hashlib.sha256(name).hexdigest()

    def _replace(self, file: Path, body: bytes, validators: Mapping[str, str]) -> None:
        head = json.dumps({"validators": dict(validators)}).encode()
        try:
            self._directory.mkdir(exist_ok=True)
            _write_whole(file, gzip.compress(head + b"\n" + body, LEVEL))
            self._make_room()
            self._fails = False
        except OSError as error:
            self._rest_ends = self._clock() + REST
            # Warn once, not for each of hundreds of documents.
            level, self._fails = logging.DEBUG if self._fails else logging.WARNING, True
            log.log(
                level,
                "documents of the downloads server cannot be kept on disk (%s); "
                "without that server the next API lacks them",
                error.strerror,
            )

    def _make_room(self) -> None:
        """Remove what is too old, then the oldest until all fits."""
        found = []
        for file in self._directory.iterdir():
            with contextlib.suppress(FileNotFoundError):  # Another process removed it.
                status = file.lstat()
                found.append((status.st_mtime, status.st_size, file))
        left = sum(size for _, size, _ in found)
        for changed, size, file in sorted(found):
            is_old = time.time() - changed >= MAX_AGE
            if left <= self._max_total and not is_old:
                break
            file.unlink(missing_ok=True)
            left -= size
            if not is_old:
                self._rest_ends = self._clock() + REST


def _read(file: Path) -> LastGoodDocument | None:
    try:
        age = max(time.time() - file.stat().st_mtime, 0.0)
        if age >= MAX_AGE:
            return None
        with gzip.open(file) as packed:
            head, _, body = packed.read(MAX_DOCUMENT).partition(b"\n")
        validators = {str(k): str(v) for k, v in json.loads(head)["validators"].items()}
        return LastGoodDocument(body, validators, age)
    except UNREADABLE_FILE:
        return None


def _touch(file: Path, validators: Mapping[str, str]) -> bool:
    """Note that a document is current now; return False if it is another one, or not there."""
    try:
        with gzip.open(file) as packed:
            is_same: bool = json.loads(packed.readline(MAX_HEAD))["validators"] == validators
        if is_same:
            os.utime(file)
    except UNREADABLE_FILE:
        return False
    return is_same


def _write_whole(file: Path, content: bytes) -> None:
    """Replace a file as a whole. Raise OSError, and leave nothing behind then."""
    number, name = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(number, "wb") as place:
            place.write(content)
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
