"""Looks up what a decision needs in the downloads server's documents, and decides.

How documents are fetched and kept is the service's part (`Documents`). Which ones are looked at is
decided here, so both services know the same before they decide. The result is kept for some
seconds: on release day, thousands of requests concern a few devices and releases.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from .apk_index import read_apk_index
from .knowledge import NOTHING_KNOWN, DeviceDefaults, Knowledge, PackageIndex
from .metadata import (
    Releases,
    TargetProfiles,
    feeds_path,
    index_paths,
    profiles_path,
    read_feeds,
    read_index,
    read_json,
    read_profiles,
    read_versions,
)
from .opkg_index import read_opkg_index
from .outcome import PackageRequest, Resolution
from .package_changes import RuleBook
from .package_feed import PackageFeed, Shared
from .package_resolution import resolve
from .versions import Version

# Far below the minutes after which documents are revalidated, so nothing gets older by it.
KEPT_SECONDS = 5.0
KEPT_ENTRIES = 1024  # Devices times releases asked for within those seconds.
# Where a package that this target lacks is looked for: the target with the most kernel modules and
# packages, and one of another architecture. Both are in every release.
ELSEWHERE = ("x86/64", "ath79/generic")


class DocumentMissingError(LookupError):
    """The downloads server has no such document."""


class DocumentUnavailableError(Exception):
    """The document cannot be had now, and there is no earlier copy."""


_ABSENT = (DocumentMissingError, DocumentUnavailableError)


class Documents(Protocol):
    """The downloads server's documents, as a service fetches and keeps them."""

    async def read(self, path: str, reader: Callable[[bytes], Any]) -> Any:
        """Return what `reader` made of a document; raises Document{Missing,Unavailable}Error.

        A path is always read by the same reader, so the result may be kept.
        """


