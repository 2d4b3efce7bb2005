"""What the downloads server tells about a device and its release, as far as it could be had.

Everything here is a plain value made from documents of the downloads server; how they are fetched
is the services' matter. What is missing is None, and a resolution says so instead of failing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .package_feed import PackageFeed
from .versions import Version

# Shipped inside the ImageBuilder and so in no index of the downloads server.
BUILT_IN = frozenset({"kernel", "libc", "base-files"})
_ABI_SUFFIX = re.compile(r"-?[0-9][0-9.]*$")
# Library packages carry the version of their binary interface in older indexes and on devices:
# libubox20240329, libusb-1.0-0.
_LIBRARY = re.compile(r"(?:lib|jansson)")


@dataclass(frozen=True, slots=True)
class DeviceDefaults:
    """The packages that a release installs on a device unless told otherwise.

    `defaults` holds the target's packages and the profile's in their order, without those that the
    profile takes away;
    `device_packages` the profile's own.
    """

    version: Version
    defaults: Mapping[str, None]
    device_packages: frozenset[str]

    @staticmethod
    def of(
        version: Version, default_packages: Iterable[str], device_packages: Iterable[str]
    ) -> DeviceDefaults:
        """Combine a target's default packages with a profile's device packages, where `-name` takes a default away.

        Official lists hold doubles; each name counts once.
        """
        own = tuple(device_packages)
        defaults: dict[str, None] = {}
        for name in (*default_packages, *own):
            if name.startswith("-"):
                defaults.pop(name[1:], None)
            else:
                defaults[name] = None
        return DeviceDefaults(
            version, defaults, frozenset(name for name in own if name in defaults)
        )


@dataclass(frozen=True, slots=True)
class PackageIndex:
    """The packages of a version that a target can install: name → version, parts in order of preference.

    An incomplete one (a part could not be had) still tells versions, but not what does not exist.
    `feeds` are the indexes that the parts come from.
    """

    parts: tuple[Mapping[str, str], ...]
    complete: bool = True
    feeds: tuple[PackageFeed, ...] = ()

    @property
    def provides_known(self) -> bool:
        """Whether a name that is in no part certainly does not exist, not even as a virtual one."""
        return self.complete and bool(self.feeds) and all(feed.has_provides for feed in self.feeds)

    def version_of(self, name: str) -> str | None:
        """Return the version of a package; None if the index does not hold it."""
        return self.versions_of((name,)).get(name)

    def versions_of(self, names: Iterable[str]) -> dict[str, str]:
        """Return the versions of those of the names that the index holds.

        Sets meet without a loop of ours over parts times names. apk's `NAME-any` means NAME.
        """
        missing, found = set(names), {}
        for part in self.parts:
            held = part.keys() & missing
            missing -= held
            for name in held:
                found[name] = part[name]
        for name in [name for name in missing if name.endswith("-any")]:
            for part in self.parts:
                version = part.get(name.removesuffix("-any"))
                if version is not None:
                    found.setdefault(name, version)
        return found


@dataclass(frozen=True, slots=True)
class Knowledge:
    """All that is known for one request.

    `defaults`: the device's in the wanted version. `earlier`: those of the releases that it may
    come from; of exactly one where the request says which and its defaults are known. `index`: what
    can be installed; `elsewhere`: what another target of the same version has.
    """

    defaults: DeviceDefaults | None = None
    earlier: tuple[DeviceDefaults, ...] = ()
    index: PackageIndex | None = None
    elsewhere: PackageIndex | None = None


NOTHING_KNOWN = Knowledge()


def without_abi(name: str) -> str:
    """Return a library's name without the version of its binary interface; any other name as it is."""
    return _ABI_SUFFIX.sub("", name) if _LIBRARY.match(name) else name


def is_library(name: str) -> bool:
    """Whether a package is named as libraries are, whose names may end in the version of their interface."""
    return _LIBRARY.match(name) is not None
