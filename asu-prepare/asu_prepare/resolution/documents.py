"""The downloads server's documents: how a service hands them out, and what they are read as."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from .metadata import (
    Releases,
    TargetProfiles,
    feeds_path,
    overview_path,
    profiles_path,
    read_feeds,
    read_json,
    read_overview,
    read_profiles,
    read_targets,
    read_versions,
    targets_path,
)
from .versions import Version

T = TypeVar("T")


class DocumentMissingError(LookupError):
    """The downloads server has no such document."""


class DocumentUnavailableError(Exception):
    """The document cannot be had now, and there is no earlier copy."""


ABSENT = (DocumentMissingError, DocumentUnavailableError)


class Documents(Protocol):
    """The downloads server's documents, as a service fetches and keeps them."""

    async def read(self, path: str, reader: Callable[[bytes], Any]) -> Any:
        """Return what `reader` made of a document; raises Document{Missing,Unavailable}Error.

        A path is always read by the same reader, so the result may be kept.
        """


class Metadata:
    """The documents about releases, targets and devices.

    Each method raises DocumentMissingError or DocumentUnavailableError.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def releases(self) -> Releases:
        """Return all releases."""
        return await self._json(".versions.json", read_versions)

    async def targets(self, version: Version) -> Mapping[str, str]:
        """Return a version's targets with their architectures."""
        return await self._json(targets_path(version), read_targets)

    async def devices(self, version: Version) -> Mapping[str, tuple[str, ...]]:
        """Return a version's profiles with the targets that have them."""
        return await self._json(overview_path(version), read_overview)

    async def profiles(self, version: Version, target: str) -> TargetProfiles:
        """Return a target's profiles."""
        return await self._json(profiles_path(version, target), read_profiles)

    async def feeds(self, version: Version, architecture: str) -> tuple[str, ...]:
        """Return the names of an architecture's feeds."""
        feeds: tuple[str, ...] = await self._documents.read(
            feeds_path(version, architecture), lambda raw: read_feeds(raw.decode())
        )
        return feeds

    async def is_being_published(self, version: Version, target: str) -> bool:
        """Whether the newest release of a branch lacks a target that the one before it has."""
        with contextlib.suppress(*ABSENT):
            listed = (await self.releases()).versions
            newest = [other for other in listed if other.branch == version.branch][:2]
            if version in newest[:1] and len(newest) > 1:
                return target in await self.targets(newest[1])
        return False

    async def _json(self, path: str, reader: Callable[[Any], T]) -> T:
        value: T = await self._documents.read(path, lambda raw: reader(read_json(raw)))
        return value
