"""What every store can do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from .manifest import Manifest

KEY = re.compile(r"[0-9a-f]{64}")
# Names as the ImageBuilder makes them; a leading dot would hide a file, a slash leave the
# directory.
FILE_NAME = re.compile(r"[A-Za-z0-9_+%~-][A-Za-z0-9_.+%~-]{0,254}")
NO_HASHES: Mapping[str, str] = MappingProxyType({})
# What a lost record can be made from; see build_account. Nobody serves a name with a leading dot.
ACCOUNT = ".asu-record.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A published file of a build: its name, its size in bytes, and what HTTP tells of it.

    `etag` is a strong validator without its quotes, `modified` is in seconds since 1970; `url` is
    where clients are to fetch the file from, None where the API sends it; `publication` is that of
    its manifest.
    """

    key: str
    name: str
    size: int
    etag: str
    modified: int
    url: str | None = None
    publication: str = ""


class Content(Protocol):
    """The bytes of a published file, from where reading was to begin."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, nothing at the end; raises StoreFailed when the rest cannot be had."""

    def close(self) -> None:
        """Let go of it, read to its end or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How many seconds things stay in a store at least.

    `grace` is for builds, beyond their own end; `undocumented` for builds without a manifest, as an
    earlier version of the local store published them; `workplaces` for unpublished files that
    nobody has touched.
    """

    grace: float
    undocumented: float
    workplaces: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUsage:
    """How many builds are published, and how many bytes their files have."""

    builds: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBuild:
    """A published build: the bytes of its files, and for how many seconds it was neither published nor, as far as the store knows, read."""

    key: str
    bytes: int
    idle: float


def without_rival() -> bool:
    """Say what is true where nobody else publishes the same build: it may be done."""
    return True


class Store(Protocol):
    """Keeps the files of finished builds, each build a flat set of names under its key.

    A build is published all at once or not at all, and never changed afterwards: only an attempt
    that is the current one replaces what is there, and then no record promises it. With its files
    lies a manifest, which says what belongs to it and when its life ends. All calls block.
    """

    # Seconds for which an answer of `has` is good enough for those who poll; 0 where asking costs
    # next to nothing.
    answers_last: float
    expire_every: float  # Seconds between two calls of `expire`: one looks at all that there is.

    def open(self) -> None:
        """Get ready; raises StoreFailed where that is not possible. Nothing is asked over a network yet."""

    def has(self, key: str) -> bool:
        """Whether the build is published and its files are there, each as long as it was; raises StoreFailed when nobody can say."""

    def find(self, key: str, name: str) -> StoredFile | None:
        """Return a published file; None for anything else, whatever the name holds. Raises StoreFailed."""

    def content(self, file: StoredFile, start: int, length: int) -> Content | None:
        """Return `length` bytes of a file that was found, from byte `start` on; None if it has gone since. Raises StoreFailed."""

    def published_keys(self) -> Iterator[str]:
        """Yield the keys of all builds that there are, whole or not; raises StoreFailed."""

    def manifest(self, key: str) -> Manifest | None:
        """Return what was published under a key; None where nothing was, or nobody can tell. Raises StoreFailed."""

    def account(self, key: str) -> bytes | None:
        """Return what was kept beside the files of a build; None if nothing was. Raises StoreFailed."""

    def workplace(self, key: str) -> Path:
        """Return a new private local directory in which the files of a build are gathered; raises StoreFailed."""

    def publish(
        self,
        key: str,
        directory: Path,
        lifetime: int,
        hashes: Mapping[str, str] = NO_HASHES,
        is_current: Callable[[], bool] = without_rival,
    ) -> bool:
        """Make the regular files of a workplace the published build, for `lifetime` seconds from now; return whether they are.

        The SHA-256 of files that `hashes` names are taken from there; the others are read for them.
        A file named ACCOUNT is kept beside them and never served. `is_current` says whether whoever
        publishes may still do so. It is asked when nothing is left to be done but the one step that
        makes the files visible, and once more after it; as soon as it says no, what was published
        is taken back, unless somebody else's files lie there by then, and the answer is False. An
        earlier publication of the same build is replaced as a whole. Afterwards the workplace is to
        be discarded. Raises StoreFailed, and what `is_current` raises.
        """

    def discard(self, directory: Path) -> None:
        """Remove a workplace; what was published from it stays."""

    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        """Remove builds that have outlived their time and whose key is not known, and what the dead left unpublished.

        Return the keys of the builds that were removed. What is known stays, however old it is.
        Raises StoreFailed, and what
        `is_known` raises.
        """

    def remove_damaged(self) -> list[str]:
        """Remove builds of which a file is gone, or has not the size that it was published with, known or not; return their keys.

        So are those whose manifest cannot be read, or is gone though their account is there: a
        power failure leaves such. Where a gateway serves the files, nothing else keeps what is left
        of them from clients. Raises StoreFailed.
        """

    def builds(self) -> list[StoredBuild]:
        """Return all that is published; raises StoreFailed."""

    def remove(self, key: str, grace: float) -> bool:
        """Remove a build and return whether it is gone; False for one that was published within `grace` seconds. Raises StoreFailed."""

    def usage(self) -> StoreUsage | None:
        """Look through all that is published; None where that takes longer than a worker may be silent. Raises StoreFailed."""

    def reach(self) -> None:
        """Look whether the store can be read; raises StoreFailed."""

    def probe(self) -> None:
        """Write something where builds are gathered and published, and remove it; raises StoreFailed."""
