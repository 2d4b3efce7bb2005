"""Finds a device in older releases, where it may have had another name or another target."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from .documents import ABSENT, DocumentMissingError, DocumentUnavailableError, Metadata
from .knowledge import DeviceDefaults
from .metadata import TargetProfiles, related_targets
from .outcome import PackageRequest
from .versions import Version


class DeviceHistory:
    """Looks a device up in releases."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def earlier(
        self, request: PackageRequest, profiles: TargetProfiles
    ) -> tuple[Version | None, tuple[DeviceDefaults, ...], tuple[DeviceDefaults, ...] | None]:
        """Return the stated version, and `earlier` and `unseen` of Knowledge.

        A stated version that no list names is neither looked for nor kept; without a list it is.
        """
        if not request.diff_packages:
            return None, (), None
        origin, candidates = request.known_origin, [request.version]
        with contextlib.suppress(*ABSENT):
            releases = await self._metadata.releases()
            candidates = releases.candidates(request.version)
            origin = origin if origin and releases.knows(origin) else None
        if origin:
            stated = await self._defaults_in([origin], request, profiles)
            if stated:
                return origin, stated, None
            candidates = [version for version in candidates if version != request.version]
        found = await self._defaults_in(candidates, request, profiles)
        older = [version for version in candidates if version != request.version]
        if origin:
            older.append(origin)
        if not older or any(defaults.version != request.version for defaults in found):
            return origin, found, None
        return origin, found, await self._target_defaults(older, request.target)

    async def _defaults_in(
        self, versions: Iterable[Version], request: PackageRequest, profiles: TargetProfiles
    ) -> tuple[DeviceDefaults, ...]:
        names = profiles.names_of(request.profile)
        found = await asyncio.gather(
            *(self._defaults_at(version, request.target, names, profiles) for version in versions)
        )
        return tuple(defaults for some in found for defaults in some)

    async def _defaults_at(
        self, version: Version, target: str, names: tuple[str, ...], profiles: TargetProfiles
    ) -> list[DeviceDefaults]:
        found = []
        for place, profile in await self.places(version, target, names, profiles.architecture):
            with contextlib.suppress(*ABSENT):
                defaults = (await self._metadata.profiles(version, place)).defaults_of(
                    version, profile
                )
                found += [defaults] if defaults else []
        return found

    async def _target_defaults(
        self, versions: Iterable[Version], target: str
    ) -> tuple[DeviceDefaults, ...]:
        found = []
        for version in versions:
            with contextlib.suppress(*ABSENT):
                profiles = await self._metadata.profiles(version, target)
                found.append(DeviceDefaults.of(version, profiles.default_packages, ()))
        return tuple(found)

    async def places(
        self, version: Version, target: str, names: tuple[str, ...], architecture: str = ""
    ) -> list[tuple[str, str]]:
        """Return each target and profile that a device of these names has in a release."""
        own = await self._devices(version, target, names)
        return own or await self.elsewhere(version, target, names, architecture)

    async def elsewhere(
        self,
        version: Version,
        target: str,
        names: tuple[str, ...],
        architecture: str = "",
        *,
        by_support: bool = False,
    ) -> list[tuple[str, str]]:
        """Return the same of all targets but `target`.

        The release's list of devices says where a profile is. A server without that list is asked
        for the targets that are related; with `by_support` also if no profile has these names.
        """
        others: set[str] = set()
        is_listed = False
        if names[0] == "generic":
            return []
        try:
            overview = await self._metadata.devices(version)
            others = {other for name in names for other in overview.get(name, ())} - {target}
            is_listed = bool(others) or not by_support
        except DocumentUnavailableError:
            return []
        except DocumentMissingError:
            pass
        if not is_listed:
            with contextlib.suppress(*ABSENT):
                targets = await self._metadata.targets(version)
                others = set(related_targets(target, architecture, targets))
        found = await asyncio.gather(
            *(self._devices(version, other, names) for other in sorted(others))
        )
        return [place for places in found for place in places]

    async def _devices(
        self, version: Version, target: str, names: tuple[str, ...]
    ) -> list[tuple[str, str]]:
        try:
            profiles = await self._metadata.profiles(version, target)
        except ABSENT:
            return []
        return [(target, profile) for profile in profiles.devices(names)]
