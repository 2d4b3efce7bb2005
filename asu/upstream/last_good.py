"""The last good documents of the downloads server on disk, so that an API that starts while that server is away knows what the last one knew.

Each document is one packed file: what would ask for a newer one, and the document as it was sent.
It is read again as an answer is, by the same readers, so nothing here is executed, and a file that
is not what it should be is passed over. Its time is when it was last written or confirmed. Whatever
fails here costs a copy, never a request: a disk that hangs is waited for in a thread of its own,
and not for long.
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
from pathlib import Path
from typing import Protocol, TypeVar

from asu.blocking import BlockingCalls

T = TypeVar("T")
log = logging.getLogger(__name__)

# Below the store's; neither the store nor the gateway gives it out, whose builds are named by
# hashes.
DIRECTORY = ".metadata"
# Bytes unpacked, the head included; the API takes no larger document from the server.
MAX_DOCUMENT = 33 * 1024 * 1024
MAX_HEAD = 64 * 1024  # Bytes; the headers of an answer are no longer than that.
MAX_TOTAL = 128 * 1024 * 1024  # Bytes; all documents of five releases are about half of it, packed.
# Seconds; what a server has not confirmed for a week may long be gone there.
MAX_AGE = 7 * 86_400.0
PATIENCE = 1.0  # Seconds for a disk that hangs; one that does not takes milliseconds.
# Seconds likewise for what nobody waits for; the largest document takes one to pack.
NOTE_PATIENCE = 10.0
# Documents that wait to be written: each is held meanwhile, and one that is passed over is fetched
# again when it comes to light.
MAX_NOTES = 16
# Seconds after a full disk in which no document is fetched for its sake: it would be told as
# lacking every few minutes.
REST = 3600.0
UNREADABLE = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)
LEVEL = 3  # Of packing: nearly as small as the best, in a quarter of its time.


@dataclass(frozen=True, slots=True)
class LastGoodDocument:
    """A document as it was sent, the headers that ask for a newer one, and its age in seconds."""

    body: bytes
    validators: Mapping[str, str]
    age: float


class LastGood(Protocol):
    """Keeps documents for processes to come; never raises."""

    async def find(self, path: str) -> LastGoodDocument | None:
        """Return a document that was good within a week."""

    async def keep(self, path: str, body: bytes, validators: Mapping[str, str]) -> None:
        """Keep a document that was just sent."""

    async def confirm(self, path: str, validators: Mapping[str, str]) -> bool:
        """Note that the document with these validators is current; False where it is not kept and should be, as when it could not be written."""

    async def forget(self, path: str) -> None:
        """Drop a document that is not there any more."""


class DiskLastGood:
    """In a directory, for one downloads server; processes may share it, since each file is replaced as a whole."""

    def __init__(
        self,
        directory: Path,
        url: str,
        *,
        max_total: int = MAX_TOTAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory, self._url, self._max_total, self._clock = directory, url, max_total, clock
        # Documents are looked for apart, since writing a large one takes a second.
        self._finding = BlockingCalls("the disk", patience=PATIENCE)
        self._noting = BlockingCalls("the disk", patience=NOTE_PATIENCE)
        self._notes = 0
        self._fails = False
        self._rest_ends = float("-inf")

    async def find(self, path: str) -> LastGoodDocument | None:
        """See LastGood."""
        file = self._file(path)
        try:
            return await self._finding.run(lambda: _read(file))
        except TimeoutError:
            return None

    async def keep(self, path: str, body: bytes, validators: Mapping[str, str]) -> None:
        """See LastGood."""
        file = self._file(path)
        await self._note(lambda: self._write(file, body, validators))

    async def confirm(self, path: str, validators: Mapping[str, str]) -> bool:
        """See LastGood."""
        file = self._file(path)
        is_lacking = await self._note(lambda: not _touch(file, validators))
        return not is_lacking or self._clock() < self._rest_ends

    async def forget(self, path: str) -> None:
        """See LastGood."""
        file = self._file(path)
        with contextlib.suppress(OSError):
            await self._note(lambda: file.unlink(missing_ok=True))

    async def _note(self, call: Callable[[], T]) -> T | None:
        """Return what a call returns; None for one that is passed over, since the disk hangs or too many wait for it."""
        if self._notes >= MAX_NOTES:
            return None
        self._notes += 1
        try:
            return await self._noting.run(call)
        except TimeoutError:
            return None
        finally:
            self._notes -= 1

    def _file(self, path: str) -> Path:
        """Return the file of a document: paths hold what clients sent, so the name is a hash, of the server's address, too."""
        return (
            self._directory
            / hashlib.sha256(f"{self._url}/{path}".encode(errors="surrogatepass")).hexdigest()
        )

    def _write(self, file: Path, body: bytes, validators: Mapping[str, str]) -> None:
        head = json.dumps({"validators": dict(validators)}).encode()
        try:
            self._directory.mkdir(exist_ok=True)
            _replace(file, gzip.compress(head + b"\n" + body, LEVEL))
            self._make_room()
        except OSError as error:
            self._rest_ends = self._clock() + REST
            # Once, not for each of hundreds of documents.
            level, self._fails = logging.DEBUG if self._fails else logging.WARNING, True
            log.log(
                level,
                "documents of the downloads server cannot be kept on disk (%s); without that server the next API lacks them",
                error.strerror,
            )
        else:
            self._fails = False

    def _make_room(self) -> None:
        """Remove what is too old, then the oldest until all fits."""
        found = [
            (status.st_mtime, status.st_size, entry.path)
            for entry in os.scandir(self._directory)
            if (status := _status(entry))
        ]
        left = sum(size for _, size, _ in found)
        for changed, size, path in sorted(found):
            if left <= self._max_total and time.time() - changed < MAX_AGE:
                break
            Path(path).unlink(missing_ok=True)
            left -= size
            if time.time() - changed < MAX_AGE:
                self._rest_ends = self._clock() + REST


def _read(file: Path) -> LastGoodDocument | None:
    try:
        age = max(time.time() - file.stat().st_mtime, 0.0)
        if age >= MAX_AGE:
            return None
        with gzip.open(file) as packed:
            head, _, body = packed.read(MAX_DOCUMENT).partition(b"\n")
        validators = json.loads(head)["validators"]
        return LastGoodDocument(
            body, {str(name): str(value) for name, value in validators.items()}, age
        )
    except UNREADABLE:
        return None


def _touch(file: Path, validators: Mapping[str, str]) -> bool:
    """Make a document as new as can be; False where it is another one, or none."""
    try:
        with gzip.open(file) as packed:
            is_same: bool = json.loads(packed.readline(MAX_HEAD))["validators"] == validators
        if is_same:
            os.utime(file)
    except UNREADABLE:
        return False
    return is_same


def _replace(file: Path, content: bytes) -> None:
    """Put a file in place of another as a whole; raises OSError and leaves nothing behind then."""
    number, name = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(number, "wb") as place:
            place.write(content)
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # Another process was quicker.
        return None
