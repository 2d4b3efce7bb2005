"""The two package managers of ImageBuilders: their files, their output and their complaints.

The version alone decides which one it is, so one manager's words are never looked for in the output
of the other.
"""

from asu.resolution import Version

from .apk import Apk
from .opkg import Opkg
from .own_feeds import NO_FEEDS, OwnFeeds, own_urls
from .protocol import PackageManager

__all__ = [
    "NO_FEEDS",
    "Apk",
    "Opkg",
    "OwnFeeds",
    "PackageManager",
    "own_urls",
    "package_manager_for",
]


def package_manager_for(version: Version) -> PackageManager:
    """Return the package manager of the ImageBuilder of a version."""
    return Apk() if version.has_apk else Opkg()
