"""Search the packages that a target can install, by name and description.

The descriptions stand in the package managers' own indexes. They are read only here, and apart from
what decisions need, which holds them for all targets in memory.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from asu.errors import NotFound, UpstreamUnreachable
from asu.resolution import ABSENT, Gatherer, Version
from asu.resolution.adb_values import DAMAGE, AdbValues
from asu.resolution.metadata import index_paths
from asu.resolution.package_feed import Shared, UnreadableIndexError, unpacked
from asu.upstream.downloads_server import Upstream

from .validation import Catalogue

MAX_DESCRIPTION = 300  # Characters; a few packages have a page.
_NAME, _VERSION, _DESCRIPTION, _SIZE = 0, 1, 3, 12  # Places of a package's fields in apk's index.
_FIELD = re.compile(r"^(Package|Version|Size|Description):[ \t]*(.*)$", re.MULTILINE)
_GZIP = 31  # zlib's window for it.


class Listed(NamedTuple):
    """A package as people choose it; `size` are the bytes of its file."""

    name: str
    version: str
    size: int
    description: str


class PackageSearch:
    """The package search."""

    def __init__(self, upstream: Upstream, gatherer: Gatherer, catalogue: Catalogue) -> None:
        self._upstream, self._gatherer, self._catalogue = upstream, gatherer, catalogue

    async def search(
        self, query: str, version: str, target: str, limit: int
    ) -> list[dict[str, Any]]:
        """Return at most `limit` packages that have every word, those with it in the name first.

        Raise UserError for a version or target that is not served (NotFound), HalfPublished, and
        UpstreamUnreachable where no index can be had.
        """
        known = self._catalogue.parsed(version)
        if not await self._catalogue.has_target(known, target):
            raise NotFound
        words = list(dict.fromkeys(query.lower().split()))
        # Among 10 000 packages it takes 12 ms.
        best = await asyncio.to_thread(_best, await self._listed(known, target), words)
        return [package._asdict() for package in best[:limit]]

    async def _listed(self, version: Version, target: str) -> Sequence[Listed]:
        profiles = await self._catalogue.profiles(version, target)
        try:
            feeds = await self._gatherer.feeds(version, profiles.architecture)
        except ABSENT:
            feeds = ()
        file, reader = ("packages.adb", read_apk) if version.has_apk else ("Packages.gz", read_opkg)
        paths = index_paths(version, target, profiles, feeds)
        # The fragment names another reading than the resolver's; it is not sent.
        parts = await asyncio.gather(
            *(self._upstream.read(f"{path}/{file}#listed", reader) for path in paths),
            return_exceptions=True,
        )
        read = [part for part in parts if not isinstance(part, BaseException)]
        if not read:
            raise UpstreamUnreachable(document=f"the package indexes of {version} for {target}")
        return [package for part in read for package in part]


def _best(packages: Iterable[Listed], words: Sequence[str]) -> list[Listed]:
    found: dict[str, Listed] = {}
    for package in packages:
        text = f"{package.name} {package.description}".lower()
        if all(word in text for word in words):
            found.setdefault(package.name, package)
    return sorted(found.values(), key=lambda package: _rank(package, words))


def _rank(package: Listed, words: Sequence[str]) -> tuple[bool, bool, str]:
    name = package.name.lower()
    return name not in words, not all(word in name for word in words), name


def read_opkg(raw: bytes) -> Sequence[Listed]:
    """Read `Packages.gz`; raises ValueError or zlib.error."""
    listed = []
    for stanza in unpacked(raw, _GZIP).decode().split("\n\n"):
        fields = dict(_FIELD.findall(stanza))
        if name := fields.get("Package", "").strip():
            described = fields.get("Description", "").strip()[:MAX_DESCRIPTION]
            size = int(fields.get("Size") or 0)
            listed.append(Listed(name, fields.get("Version", "").strip(), size, described))
    return listed


def read_apk(raw: bytes) -> Sequence[Listed]:
    """Read `packages.adb`; raises UnreadableIndexError."""
    try:
        values = AdbValues(raw, b"indx", Shared())
        slots = values.slots(values.root()[1])
        return [_listed(values, [*values.slots(slot), *[0] * _SIZE]) for slot in slots]
    except DAMAGE as error:
        raise UnreadableIndexError("damaged") from error


def _listed(values: AdbValues, fields: Sequence[int]) -> Listed:
    described = values.text(fields[_DESCRIPTION])[:MAX_DESCRIPTION]
    name, version = values.text(fields[_NAME]), values.text(fields[_VERSION])
    return Listed(name, version, values.integer(fields[_SIZE]), described)
