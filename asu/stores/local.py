"""The store on a local disk: one directory per build, published by rename, served by the gateway or by the API."""

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from asu.errors import StoreFailed

from .directory import (
    bytes_in,
    has_size,
    is_damaged,
    manifest_in,
    remove_in_place,
    sizes_in,
    sync,
    sync_build,
)
from .manifest import MANIFEST, Manifest, describe_build
from .store import (
    ACCOUNT,
    FILE_NAME,
    KEY,
    NO_HASHES,
    Content,
    Lifetimes,
    StoredBuild,
    StoredFile,
    StoreUsage,
    without_rival,
)
from .workplaces import Workplaces, is_older

REMEMBERED = 10_000  # Builds; what is remembered of each takes some 600 bytes.


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile(StoredFile):
    """A published file that can be opened where it lies."""

    path: Path


class LocalStore:
    """A store in a directory. API and workers must see the same one."""

    answers_last = 0.0
    expire_every = 60.0  # One look at each directory.

    def __init__(self, root: Path) -> None:
        self._root = root
        self._workplaces = Workplaces(root)
        # By the key and the mark of its directory. Threads share it.
        self._sizes_of = lru_cache(REMEMBERED)(self._published_sizes)

    def open(self) -> None:
        """See Store."""
        self._workplaces.open()

    def has(self, key: str) -> bool:
        """See Store.

        The manifest is read once. From then on the directory tells by its own time whether the
        build is still that one, and a poll costs a stat of it and of each file, 2 µs apiece.
        """
        if KEY.fullmatch(key) is None:
            return False
        try:
            status = (self._root / key).stat()
            # A file that was shortened in place leaves no mark on the directory.
            sizes = self._sizes_of(key, (status.st_ino, status.st_mtime_ns))
            if sizes is not None:
                return all(has_size(path, size) for path, size in sizes)
            directory = self._root / key
            return not is_damaged(directory) and any(map(Path.is_file, directory.iterdir()))
        except FileNotFoundError:
            if self._workplaces.are_there():
                return False
            raise StoreFailed(reason="its disk is not there") from None
        except OSError as error:
            raise StoreFailed(reason=f"it cannot be looked at ({error.strerror})") from error

    def find(self, key: str, name: str) -> LocalFile | None:
        """See Store."""
        if KEY.fullmatch(key) is None or FILE_NAME.fullmatch(name) is None:
            return None
        path = self._root / key / name
        try:
            status = path.lstat()  # Asked once: between two questions the file may be swept away.
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        manifest = manifest_in(self._root / key)
        if manifest is None:
            etag = f"{status.st_mtime_ns:x}-{status.st_size:x}"
            undocumented = LocalFile(
                key=key,
                name=name,
                size=status.st_size,
                etag=etag,
                modified=int(status.st_mtime),
                path=path,
            )
            return None if self._is_damaged(self._root / key) else undocumented
        file = manifest.stored(name)
        if file is None or file.size != status.st_size:
            return None
        return LocalFile(
            key=key, name=name, size=file.size, etag=file.etag, modified=file.modified, path=path
        )

    def content(self, file: StoredFile, start: int, length: int) -> Content | None:  # noqa: ARG002  # A file is read as far as is wanted.
        """See Store."""
        try:
            stream = (self._root / file.key / file.name).open("rb", buffering=0)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreFailed(reason=f"{file.name} cannot be read ({error.strerror})") from error
        stream.seek(start)
        return stream

    def published_keys(self) -> Iterator[str]:
        """See Store."""
        for key, _ in self._directories():
            yield key

    def manifest(self, key: str) -> Manifest | None:
        """See Store."""
        return manifest_in(self._root / key) if KEY.fullmatch(key) else None

    def account(self, key: str) -> bytes | None:
        """See Store."""
        try:
            return (self._root / key / ACCOUNT).read_bytes() if KEY.fullmatch(key) else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreFailed(reason=f"{ACCOUNT} cannot be read ({error.strerror})") from error

    def workplace(self, key: str) -> Path:
        """See Store."""
        return self._workplaces.new(key)

    def publish(
        self,
        key: str,
        directory: Path,
        lifetime: int,
        hashes: Mapping[str, str] = NO_HASHES,
        is_current: Callable[[], bool] = without_rival,
    ) -> bool:
        """See Store.

        All is on the disk itself before it is seen, and seen there when this returns: a power
        failure leaves a whole build or none. What remains to a worker that freezes for longer than
        its lease is the moment between an answer and a rename that replaces what another attempt
        has published; when it thaws, it takes its own back, and none are left, so that the build is
        made again.
        """
        try:
            manifest = describe_build(key, directory, lifetime, hashes)
            (directory / MANIFEST).write_bytes(manifest.to_json())
            # Gateway and API read the files under other users' names.
            directory.chmod(0o755)
            for path in directory.iterdir():
                path.chmod(0o644)
            sync_build(directory)
            if not self._put_in_place(key, directory, is_current):
                return False
            sync(self._root)
        except OSError as error:
            raise StoreFailed(reason=f"not published ({error.strerror})") from error
        return is_current() or self._take_back(key, manifest)

    def discard(self, directory: Path) -> None:
        """See Store."""
        self._workplaces.discard(directory)

    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        """See Store."""
        self._workplaces.expire(lifetimes.workplaces)

        def is_over(directory: Path) -> bool:
            return self._is_over(directory, lifetimes)

        return [
            key
            for key, directory in self._directories()
            if is_over(directory) and not is_known(key) and self._remove(key, is_over)
        ]

    def remove_damaged(self) -> list[str]:
        """See Store."""
        return [
            key
            for key, directory in self._directories()
            if self._is_damaged(directory) and self._remove(key, self._is_damaged)
        ]

    def builds(self) -> list[StoredBuild]:
        """See Store. The time at which a file was last accessed tells of downloads, where the file system notes it."""
        return [
            StoredBuild(
                key=key,
                bytes=bytes_in(directory),
                idle=max(0.0, time.time() - self._last_use(directory)),
            )
            for key, directory in self._directories()
        ]

    def remove(self, key: str, grace: float) -> bool:
        """See Store."""

        def may_go(directory: Path) -> bool:
            manifest = manifest_in(directory)
            return manifest.age > grace if manifest else is_older(directory, grace)

        return self._remove(key, may_go) or not (self._root / key).exists()

    def usage(self) -> StoreUsage:
        """See Store."""
        builds = size = 0
        for _, directory in self._directories():
            builds += 1
            size += bytes_in(directory)
        return StoreUsage(builds=builds, bytes=size)

    def reach(self) -> None:
        """See Store."""
        if not self._workplaces.are_there():
            raise StoreFailed(reason="its disk is not there")

    def probe(self) -> None:
        """See Store."""
        self.open()
        self._workplaces.probe()
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise StoreFailed(
                reason="the store is not writable (builds cannot be put beside those that are there)"
            )

    def _directories(self) -> Iterator[tuple[str, Path]]:
        """Yield the builds that there are; raises StoreFailed."""
        try:
            directories = [
                directory for directory in self._root.iterdir() if KEY.fullmatch(directory.name)
            ]
        except OSError as error:
            raise StoreFailed(reason=f"it cannot be looked through ({error.strerror})") from error
        for directory in directories:
            yield directory.name, directory

    def _published_sizes(
        self, key: str, _mark: tuple[int, int]
    ) -> tuple[tuple[str, int], ...] | None:
        """Return the paths and sizes of a build's files; None for one without a manifest."""
        manifest = manifest_in(self._root / key)
        return None if manifest is None else sizes_in(self._root / key, manifest)

    def _is_over(self, directory: Path, lifetimes: Lifetimes) -> bool:
        """Whether a build has outlived its time; one without a manifest goes by its age."""
        manifest = manifest_in(directory)
        return (
            manifest.is_over(lifetimes.grace)
            if manifest
            else is_older(directory, lifetimes.undocumented)
        )

    def _last_use(self, directory: Path) -> float:
        """Return when a build was published or one of its files was last read, in seconds since 1970."""
        manifest = manifest_in(directory)
        try:
            published = manifest.published.timestamp() if manifest else directory.stat().st_mtime
            return max(
                [
                    published,
                    *(
                        path.stat().st_atime
                        for path in directory.iterdir()
                        if FILE_NAME.fullmatch(path.name)
                    ),
                ]
            )
        except FileNotFoundError:
            return time.time()  # Another worker has just removed it.

    def _is_damaged(self, directory: Path) -> bool:
        """Whether a build is known to be damaged: what the disk does not hand out today may be whole."""
        try:
            return is_damaged(directory)
        except OSError:
            return False

    def _remove(self, key: str, may_go: Callable[[Path], bool]) -> bool:
        """Take a build out of sight in one step, then remove it; one that was published anew in between goes back.

        A disk may have no room for the directory that this takes, which is when something must go:
        then it is removed where it lies.
        """
        try:
            place = self.workplace(key)
        except StoreFailed:
            return remove_in_place(self._root / key, may_go)
        with contextlib.suppress(OSError):  # Another worker may have been faster.
            os.rename(self._root / key, place / key)  # noqa: PTH104
            if not may_go(place / key):
                os.rename(place / key, self._root / key)  # noqa: PTH104
        is_removed = (place / key).is_dir()
        self.discard(place)
        return is_removed

    def _put_in_place(self, key: str, directory: Path, is_current: Callable[[], bool]) -> bool:
        """Rename a workplace to the build that it is, if it still may be; raises OSError."""
        if not is_current():
            return False
        try:
            os.rename(directory, self._root / key)  # noqa: PTH104  # os.rename never replaces a directory that holds files.
        except OSError:
            if not (self._root / key).is_dir():
                raise
            # Files lie there. If they came since the question, they are those of a later attempt.
            if not is_current():
                return False
            self._publish_again(key, directory)
        return True

    def _take_back(self, key: str, published: Manifest) -> bool:
        """Remove what an attempt that is no longer the current one has published, unless another has replaced it; return that it is not published."""

        def is_that(directory: Path) -> bool:
            return manifest_in(directory) == published

        if is_that(self._root / key):
            self._remove(key, is_that)
        return False

    def _publish_again(self, key: str, directory: Path) -> None:
        """Put a later build in the place of an earlier one whose record is gone: the old files go first."""
        old = self.workplace(key)
        os.rename(self._root / key, old / "old")  # noqa: PTH104
        os.rename(directory, self._root / key)  # noqa: PTH104
        shutil.rmtree(old, ignore_errors=True)