class Gatherer:
    """Looks up devices and releases, and decides with what it finds.

    `names_only` skips dependencies and sizes, which take as much memory as all names.
    """

    def __init__(
        self,
        documents: Documents,
        *,
        clock: Callable[[], float] = time.monotonic,
        names_only: bool = True,
    ) -> None:
        self._documents, self._clock, self._names_only = documents, clock, names_only
        self._shared = Shared()
        self._kept: OrderedDict[tuple[Any, ...], tuple[float, Knowledge]] = OrderedDict()

    async def decide(self, request: PackageRequest, rules: RuleBook) -> Resolution:
        """Decide what a request leads to; never fails for what cannot be had."""
        knowledge = await self.gather(request)
        resolution = resolve(request, rules, knowledge)
        if any(problem.kind == "unknown" for problem in resolution.problems):
            elsewhere = await self._elsewhere(request)
            resolution = resolve(request, rules, replace(knowledge, elsewhere=elsewhere))
        return resolution

    async def gather(self, request: PackageRequest) -> Knowledge:
        """Return what is known for a request, as far as it can be had."""
        place = (request.version, request.target, request.profile, request.diff_packages)
        kept = self._kept.get((*place, request.known_origin if request.diff_packages else None))
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        knowledge, origin = await self._gather(request)
        # What could not be had may come in a moment.
        if knowledge.index is not None and knowledge.index.complete:
            self._keep((*place, origin), knowledge)
        return knowledge

    def _keep(self, place: tuple[Any, ...], knowledge: Knowledge) -> None:
        """Keep a result; expired ones go first, since they hold documents that were replaced."""
        now = self._clock()
        self._kept[place] = (now + KEPT_SECONDS, knowledge)
        self._kept.move_to_end(place)
        while len(self._kept) > KEPT_ENTRIES or next(iter(self._kept.values()))[0] <= now:
            self._kept.popitem(last=False)

    async def profiles(self, version: Version, target: str) -> TargetProfiles:
        """Return a target's profiles; raises Document{Missing,Unavailable}Error."""
        path = profiles_path(version, target)
        profiles: TargetProfiles = await self._documents.read(path, _profiles)
        return profiles

    async def releases(self) -> Releases:
        """Return all releases; raises Document{Missing,Unavailable}Error."""
        releases: Releases = await self._documents.read(".versions.json", _versions)
        return releases

    async def packages(self, version: Version, target: str, *, feeds: bool) -> PackageIndex | None:
        """Return a target's own packages, or its feeds'; None if the feeds are not known.

        These are the names of index.json, without those that packages provide. Raises
        Document{Missing,Unavailable}Error if the target is not known.
        """
        profiles = await self.profiles(version, target)
        own = list(index_paths(version, target, profiles, ()))
        if not feeds:
            return await self._together(own, self._plain_part)
        names = await self._feeds(version, profiles)
        if names is None:
            return None
        paths = index_paths(version, target, profiles, names)
        others = [path for path in paths if path not in own]
        return await self._together(others, self._plain_part)

    async def installable(self, version: Version, target: str) -> PackageIndex | None:
        """Return all that a target can install; None if its profiles or feeds are not known."""
        try:
            profiles = await self.profiles(version, target)
        except _ABSENT:
            return None
        return await self._index(version, target, profiles)

    async def _gather(self, request: PackageRequest) -> tuple[Knowledge, Version | None]:
        """Return what is known, and the stated version of the device if that exists."""
        try:
            profiles = await self.profiles(request.version, request.target)
        except _ABSENT:
            return NOTHING_KNOWN, None
        (origin, earlier), index = await asyncio.gather(
            self._earlier(request), self._index(request.version, request.target, profiles)
        )
        defaults = profiles.defaults_of(request.version, request.profile)
        return Knowledge(defaults=defaults, earlier=earlier, index=index), origin

    async def _earlier(
        self, request: PackageRequest
    ) -> tuple[Version | None, tuple[DeviceDefaults, ...]]:
        """Return the stated version, and the defaults there, or in all releases that it may be.

        Clients may send anything: a version that no list names is neither looked for nor kept.
        Without the list they are believed.
        """
        if not request.diff_packages:
            return None, ()
        origin, candidates = request.known_origin, [request.version]
        with contextlib.suppress(*_ABSENT):
            releases = await self.releases()
            candidates = releases.candidates(request.version)
            origin = origin if origin and releases.knows(origin) else None
        stated = await self._defaults_of([origin], request) if origin else ()
        return origin, stated or await self._defaults_of(candidates, request)

    async def _defaults_of(
        self, versions: Iterable[Version], request: PackageRequest
    ) -> tuple[DeviceDefaults, ...]:
        found = await asyncio.gather(*(self._one_default(version, request) for version in versions))
        return tuple(defaults for defaults in found if defaults is not None)

    async def _one_default(
        self, version: Version, request: PackageRequest
    ) -> DeviceDefaults | None:
        try:
            profiles = await self.profiles(version, request.target)
        except _ABSENT:
            return None
        return profiles.defaults_of(version, request.profile)

    async def _index(
        self, version: Version, target: str, profiles: TargetProfiles
    ) -> PackageIndex | None:
        """Return all that a target can install; None if not even its feeds are known."""
        feeds = await self._feeds(version, profiles)
        if feeds is None:
            return None
        paths = index_paths(version, target, profiles, feeds)
        return await self._together(paths, partial(self._whole_part, version))

    async def _feeds(self, version: Version, profiles: TargetProfiles) -> tuple[str, ...] | None:
        path = feeds_path(version, profiles.architecture)
        try:
            feeds: tuple[str, ...] = await self._documents.read(path, _feeds)
        except _ABSENT:
            return None
        return feeds

    async def _together(
        self, paths: Iterable[str], read: Callable[[str], Awaitable[PackageFeed]]
    ) -> PackageIndex:
        """Return these indexes as one, which is incomplete if any of them cannot be had."""
        found = await asyncio.gather(*(_part(path, read) for path in paths))
        feeds = tuple(feed for feed in found if feed is not None)
        parts = tuple(feed.versions for feed in feeds)
        return PackageIndex(parts, complete=None not in found, feeds=feeds)

    async def _whole_part(self, version: Version, path: str) -> PackageFeed:
        """Return the package manager's own index, or index.json, which lacks virtual names."""
        name, reader = "Packages.gz", self._read_opkg
        if version.has_apk:
            name, reader = "packages.adb", self._read_apk
        with contextlib.suppress(*_ABSENT):
            feed: PackageFeed = await self._documents.read(f"{path}/{name}", reader)
            return feed
        return await self._plain_part(path)

    async def _plain_part(self, path: str) -> PackageFeed:
        feed: PackageFeed = await self._documents.read(f"{path}/index.json", self._read_index)
        return feed

    async def _elsewhere(self, request: PackageRequest) -> PackageIndex:
        """Return the packages of other targets of the version, as far as they can be had."""
        others = (target for target in ELSEWHERE if target != request.target)
        found = await asyncio.gather(*(self.installable(request.version, at) for at in others))
        parts = tuple(part for index in found if index is not None for part in index.parts)
        return PackageIndex(parts, complete=False)

    def _read_index(self, raw: bytes) -> PackageFeed:
        return PackageFeed(read_index(read_json(raw), self._shared))

    def _read_apk(self, raw: bytes) -> PackageFeed:
        return read_apk_index(raw, self._shared, names_only=self._names_only)

    def _read_opkg(self, raw: bytes) -> PackageFeed:
        return read_opkg_index(raw, self._shared, names_only=self._names_only)


async def _part(path: str, read: Callable[[str], Awaitable[PackageFeed]]) -> PackageFeed | None:
    """Return one index; empty where modules are not split off, None where it cannot be had."""
    try:
        return await read(path)
    except DocumentMissingError:
        return PackageFeed({}, has_provides=True) if "/kmods/" in path else None
    except DocumentUnavailableError:
        return None


def _profiles(raw: bytes) -> TargetProfiles:
    return read_profiles(read_json(raw))


def _versions(raw: bytes) -> Releases:
    return read_versions(read_json(raw))


def _feeds(raw: bytes) -> tuple[str, ...]:
    return read_feeds(raw.decode())
