"""One total order over everything that OpenWrt calls a version.

    23.05 (the branch) < 23.05.0-rc1 < 23.05.0-rc10 < 23.05.0 < 23.05.9 < 23.05.10 < 23.05-SNAPSHOT
    < 24.10 < … < SNAPSHOT

A bare branch is the point where the branch begins, so it sorts before everything in it.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import lru_cache

NEWEST = sys.maxsize  # Sorts after every number that a version can hold.

FIRST_WITH_APK = (25, 12, -1, 0, 0)  # The rank of the branch, which is older than all in it.

_VERSION = re.compile(
    r"(?P<year>[0-9]{2})\.(?P<month>[0-9]{2})"
    r"(?:\.(?P<patch>[0-9]{1,3})(?:-rc(?P<candidate>[0-9]{1,3}))?|(?P<snapshot>-SNAPSHOT))?"
)


class InvalidVersionError(ValueError):
    """The text is not a version, such as 24.10.4, 25.12.0-rc2, 24.10-SNAPSHOT or SNAPSHOT."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version that compares by age and is equal only to itself.

    `rank` is (year, month, patch, 1 for a final release, number of the candidate). `branch` is
    "24.10", for example, or "SNAPSHOT" for the development branch.
    """

    rank: tuple[int, int, int, int, int]
    text: str = field(compare=False)
    branch: str = field(compare=False)

    @staticmethod
    def parse(text: str) -> Version:
        """Read a version as OpenWrt writes it; raises InvalidVersionError for anything else."""
        return _parse(text)

    @property
    def is_snapshot(self) -> bool:
        """Whether the name stays while its content changes: SNAPSHOT, or -SNAPSHOT of a branch."""
        return self.text.endswith("SNAPSHOT")

    @property
    def is_development(self) -> bool:
        """Whether this is the development branch, which belongs to no release branch."""
        return self.text == "SNAPSHOT"

    @property
    def has_apk(self) -> bool:
        """Whether its package manager is apk; branch snapshots are like their branch."""
        return self.rank >= FIRST_WITH_APK

    @property
    def is_candidate(self) -> bool:
        """Whether this is a release candidate, such as 25.12.0-rc2."""
        return "-rc" in self.text

    def __str__(self) -> str:
        return self.text


# There are about a hundred versions. The bound stops invented ones from filling the memory.
@lru_cache(maxsize=1024)
def _parse(text: str) -> Version:
    if text == "SNAPSHOT":
        return Version((NEWEST, 0, 0, 0, 0), text, text)
    match = _VERSION.fullmatch(text)
    if match is None:
        raise InvalidVersionError(
            f"{text[:32]!r} is not a version such as 24.10.4, 25.12.0-rc2, 24.10-SNAPSHOT"
            " or SNAPSHOT"
        )
    year, month, candidate = int(match["year"]), int(match["month"]), match["candidate"]
    if match["snapshot"]:
        rank = (year, month, NEWEST, 0, 0)
    elif match["patch"] is None:
        rank = (year, month, -1, 0, 0)
    else:
        rank = (year, month, int(match["patch"]), int(candidate is None), int(candidate or 0))
    return Version(rank, text, f"{match['year']}.{match['month']}")


_PARTS = re.compile(r"[0-9]+|[^0-9]+")
# A version with one of these comes before the version without it.
_EARLIER = ("~", "_alpha", "_beta", "_pre", "_rc")
_PATCHLEVEL = re.compile(r"-r?([0-9]+)$")


def is_older_package(version: str, than: str) -> bool:
    """Whether one version of a package is older than another, in the order of opkg and apk.

    Letters come before other signs; `~` and marks such as `_rc2` come before everything, even the
    end. The revision of the packaging (`-r3`, `-3`) counts last.
    """
    return _package_rank(version) < _package_rank(than)


def _package_rank(version: str) -> tuple[list[tuple[int, int, str]], tuple[int, str]]:
    match = _PATCHLEVEL.search(version)
    main, patchlevel = (version[: match.start()], match[1]) if match else (version, "")
    parts: list[tuple[int, int, str]] = []
    for part in _PARTS.findall(main):
        if part[0] in "0123456789":
            parts.append((2, *_number_rank(part)))
        else:
            parts.append((0 if part.startswith(_EARLIER) else 3, int(not part[0].isalpha()), part))
    return [*parts, (1, 0, "")], _number_rank(patchlevel)


def _number_rank(digits: str) -> tuple[int, str]:
    """Return a key that orders numbers by value without converting them; they can be very long."""
    digits = digits.lstrip("0")
    return len(digits), digits
