"""Which package names may stand on public pages: those that an official index holds.

A name in a request, or in the output of a build, may be private, or any text of 128 characters.
"""

import asyncio
import contextlib
from collections.abc import Iterable

from asu.resolution import (
    DocumentMissingError,
    DocumentUnavailableError,
    Gatherer,
    PackageIndex,
    Version,
)

TARGETS = ("x86/64", "ath79/generic")  # Most kernel modules are in one of them.
BRANCHES = 2  # The newest release of each; a package that was removed lately is in the older one.
PATIENCE = 3.0  # Seconds to wait for the indexes; without them no name is public.


class PublicNames:
    """Looks names up in the indexes of a few releases and targets."""

    def __init__(self, gatherer: Gatherer) -> None:
        self._gatherer = gatherer

    async def among(self, names: Iterable[str]) -> frozenset[str]:
        """Return those of the names that are public."""
        wanted = frozenset(names)
        indexes: list[PackageIndex] = []
        if wanted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    indexes = await self._indexes()
        return await asyncio.to_thread(
            lambda: frozenset(name for index in indexes for name in index.versions_of(wanted))
        )

    async def _indexes(self) -> list[PackageIndex]:
        try:
            releases = await self._gatherer.releases()
        except (DocumentMissingError, DocumentUnavailableError):
            return []
        newest: dict[str, Version] = {}
        for version in releases.versions:
            if not version.is_candidate:
                newest.setdefault(version.branch, version)
        found = await asyncio.gather(
            *(
                self._indexes_of(version, target)
                for version in list(newest.values())[:BRANCHES]
                for target in TARGETS
            )
        )
        return [index for indexes in found for index in indexes]

    async def _indexes_of(self, version: Version, target: str) -> list[PackageIndex]:
        """Return the indexes of a target and of its architecture, as far as they can be had."""
        found = []
        with contextlib.suppress(DocumentMissingError, DocumentUnavailableError):
            profiles = await self._gatherer.profiles(version, target)
            found.append(await self._gatherer.target_packages(version, target, profiles))
            found.append(await self._gatherer.feed_packages(version, profiles.architecture))
        return found
