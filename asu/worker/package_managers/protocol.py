"""What differs between builders with opkg and builders with apk."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from asu.errors import BuildFailed
from asu.resolution import FeedKey, InvalidFeedError

from .own_feeds import UnusableFeed
from .problems import PackageProblem

Mode = Literal["append", "replace"]


class PackageManager(Protocol):
    """Where a package manager keeps feeds and keys, and what its messages mean.

    Paths are relative to the builder's directory.
    """

    repositories_path: str  # Of the list of feeds.
    key_kind: Literal["usign", "pem"]
    # Of a failed download, in the order of trial; the group `what` is what could not be fetched.
    download_signs: tuple[str, ...]

    def address(self, url: str) -> str:
        """Return the address of a feed as it stands in that list."""
        return url

    def repositories(self, present: str, feeds: Mapping[str, str], mode: Mode) -> str:
        """Return the list of feeds with those of a request, name → URL.

        The builder's own packages stay in every mode. Raises BuildFailed.
        """

    def feeds(self, listed: str) -> dict[str, str]:
        """Return the feeds in such a list that packages are fetched from, name → address.

        A feed without a name is named by its address.
        """

    def key_files(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return path → content of the keys that it can use; raises BuildFailed for no key."""
        try:
            parsed = [FeedKey.parse(text) for text in keys]
        except InvalidFeedError as error:
            raise BuildFailed(reason="the key of a repository is malformed") from error
        return {
            f"keys/{key.file_name}": f"{key.text}\n".encode()
            for key in sorted(parsed, key=lambda key: key.content)
            if key.kind == self.key_kind
        }

    def problems(self, text: str) -> list[PackageProblem]:
        """Return why packages cannot be installed, each reason once, in the order of the output."""

    def failed_download(self, text: str) -> str | None:
        """Return what could not be downloaded or trusted, empty where it has no name, or None.

        A command that ends well may have left out a feed, too.
        """
        found = next(filter(None, (re.search(sign, text) for sign in self.download_signs)), None)
        return (found.groupdict().get("what") or "").rstrip(",.") if found else None

    def refusal_of(self, feeds: Mapping[str, str]) -> str:
        """Return the pattern of its words when one of these feeds has no signature by a known key.

        They come before anything is installed.
        """

    def unusable_feeds(self, stderr: str, feeds: Mapping[str, str]) -> list[UnusableFeed]:
        """Return each of these feeds, name → URL, that was left out; the builder ends well then."""
