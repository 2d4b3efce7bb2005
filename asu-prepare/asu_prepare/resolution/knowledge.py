"""The facts that a decision is made from; what could not be had is None."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .package_feed import PackageFeed
from .versions import Version

# The ImageBuilder brings these itself, so no index of the downloads server holds them.
BUILT_IN = frozenset({"kernel", "libc", "base-files"})
_ABI_SUFFIX = re.compile(r"-?[0-9][0-9.]*$")
# In older indexes and on devices, libraries carry the version of their binary interface (ABI):
# libubox20240329, libusb-1.0-0.
_LIBRARY = re.compile(r"(?:lib|jansson)")


@dataclass(frozen=True, slots=True)
class DeviceDefaults:
    """The packages that a release installs on a device unless the request says otherwise.

    `defaults` are the target's and the device's, in order, without those that the device takes
    away; `device_packages` are the device's own.
    """

    version: Version
    defaults: Mapping[str, None]
    device_packages: frozenset[str]

    @staticmethod
    def of(
        version: Version, default_packages: Iterable[str], device_packages: Iterable[str]
    ) -> DeviceDefaults:
        """Combine a target's default packages with a device's, in which `-name` takes one away."""
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
    """The packages that a target can install in a version, name → version, best part first.

    An incomplete index (a part could not be had) still holds versions, but a name that it lacks may
    exist. `feeds` are the indexes that the parts come from, `documents` the paths of all that was
    read for them.
    """

    parts: tuple[Mapping[str, str], ...]
    complete: bool = True
    feeds: tuple[PackageFeed, ...] = ()
    documents: tuple[str, ...] = ()

    @property
    def provides_known(self) -> bool:
        """Whether a name that is in no part certainly does not exist, not even as a virtual one."""
        return self.complete and bool(self.feeds) and all(feed.has_provides for feed in self.feeds)

    def version_of(self, name: str) -> str | None:
        """Return the version of a package; None if the index does not hold it."""
        for part in self.parts:
            if name in part:
                return part[name]
        return self.version_of(name.removesuffix("-any")) if name.endswith("-any") else None

    def versions_of(self, names: Iterable[str]) -> dict[str, str]:
        """Return the versions of those names that the index holds; apk's `NAME-any` means NAME."""
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
    """All facts for one request.

    `defaults`: the device's default packages in the wanted version. `earlier`: its defaults in the
    releases that it may come from; only of the stated one if that is known. `index`: all that can
    be installed. `elsewhere`: the packages of other targets of the same version. `before`: all that
    could be installed in the release that the device runs. `unseen`: the target's default packages
    in the older releases, if none of them has the device under any of its names; else None.
    """

    defaults: DeviceDefaults | None = None
    earlier: tuple[DeviceDefaults, ...] = ()
    index: PackageIndex | None = None
    elsewhere: PackageIndex | None = None
    before: PackageIndex | None = None
    unseen: tuple[DeviceDefaults, ...] | None = None


NOTHING_KNOWN = Knowledge()


def without_abi(name: str) -> str:
    """Return a library's name without the version of its ABI; any other name as it is."""
    return _ABI_SUFFIX.sub("", name) if _LIBRARY.match(name) else name


def is_library(name: str) -> bool:
    """Whether a name is like those of libraries, which may end in the version of an ABI."""
    return _LIBRARY.match(name) is not None
