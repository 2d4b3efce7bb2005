"""The downloads server's documents: how a service hands them out, and what they are read as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

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
        releases: Releases = await self._documents.read(".versions.json", _versions)
        return releases

    async def targets(self, version: Version) -> Mapping[str, str]:
        """Return a version's targets with their architectures."""
        targets: dict[str, str] = await self._documents.read(targets_path(version), _targets)
        return targets

    async def devices(self, version: Version) -> Mapping[str, tuple[str, ...]]:
        """Return a version's profiles with the targets that have them."""
        devices: dict[str, tuple[str, ...]] = await self._documents.read(
            overview_path(version), _overview
        )
        return devices

    async def profiles(self, version: Version, target: str) -> TargetProfiles:
        """Return a target's profiles."""
        path = profiles_path(version, target)
        profiles: TargetProfiles = await self._documents.read(path, _profiles)
        return profiles

    async def feeds(self, version: Version, architecture: str) -> tuple[str, ...]:
        """Return the names of an architecture's feeds."""
        path = feeds_path(version, architecture)
        feeds: tuple[str, ...] = await self._documents.read(path, _feeds)
        return feeds


def _profiles(raw: bytes) -> TargetProfiles:
    return read_profiles(read_json(raw))


def _versions(raw: bytes) -> Releases:
    return read_versions(read_json(raw))


def _targets(raw: bytes) -> dict[str, str]:
    return read_targets(read_json(raw))


def _overview(raw: bytes) -> dict[str, tuple[str, ...]]:
    return read_overview(read_json(raw))


def _feeds(raw: bytes) -> tuple[str, ...]:
    return read_feeds(raw.decode())
