"""Which package manager a version of OpenWrt has."""

from typing import Literal

from asu.resolution import Version

FIRST_WITH_APK = Version.parse("25.12")  # The branch as such, which is older than everything in it.


def package_manager_of(version: Version) -> Literal["opkg", "apk"]:
    """Return what the ImageBuilder of a version installs packages with; branch snapshots are like their branch."""
    return "apk" if version >= FIRST_WITH_APK else "opkg"
