"""One total order over everything OpenWrt calls a version.

    23.05 (the branch) < 23.05.0-rc1 < 23.05.0-rc10 < 23.05.0 < 23.05.9 < 23.05.10 < 23.05-SNAPSHOT
    < 24.10 < … < SNAPSHOT

Numbers compare as numbers. A bare branch names the point where it begins and so sorts before
everything in it; a branch snapshot is newer than every release of its branch; SNAPSHOT is newer
than all.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import lru_cache

NEWEST = sys.maxsize  # Sorts after every number that a version can hold.

FIRST_WITH_APK = (25, 12, -1, 0, 0)  # The rank of the branch, which is older than all in it.

_SHAPE = re.compile(
    r"(?P<year>[0-9]{2})\.(?P<month>[0-9]{2})(?:\.(?P<patch>[0-9]{1,3})(?:-rc(?P<candidate>[0-9]{1,3}))?|(?P<snapshot>-SNAPSHOT))?"
)


class InvalidVersionError(ValueError):
    """The text is not a version, such as 24.10.4, 25.12.0-rc2, 24.10-SNAPSHOT or SNAPSHOT."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version that compares by age; equal only to itself.

    `rank` is (year, month, patch, 1 for a final release, number of the candidate); `branch` is such
    as "24.10", or "SNAPSHOT" for the development branch.
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
        """Whether the name stays while what it names moves on: SNAPSHOT and the -SNAPSHOT of a branch."""
        return self.text.endswith("SNAPSHOT")

    @property
    def is_development(self) -> bool:
        """Whether this is the development branch itself, which belongs to no release branch."""
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


# There are about a hundred versions; the bound keeps a stream of invented ones from growing memory.
@lru_cache(maxsize=1024)
def _parse(text: str) -> Version:
    if text == "SNAPSHOT":
        return Version((NEWEST, 0, 0, 0, 0), text, text)
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise InvalidVersionError(
            f"{text[:32]!r} is not a version such as 24.10.4, 25.12.0-rc2, 24.10-SNAPSHOT or SNAPSHOT"
        )
    year, month = int(match["year"]), int(match["month"])
    branch = f"{match['year']}.{match['month']}"
    if match["snapshot"]:
        return Version((year, month, NEWEST, 0, 0), text, branch)
    if match["patch"] is None:
        return Version((year, month, -1, 0, 0), text, branch)
    candidate = match["candidate"]
    return Version(
        (year, month, int(match["patch"]), int(candidate is None), int(candidate or 0)),
        text,
        branch,
    )


_PARTS = re.compile(r"[0-9]+|[^0-9]+")
# What they begin comes before the version without it.
_EARLIER = ("~", "_alpha", "_beta", "_pre", "_rc")
_PATCHLEVEL = re.compile(r"-r?([0-9]+)$")


def is_older_package(version: str, than: str) -> bool:
    """Whether one version of a package is older than another, as opkg and apk order them.

    Numbers compare as numbers and letters come before other signs; `~` and the marks of a version
    to come (`_rc2`) come before everything, the end included; the packaging revision (`-r3`, `-3`)
    counts last.
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
    """Return what orders numbers by their value, without reading them: a client may send as many digits as it likes."""
    digits = digits.lstrip("0")
    return len(digits), digits
