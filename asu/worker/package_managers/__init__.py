"""The two package managers of ImageBuilders: where their feeds and keys stand, what they print, and what they complain about.

Both are told apart by the version alone, so that the words of the one are never looked for in the
output of the other.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from asu.catalogue.package_manager import package_manager_of
from asu.resolution import Version

from .admitted_feeds import UnusableFeed
from .apk import Apk
from .opkg import Opkg
from .problems import PackageProblem

__all__ = ["Apk", "Opkg", "PackageManager", "PackageProblem", "package_manager_for"]


class PackageManager(Protocol):
    """What differs between builders with opkg and builders with apk; paths are below the builder's directory."""

    @property
    def repositories_path(self) -> str:
        """Where the list of feeds stands."""

    def address(self, url: str) -> str:
        """Return the address of a feed as it stands in that list."""

    def repositories(
        self, present: str, feeds: Mapping[str, str], mode: Literal["append", "replace"]
    ) -> str:
        """Return the list of feeds with those of a request, name → URL; the builder's own packages stay whatever the mode."""

    def feeds(self, listed: str) -> dict[str, str]:
        """Return the feeds of such a list that packages are fetched from, name → address; a nameless one is named by its address."""

    def key_files(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return path → content for the keys that it can use; the other manager's are left out. Raises BuildFailed."""

    def manifest(self, output: str) -> dict[str, str]:
        """Read `make manifest`: name → version."""

    def problems(self, text: str) -> list[PackageProblem]:
        """Return why packages cannot be installed, each once, in the order in which it was said."""

    def failed_download(self, text: str) -> str | None:
        """Return what could not be downloaded or trusted, or None; it says so of feeds after success, too."""

    def unusable_feeds(self, stderr: str, feeds: Mapping[str, str]) -> list[UnusableFeed]:
        """Return each of these feeds, name → URL, that was left out; the builder does not fail for that."""


MANAGERS: Mapping[str, PackageManager] = {"opkg": Opkg(), "apk": Apk()}


def package_manager_for(version: Version) -> PackageManager:
    """Return the package manager of the ImageBuilder of a version."""
    return MANAGERS[package_manager_of(version)]
