"""Gathers what a decision needs to know from the downloads server's documents.

How documents are fetched and kept is the service's matter (`Documents`); which ones are looked at
is decided here, so that both services know the same before they decide the same. What was put
together is kept for a few seconds: thousands of requests on release day concern a handful of
devices and releases.
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

# Far below the minutes in which documents are revalidated, so nothing gets older by it.
KEPT_SECONDS = 5.0
KEPT_ENTRIES = 1024  # Devices times releases asked for within those seconds.
# Where a package that this target lacks is looked for: the target with the most kernel modules and
# packages, and one of another architecture for its own sake. Both are in every release.
ELSEWHERE = ("x86/64", "ath79/generic")


class DocumentMissingError(LookupError):
    """The downloads server has no such document."""


class DocumentUnavailableError(Exception):
    """The document cannot be had now, and no earlier copy is at hand."""


class Documents(Protocol):
    """The downloads server's documents, as a service fetches and keeps them."""

    async def read(self, path: str, reader: Callable[[bytes], Any]) -> Any:
        """Return what `reader` made of a document; raises DocumentMissingError and DocumentUnavailableError.

        A path is always read by the same reader, so what it made may be kept.
        """


class Gatherer:
    """Looks up what is known of devices and releases.

    With `names_only` dependencies and sizes are read past: they take as much memory as all names.
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
        """Decide what a request leads to with all that can be known; never fails for what cannot."""
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
        """Keep what was put together; what has ended goes first, or it would hold documents that were replaced long ago."""
        now = self._clock()
        self._kept[place] = (now + KEPT_SECONDS, knowledge)
        self._kept.move_to_end(place)
        while len(self._kept) > KEPT_ENTRIES or next(iter(self._kept.values()))[0] <= now:
            self._kept.popitem(last=False)

    async def profiles(self, version: Version, target: str) -> TargetProfiles:
        """Return a target's profiles; raises DocumentMissingError and DocumentUnavailableError."""
        profiles: TargetProfiles = await self._documents.read(
            profiles_path(version, target), _profiles
        )
        return profiles

    async def releases(self) -> Releases:
        """Return the releases that there are; raises DocumentMissingError and DocumentUnavailableError."""
        releases: Releases = await self._documents.read(".versions.json", _versions)
        return releases

    async def packages(self, version: Version, target: str, *, feeds: bool) -> PackageIndex | None:
        """Return a target's own packages, or those of its architecture's feeds; None if the feeds are not known.

        The names are those of index.json, without what packages provide. Raises
        DocumentMissingError and DocumentUnavailableError where the target is not known.
        """
        profiles = await self.profiles(version, target)
        own = list(index_paths(version, target, profiles, ()))
        if not feeds:
            return await self._together(own, self._plain_part)
        names = await self._feeds(version, profiles)
        paths = index_paths(version, target, profiles, names or ())
        others = [path for path in paths if path not in own]
        return await self._together(others, self._plain_part) if names else None

    async def installable(self, version: Version, target: str) -> PackageIndex | None:
        """Return all that a target can install; None where its profiles or feeds are not known."""
        try:
            profiles = await self.profiles(version, target)
        except (DocumentMissingError, DocumentUnavailableError):
            return None
        return await self._index(version, target, profiles)

    async def _gather(self, request: PackageRequest) -> tuple[Knowledge, Version | None]:
        """Return what is known, and the version that the device comes from if the request tells one that there is."""
        try:
            profiles = await self.profiles(request.version, request.target)
        except (DocumentMissingError, DocumentUnavailableError):
            return NOTHING_KNOWN, None
        (origin, earlier), index = await asyncio.gather(
            self._earlier(request), self._index(request.version, request.target, profiles)
        )
        return Knowledge(
            defaults=profiles.defaults_of(request.version, request.profile),
            earlier=earlier,
            index=index,
        ), origin

    async def _earlier(
        self, request: PackageRequest
    ) -> tuple[Version | None, tuple[DeviceDefaults, ...]]:
        """Return where the device comes from, if that is known, and its defaults there or wherever it may come from.

        Clients may say anything: a version that no list names is neither looked for nor kept.
        Without the list they are believed.
        """
        if not request.diff_packages:
            return None, ()
        origin, candidates = request.known_origin, [request.version]
        with contextlib.suppress(DocumentMissingError, DocumentUnavailableError):
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
        except (DocumentMissingError, DocumentUnavailableError):
            return None
        return profiles.defaults_of(version, request.profile)

    async def _index(
        self, version: Version, target: str, profiles: TargetProfiles
    ) -> PackageIndex | None:
        """Return all that a target can install; None if not even its feeds are known."""
        feeds = await self._feeds(version, profiles)
        if feeds is None:
            return None
        return await self._together(
            index_paths(version, target, profiles, feeds), partial(self._whole_part, version)
        )

    async def _feeds(self, version: Version, profiles: TargetProfiles) -> tuple[str, ...] | None:
        try:
            feeds: tuple[str, ...] = await self._documents.read(
                feeds_path(version, profiles.architecture), _feeds
            )
        except (DocumentMissingError, DocumentUnavailableError):
            return None
        return feeds

    async def _together(
        self, paths: Iterable[str], read: Callable[[str], Awaitable[PackageFeed]]
    ) -> PackageIndex:
        """Return the indexes at these paths as one, which is incomplete if any of them cannot be had."""
        found = await asyncio.gather(*(_part(path, read) for path in paths))
        feeds = tuple(feed for feed in found if feed is not None)
        return PackageIndex(
            tuple(feed.versions for feed in feeds), complete=None not in found, feeds=feeds
        )

    async def _whole_part(self, version: Version, path: str) -> PackageFeed:
        """Return the package manager's own index; index.json, which lacks what packages provide, where that fails."""
        name, reader = (
            ("packages.adb", self._read_apk)
            if version.has_apk
            else ("Packages.gz", self._read_opkg)
        )
        try:
            feed: PackageFeed = await self._documents.read(f"{path}/{name}", reader)
        except (DocumentMissingError, DocumentUnavailableError):
            return await self._plain_part(path)
        return feed

    async def _plain_part(self, path: str) -> PackageFeed:
        feed: PackageFeed = await self._documents.read(f"{path}/index.json", self._read_index)
        return feed

    async def _elsewhere(self, request: PackageRequest) -> PackageIndex:
        """Return what other targets and architectures of the wanted version have, as far as it can be had."""
        found = await asyncio.gather(
            *(
                self.installable(request.version, target)
                for target in ELSEWHERE
                if target != request.target
            )
        )
        return PackageIndex(
            tuple(part for index in found if index is not None for part in index.parts),
            complete=False,
        )

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
