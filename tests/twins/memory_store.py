"""The store's in-memory twin: builds are a mapping, workplaces lie in a temporary directory."""

import io
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from asu.stores.directory import Workplaces
from asu.stores.manifest import ACCOUNT, KEY, Manifest, StoredFile, describe_build
from asu.stores.store import (
    NO_HASHES,
    Content,
    Lifetimes,
    Store,
    StoredBuild,
    StoreUsage,
    without_rival,
)


@dataclass(frozen=True, slots=True)
class Published:
    """A build as it was published."""

    manifest: Manifest
    contents: dict[str, bytes]
    account: bytes | None = None

    def is_whole(self) -> bool:
        """Whether each file is there and has its size."""
        return all(self.has_whole(file.name, file.size) for file in self.manifest.files)

    def has_whole(self, name: str, size: int) -> bool:
        """Whether a file is there and has this size."""
        return name in self.contents and len(self.contents[name]) == size


class MemoryStore(Store):
    """A store that ends with its process; with a `public_url` it sends clients there."""

    answers_last = 0.0
    expire_every = 60.0

    def __init__(self, public_url: str | None = None) -> None:
        root = Path(tempfile.mkdtemp(prefix="asu-store-"))
        weakref.finalize(self, shutil.rmtree, root, ignore_errors=True)
        self._workplaces = Workplaces(root)
        self._workplaces.open()
        self._public_url = public_url
        self.published: dict[str, Published] = {}
        self.failures: dict[str, bytes] = {}

    @override
    def open(self) -> None:
        return

    @override
    def reach(self) -> None:
        return

    @override
    def has(self, key: str) -> bool:
        build = self.published.get(key)
        return build is not None and build.is_whole()

    @override
    def find(self, key: str, name: str) -> StoredFile | None:
        build = self.published.get(key)
        url = f"{self._public_url}/{key}/{name}" if self._public_url else None
        file = build.manifest.stored(name, url) if build else None
        return file if build and file and build.has_whole(name, file.size) else None

    @override
    def content(self, file: StoredFile, start: int, length: int) -> Content | None:
        build = self.published.get(file.key)
        content = build.contents.get(file.name) if build else None
        return None if content is None else io.BytesIO(content[start : start + length])

    @override
    def published_keys(self) -> Iterator[str]:
        yield from list(self.published)

    @override
    def manifest(self, key: str) -> Manifest | None:
        build = self.published.get(key)
        return build.manifest if build else None

    @override
    def account(self, key: str) -> bytes | None:
        build = self.published.get(key)
        return build.account if build else None

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
        if KEY.fullmatch(key) is None:
            raise ValueError("a build is published under its key")
        manifest = describe_build(key, directory, lifetime, hashes)
        contents = {file.name: (directory / file.name).read_bytes() for file in manifest.files}
        account = directory / ACCOUNT
        build = Published(manifest, contents, account.read_bytes() if account.exists() else None)
        if not is_current():
            return False
        self.published[key] = build
        self.failures.pop(key, None)
        if is_current():
            return True
        if self.published.get(key) is build:
            del self.published[key]
        return False

    @override
    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        self._workplaces.expire(lifetimes.workplaces)
        unknown = [key for key in list(self.published) if not is_known(key)]
        removed = [key for key in unknown if self.published[key].manifest.is_over(lifetimes.grace)]
        for key in removed:
            del self.published[key]
        return removed

    @override
    def remove_damaged(self) -> list[str]:
        removed = [key for key, build in self.published.items() if not build.is_whole()]
        for key in removed:
            del self.published[key]
        return removed

    @override
    def keep_failure(self, key: str, document: bytes) -> None:
        self.failures[key] = document

    @override
    def failure(self, key: str) -> bytes | None:
        return self.failures.get(key)

    @override
    def failed_keys(self, prefix: str) -> set[str]:
        return {key for key in self.failures if key.startswith(prefix)}

    @override
    def builds(self) -> list[StoredBuild]:
        return [
            StoredBuild(
                key=key,
                bytes=sum(file.size for file in build.manifest.files),
                idle=build.manifest.age,
            )
            for key, build in self.published.items()
        ]

    @override
    def remove(self, key: str, grace: float) -> bool:
        if key in self.published and self.published[key].manifest.age > grace:
            del self.published[key]
        return key not in self.published

    @override
    def usage(self) -> StoreUsage:
        sizes = [file.size for build in self.published.values() for file in build.manifest.files]
        return StoreUsage(builds=len(self.published), bytes=sum(sizes))

    @override
    def probe(self) -> None:
        self._workplaces.probe()
