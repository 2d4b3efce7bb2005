"""What every store can do."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from .manifest import Manifest, StoredFile

# A person who comes back after a holiday still finds why a build failed.
FAILURE_SECONDS = 14 * 86_400
FAILURES_MOST = 2_000  # At 20 KiB each, a packed output of the ImageBuilder.
NO_HASHES: Mapping[str, str] = MappingProxyType({})


class Content(Protocol):
    """The bytes of a published file, from where reading was to begin."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end; raises StoreFailed if the rest is missing."""

    def close(self) -> None:
        """Close it, whether it was read to its end or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How many seconds things stay in a store at least."""

    grace: float  # Builds, beyond their own end.
    undocumented: float  # Builds without a manifest, which an earlier release published.
    workplaces: float  # Unpublished files that nobody has touched.


def outdated(ages: Mapping[str, float]) -> list[str]:
    """Return the names of kept failures that go, by the seconds since each was kept."""
    by_age = sorted(ages, key=ages.__getitem__)
    old = (name for name in by_age[:FAILURES_MOST] if ages[name] > FAILURE_SECONDS)
    return [*by_age[FAILURES_MOST:], *old]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUsage:
    """How many builds are published, and how many bytes their files have."""

    builds: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBuild:
    """A published build, the bytes of its files, and seconds since it was published or read."""

    key: str
    bytes: int
    idle: float


def without_rival() -> bool:
    """Say that this attempt may publish, since no other builds the same."""
    return True


class Store(Protocol):
    """Keeps the files of finished builds, each build a flat set of names under its key.

    A build is published all at once or not at all, and never changed, only replaced as a whole. A
    manifest lies with the files. All calls block, and raise StoreFailed if the store cannot answer.
    """

    # For how many seconds an answer of `has` is good enough for pollers; 0 where asking is cheap.
    answers_last: float
    expire_every: float  # Seconds between two calls of `expire`, which looks at all builds.

    def open(self) -> None:
        """Get ready without asking anything over a network."""

    def has(self, key: str) -> bool:
        """Whether the build is published and all its files are there with their sizes."""

    def find(self, key: str, name: str) -> StoredFile | None:
        """Return a published file; None for any other name."""

    def content(self, file: StoredFile, start: int, length: int) -> Content | None:
        """Return `length` bytes of a file from byte `start` on; None if it has gone since."""

    def published_keys(self) -> Iterator[str]:
        """Yield the keys of all builds, whole or not."""

    def manifest(self, key: str) -> Manifest | None:
        """Return the manifest under a key; None if there is none to read."""

    def account(self, key: str) -> bytes | None:
        """Return the ACCOUNT beside the files of a build; None if there is none."""

    def workplace(self, key: str) -> Path:
        """Return a new private local directory for the files of a build."""

    def publish(
        self,
        key: str,
        directory: Path,
        lifetime: int,
        hashes: Mapping[str, str] = NO_HASHES,
        is_current: Callable[[], bool] = without_rival,
    ) -> bool:
        """Publish the regular files of a workplace as the build, for `lifetime` seconds from now.

        Return whether they are published. An earlier publication of the build is replaced as a
        whole, and what was kept of its failure is removed. The SHA-256 of files that `hashes` names
        are taken from there. A file named ACCOUNT is kept beside them and never served. Afterwards
        the workplace is to be discarded.

        `is_current` says whether this attempt may still publish. It is asked right before the one
        step that makes the files visible, and once after it. If it says no, what was published is
        taken back, unless another attempt's files lie there by then, and the answer is False.
        """

    def discard(self, directory: Path) -> None:
        """Remove a workplace; what was published from it stays."""
        shutil.rmtree(directory, ignore_errors=True)

    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        """Remove old workplaces, and builds whose time is over and key unknown; return these."""

    def remove_damaged(self) -> list[str]:
        """Remove builds that lack a file or have one of a wrong size; return their keys.

        Known builds are removed too: a gateway would serve what is left.
        """

    def keep_failure(self, key: str, document: bytes) -> None:
        """Keep what is known of a failed build, in the place of what was kept of it before.

        `expire` removes it after FAILURE_SECONDS, and the oldest beyond FAILURES_MOST.
        """

    def failure(self, key: str) -> bytes | None:
        """Return what was kept of a failed build; None if nothing is."""

    def failed_keys(self, prefix: str) -> set[str]:
        """Return the keys of kept failures that begin so."""

    def builds(self) -> list[StoredBuild]:
        """Return all that is published."""

    def remove(self, key: str, grace: float) -> bool:
        """Remove a build unless it is younger than `grace` seconds; return whether it is gone."""

    def usage(self) -> StoreUsage | None:
        """Sum up what is published; None where that takes too long for a worker to be silent."""
        builds = self.builds()
        return StoreUsage(builds=len(builds), bytes=sum(build.bytes for build in builds))

    def reach(self) -> None:
        """Check that the store can be read."""

    def probe(self) -> None:
        """Write where builds are gathered and published, and remove it."""
