"""The store on a local disk: one directory per build, which the gateway or the API serves."""

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from typing_extensions import override

from asu.disk_space import disk_error
from asu.errors import StoreFailed

from . import directory as disk
from .directory import Workplaces, bytes_in, is_older, manifest_in
from .manifest import ACCOUNT, FILE_NAME, KEY, MANIFEST, Manifest, StoredFile, describe_build
from .store import (
    NO_HASHES,
    Content,
    Lifetimes,
    Store,
    StoredBuild,
    outdated,
    without_rival,
)

FAILURES = ".failures"  # Beside the builds; the dot keeps the gateway from serving it.


class LocalStore(Store):
    """A store in a directory. API and workers must see the same one."""

    answers_last = 0.0
    expire_every = 60.0  # One look at each directory.

    def __init__(self, root: Path) -> None:
        self._root = root
        self._workplaces = Workplaces(root)

    @override
    def open(self) -> None:
        self._workplaces.open()

    @override
    def has(self, key: str) -> bool:
        directory = self._root / key
        if KEY.fullmatch(key) is None:
            return False
        if manifest := manifest_in(directory):
            return disk.is_whole(directory, manifest)
        try:
            return not disk.is_damaged(directory) and any(map(Path.is_file, directory.iterdir()))
        except FileNotFoundError:
            self.reach()
            return False
        except OSError as error:
            raise disk_error(error, "it cannot be looked at") from error

    @override
    def find(self, key: str, name: str) -> StoredFile | None:
        if KEY.fullmatch(key) is None or FILE_NAME.fullmatch(name) is None:
            return None
        directory = self._root / key
        try:  # Asked once, since the file may be swept away between two questions.
            status = (directory / name).lstat()
        except OSError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        if manifest := manifest_in(directory):
            file = manifest.stored(name)
            return file if file and file.size == status.st_size else None
        if self._is_damaged(directory):
            return None
        return StoredFile(
            key=key,
            name=name,
            size=status.st_size,
            etag=f"{status.st_mtime_ns:x}-{status.st_size:x}",
            modified=int(status.st_mtime),
        )

    @override
    def content(self, file: StoredFile, start: int, length: int) -> Content | None:
        try:
            stream = (self._root / file.key / file.name).open("rb", buffering=0)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, f"{file.name} cannot be read") from error
        stream.seek(start)
        return stream

    @override
    def published_keys(self) -> Iterator[str]:
        return (directory.name for directory in self._directories())

    @override
    def manifest(self, key: str) -> Manifest | None:
        return manifest_in(self._root / key) if KEY.fullmatch(key) else None

    @override
    def account(self, key: str) -> bytes | None:
        try:
            return (self._root / key / ACCOUNT).read_bytes() if KEY.fullmatch(key) else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, f"{ACCOUNT} cannot be read") from error

    @override
    def workplace(self, key: str) -> Path:
        return self._workplaces.new(key)

    @override
    def publish(
        self,
        key: str,
        directory: Path,
        lifetime: int,
        hashes: Mapping[str, str] = NO_HASHES,
        is_current: Callable[[], bool] = without_rival,
    ) -> bool:
        """Publish by one rename; a power failure leaves a whole build or none."""
        try:
            manifest = describe_build(key, directory, lifetime, hashes)
            (directory / MANIFEST).write_bytes(manifest.to_json())
            # Gateway and API read the files under other users' names.
            directory.chmod(0o755)
            # The gateway sends a file's own time as Last-Modified, the API that of the manifest.
            modified = int(manifest.published.timestamp())
            for path in directory.iterdir():
                path.chmod(0o644)
                os.utime(path, (modified, modified))
            disk.sync_build(directory)
            if not self._put_in_place(key, directory, is_current):
                return False
            disk.sync(self._root)
        except OSError as error:
            raise disk_error(error, "not published") from error
        if is_current():
            with contextlib.suppress(OSError):  # Mostly there is none.
                (self._root / FAILURES / key).unlink()
            return True

        if manifest_in(self._root / key) == manifest:
            self._remove(key, lambda directory: manifest_in(directory) == manifest)
        return False

    @override
    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        self._workplaces.expire(lifetimes.workplaces)
        self._expire_failures()

        def is_over(directory: Path) -> bool:
            manifest = manifest_in(directory)
            if manifest is None:
                return is_older(directory, lifetimes.undocumented)
            return manifest.is_over(lifetimes.grace)

        return [
            key
            for key in self.published_keys()
            if is_over(self._root / key) and not is_known(key) and self._remove(key, is_over)
        ]

    @override
    def remove_damaged(self) -> list[str]:
        return [
            directory.name
            for directory in self._directories()
            if self._is_damaged(directory) and self._remove(directory.name, self._is_damaged)
        ]

    @override
    def builds(self) -> list[StoredBuild]:
        """Return all that is published; access times show downloads, where the disk keeps them."""
        builds = []
        for path in self._directories():
            idle = max(0.0, time.time() - _last_use(path))
            builds.append(StoredBuild(key=path.name, bytes=bytes_in(path), idle=idle))
        return builds

    @override
    def remove(self, key: str, grace: float) -> bool:
        def may_go(directory: Path) -> bool:
            manifest = manifest_in(directory)
            return manifest.age > grace if manifest else is_older(directory, grace)

        return self._remove(key, may_go) or not (self._root / key).exists()

    @override
    def reach(self) -> None:
        if not self._workplaces.are_there():
            raise StoreFailed(reason="its disk is not there")

    @override
    def probe(self) -> None:
        self.open()
        self._workplaces.probe()
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise StoreFailed(reason="the store is not writable (no build can be put there)")

    @override
    def keep_failure(self, key: str, document: bytes) -> None:
        failures = self._root / FAILURES
        try:
            failures.mkdir(mode=0o755, exist_ok=True)
            place = failures / f".{key}"
            place.write_bytes(document)
            place.chmod(0o644)
            place.replace(failures / key)
        except OSError as error:
            raise disk_error(error, "a failure was not kept") from error

    @override
    def failure(self, key: str) -> bytes | None:
        try:
            return (self._root / FAILURES / key).read_bytes() if KEY.fullmatch(key) else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error, "a failure cannot be read") from error

    @override
    def failed_keys(self, prefix: str) -> set[str]:
        paths = (self._root / FAILURES).glob(f"{prefix}*")
        return {path.name for path in paths if KEY.fullmatch(path.name)}

    def _expire_failures(self) -> None:
        ages = {}
        for path in (self._root / FAILURES).glob("*"):
            with contextlib.suppress(FileNotFoundError):  # Another worker was faster.
                ages[path.name] = time.time() - path.stat().st_mtime
        for name in outdated(ages):
            (self._root / FAILURES / name).unlink(missing_ok=True)

    def _directories(self) -> list[Path]:
        try:
            return [path for path in self._root.iterdir() if KEY.fullmatch(path.name)]
        except OSError as error:
            raise disk_error(error, "it cannot be looked through") from error

    def _is_damaged(self, directory: Path) -> bool:
        try:
            return disk.is_damaged(directory)
        except OSError:  # What the disk does not hand out may be whole.
            return False

    def _remove(self, key: str, may_go: Callable[[Path], bool]) -> bool:
        """Take a build out of sight in one step, then remove it; return whether it is gone.

        A build that was published in between goes back. If the disk has no room for another
        directory, which is when builds must go, the build is removed where it lies.
        """
        try:
            place = self.workplace(key)
        except StoreFailed:
            return disk.remove_in_place(self._root / key, may_go)
        with contextlib.suppress(OSError):  # Another worker may have been faster.
            os.rename(self._root / key, place / key)  # noqa: PTH104
            if not may_go(place / key):
                os.rename(place / key, self._root / key)  # noqa: PTH104
        is_removed = (place / key).is_dir()
        shutil.rmtree(place, ignore_errors=True)
        return is_removed

    def _put_in_place(self, key: str, directory: Path, is_current: Callable[[], bool]) -> bool:
        """Rename a workplace to the build's directory, if it still may be one; raises OSError."""
        if not is_current():
            return False
        try:
            # os.rename never replaces a directory that holds files; Path.rename says nothing of it.
            os.rename(directory, self._root / key)  # noqa: PTH104
        except OSError:
            if not (self._root / key).is_dir():
                raise
            # Files lie there. If they came since the question, a later attempt published them.
            if not is_current():
                return False
            old = self.workplace(key)
            os.rename(self._root / key, old / "old")  # noqa: PTH104
            os.rename(directory, self._root / key)  # noqa: PTH104
            shutil.rmtree(old, ignore_errors=True)
        return True


def _last_use(directory: Path) -> float:
    """Return when a build was published or a file of it was last read, in seconds since 1970."""
    manifest = manifest_in(directory)
    try:
        published = manifest.published.timestamp() if manifest else directory.stat().st_mtime
        files = (path for path in directory.iterdir() if FILE_NAME.fullmatch(path.name))
        return max([published, *(path.stat().st_atime for path in files)])
    except FileNotFoundError:
        return time.time()  # Another worker has just removed it.
