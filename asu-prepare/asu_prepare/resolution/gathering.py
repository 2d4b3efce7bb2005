"""Looks up what a decision needs in the downloads server's documents, and decides.

The result is kept for some seconds: on release day, many requests concern a few devices.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from .apk_index import read_apk_index
from .device_history import DeviceHistory
from .documents import ABSENT, DocumentMissingError, Documents, DocumentUnavailableError, Metadata
from .knowledge import NOTHING_KNOWN, Knowledge, PackageIndex
from .metadata import (
    TargetProfiles,
    feed_paths,
    feeds_path,
    index_paths,
    profiles_path,
    read_index,
    read_json,
)
from .opkg_index import read_opkg_index
from .outcome import PackageRequest, Resolution
from .package_changes import RuleBook
from .package_feed import PackageFeed, Shared
from .package_resolution import resolve
from .versions import Version

# Far below the minutes after which documents are revalidated, so nothing gets older by it.
KEPT_SECONDS = 5.0
KEPT_ENTRIES = 1024  # More than the devices times releases asked for within those seconds.
# Where a package that this target lacks is looked for: the target with the most kernel modules and
# packages, and one of another architecture. Both are in every release.
ELSEWHERE = ("x86/64", "ath79/generic")


Decision = Callable[[PackageRequest, RuleBook, Knowledge], Resolution]


class Gatherer(Metadata):
    """Looks up devices and releases, and decides with what it finds."""

    def __init__(
        self, documents: Documents, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(documents)
        self._clock, self._shared = clock, Shared()
        self.history = DeviceHistory(self)
        self._kept: dict[tuple[Any, ...], Knowledge] = {}
        self._kept_until = 0.0  # All go together, since they hold documents that are replaced.

    async def decide(
        self, request: PackageRequest, rules: RuleBook, resolve: Decision = resolve
    ) -> Resolution:
        """Decide what a request leads to; never fails for what cannot be had."""
        knowledge = await self.gather(request)
        resolution = resolve(request, rules, knowledge)
        if resolution.has_unknown:
            elsewhere, before = await asyncio.gather(
                self._elsewhere(request), self._before(request, resolution)
            )
            knowledge = replace(knowledge, elsewhere=elsewhere, before=before)
            resolution = resolve(request, rules, knowledge)
        return resolution

    async def gather(self, request: PackageRequest) -> Knowledge:
        """Return what is known for a request, as far as it can be had."""
        now = self._clock()
        if now >= self._kept_until or len(self._kept) >= KEPT_ENTRIES:
            self._kept, self._kept_until = {}, now + KEPT_SECONDS
        place = (request.version, request.target, request.profile, request.diff_packages)
        kept = self._kept.get((*place, request.known_origin if request.diff_packages else None))
        if kept is not None:
            return kept
        knowledge, origin = await self._gather(request)
        # What could not be had may come in a moment.
        if knowledge.index is not None and knowledge.index.complete:
            self._kept[*place, origin] = knowledge
        return knowledge

    async def target_packages(
        self, version: Version, target: str, profiles: TargetProfiles
    ) -> PackageIndex:
        """Return the names of a target's own index.json, kernel modules included."""
        return await self._together(index_paths(version, target, profiles, ()), self._plain_part)

    async def feed_packages(self, version: Version, architecture: str) -> PackageIndex:
        """Return the names of an architecture's feeds; raises Document{Missing,Unavailable}Error.

        Nothing but the feeds' own documents is needed.
        """
        names = await self.feeds(version, architecture)
        paths = feed_paths(version, architecture, names)
        return await self._together(paths, self._plain_part)

    async def installable(self, version: Version, target: str) -> PackageIndex | None:
        """Return all that a target can install; None if its profiles or feeds are not known."""
        try:
            profiles = await self.profiles(version, target)
        except ABSENT:
            return None
        return await self._index(version, target, profiles)

    async def _gather(self, request: PackageRequest) -> tuple[Knowledge, Version | None]:
        """Return what is known, and the stated version of the device if that exists."""
        try:
            profiles = await self.profiles(request.version, request.target)
        except ABSENT:
            return NOTHING_KNOWN, None
        index, (origin, earlier, unseen) = await asyncio.gather(
            self._index(request.version, request.target, profiles),
            self.history.earlier(request, profiles),
        )
        defaults = profiles.defaults_of(request.version, request.profile)
        return Knowledge(defaults=defaults, earlier=earlier, index=index, unseen=unseen), origin

    async def _index(
        self, version: Version, target: str, profiles: TargetProfiles
    ) -> PackageIndex | None:
        try:
            feeds = await self.feeds(version, profiles.architecture)
        except ABSENT:
            return None
        paths = list(index_paths(version, target, profiles, feeds))
        index = await self._together(paths, partial(self._whole_part, version))
        name = _index_name(version)
        listed = profiles_path(version, target), feeds_path(version, profiles.architecture)
        return replace(index, documents=(*listed, *(f"{path}/{name}" for path in paths)))

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
        name, reader = _index_name(version), self._read_apk if version.has_apk else self._read_opkg
        with contextlib.suppress(*ABSENT):
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

    async def _before(self, request: PackageRequest, resolution: Resolution) -> PackageIndex | None:
        """Return all that could be installed in the release that the device runs."""
        if resolution.from_version is None:
            return None
        old = Version.parse(resolution.from_version.version)
        with contextlib.suppress(*ABSENT):
            if old != request.version and (await self.releases()).knows(old):
                return await self.installable(old, request.target)
        return None

    def _read_index(self, raw: bytes) -> PackageFeed:
        return PackageFeed(read_index(read_json(raw), self._shared))

    def _read_apk(self, raw: bytes) -> PackageFeed:
        return read_apk_index(raw, self._shared)

    def _read_opkg(self, raw: bytes) -> PackageFeed:
        return read_opkg_index(raw, self._shared)


def _index_name(version: Version) -> str:
    return "packages.adb" if version.has_apk else "Packages.gz"


async def _part(path: str, read: Callable[[str], Awaitable[PackageFeed]]) -> PackageFeed | None:
    """Return one index; empty where modules are not split off, None where it cannot be had."""
    try:
        return await read(path)
    except DocumentMissingError:
        return PackageFeed({}, has_provides=True) if "/kmods/" in path else None
    except DocumentUnavailableError:
        return None
