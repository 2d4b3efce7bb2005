"""Which package manager a version of OpenWrt installs with: opkg until 24.10, apk since 25.12 and in SNAPSHOT."""

from typing import Literal

from .resolution import Version

_FIRST_WITH_APK = Version.parse("25.12")  # The branch itself sorts before its first candidate.


def package_manager_of(version: Version) -> Literal["opkg", "apk"]:
    """Return the package manager of a version; a snapshot of a branch has that of its branch."""
    return "apk" if version >= _FIRST_WITH_APK else "opkg"
