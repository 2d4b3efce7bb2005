"""The content of one package index, in the same form whichever package manager wrote it."""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

MAX_PACKAGES = 100_000  # The largest index of OpenWrt has 10 000.
MAX_UNPACKED = 48 * 1024 * 1024  # Bytes; the largest has 9 MiB.
MAX_SIZE = 2**32 - 1  # Bytes of one package, packed or installed.
# Distinct names, versions, lists and packages of five releases are about 200 000.
MAX_SHARED = 400_000
PORTABLE = frozenset({"all", "noarch"})  # Architectures that suit every device.
_NAME = re.compile(r"[^\s()<>=~|,!]+")

T = TypeVar("T", bound=Hashable)


class UnreadableIndexError(ValueError):
    """The document is not such an index, or it is beyond every bound."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package of an index, without its sizes: architectures of a release share these values.

    Relations are in the spelling of the package manager: `curl (>= 8)` or `a | b` for opkg,
    `curl>=8` or `!b` for apk. `priority` is apk's provider_priority.
    """

    name: str
    version: str
    depends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    abi_version: str = ""
    priority: int = 0
    is_portable: bool = False

    @property
    def plain_name(self) -> str:
        """The name without the version of its binary interface: `libubox` of `libubox2024`."""
        return self.name.removesuffix(self.abi_version)


@dataclass(frozen=True, slots=True)
class PackageFeed:
    """One index: its packages, their sizes in bytes, and each name that one of them answers to.

    `versions` maps names to versions: packages, their names without ABI, and what they provide.
    apk's `NAME-any` is left out where NAME itself stands in the index; `version_of_name` knows it.
    An index.json has names only: neither `packages` nor, as `has_provides` says, virtual names.
    """

    versions: Mapping[str, str]
    packages: tuple[Package, ...] = ()
    sizes: array[int] = field(default_factory=lambda: array("I"))
    installed_sizes: array[int] = field(default_factory=lambda: array("I"))
    has_provides: bool = False


@dataclass(slots=True)
class Shared:
    """Keeps one copy of each name, version, list and package; at the bound it starts empty."""

    seen: dict[Hashable, Hashable] = field(default_factory=dict)

    def __call__(self, value: T) -> T:
        """Return the one copy of a value."""
        if len(self.seen) >= MAX_SHARED:
            self.seen.clear()
        # A number must not stand for another value that is equal to it, such as True.
        return self.seen.setdefault(value, value)  # type: ignore[return-value]


def unpacked(raw: bytes, window: int) -> bytes:
    """Unpack a whole index; `window` is zlib's and selects the format."""
    unpacker = zlib.decompressobj(window)
    content = unpacker.decompress(raw, MAX_UNPACKED)
    if not unpacker.eof:
        raise UnreadableIndexError("cut off, or too large")
    return content


def package_feed(listed: Iterable[tuple[Package, int, int]]) -> PackageFeed:
    """Return the index that holds these packages, each with its packed and installed size."""
    packages, sizes, installed_sizes = [], array("I"), array("I")
    for package, size, installed in listed:
        packages.append(package)
        sizes.append(min(size, MAX_SIZE))
        installed_sizes.append(min(installed, MAX_SIZE))
        if len(packages) > MAX_PACKAGES:
            raise UnreadableIndexError("too many packages")
    return PackageFeed(
        _versions(packages), tuple(packages), sizes, installed_sizes, has_provides=True
    )


def _versions(packages: Iterable[Package]) -> dict[str, str]:
    """Return each name with its version: a package first, then a library, then what is provided."""
    versions = {package.name: package.version for package in packages}
    for package in packages:
        if package.abi_version:
            versions.setdefault(package.plain_name, package.version)
    for package in packages:
        for text in package.provides:
            name, version = provided(text)
            if name.removesuffix("-any") not in versions:
                versions[name] = version or package.version
    return versions


def provided(text: str) -> tuple[str, str]:
    """Split what a package provides into name and version, which may be empty.

    >>> provided("uci-firewall=2025-r1"), provided("y (= 2)"), provided("x")
    (('uci-firewall', '2025-r1'), ('y', '2'), ('x', ''))
    """
    found = _NAME.match(text)
    if found is None:
        return text, ""
    return found[0], text[found.end() :].strip(" (=)")
