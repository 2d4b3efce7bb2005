"""The feeds of a request, checked once more before they reach the builder's files.

A name becomes a word of a line and the name of a file, a URL a word of a line. A blank or the end
of a line in them could add a setting of the package manager, such as "check no signatures".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from asu.errors import BuildFailed

# Beside the list of a feed, opkg keeps NAME.sig and packages.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?<!\.sig)(?<!\.ipk)(?<!\.apk)")
# The characters that the API leaves in an address; file: is for builders that hold a copy of their
# feeds. No segment leads upwards.
_URL = re.compile(
    r"(?!.*/\.\.?(?:/|$))(?:https?://[A-Za-z0-9][A-Za-z0-9.:-]{0,255}|file:/)"
    r"/[A-Za-z0-9._~+/-]{0,511}"
)


@dataclass(frozen=True, slots=True)
class OwnFeeds:
    """The feeds of a request, name → URL; `replace` where they stand in place of OpenWrt's."""

    urls: Mapping[str, str] = field(default_factory=dict)
    replace: bool = False


NO_FEEDS = OwnFeeds()


@dataclass(frozen=True, slots=True)
class UnusableFeed:
    """A feed that a builder left out; `is_untrusted` where only its key is unknown."""

    words: str
    is_untrusted: bool = False


def own_urls(repositories: Mapping[str, str]) -> dict[str, str]:
    """Return the feeds of a request by name, sorted so that equal requests build equally.

    Raises BuildFailed for a malformed name or address.
    """
    feeds = {}
    for name, url in sorted(repositories.items()):
        if _NAME.fullmatch(name) is None or _URL.fullmatch(url) is None:
            raise BuildFailed(reason="the name or the address of a repository is malformed")
        feeds[name] = url.rstrip("/")
    return feeds
