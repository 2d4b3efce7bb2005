"""Which package manager a version of OpenWrt has."""

from typing import Literal

from asu.resolution import Version


def package_manager_of(version: Version) -> Literal["opkg", "apk"]:
    """Return what the ImageBuilder of a version installs packages with."""
    return "apk" if version.has_apk else "opkg"
