"""What owut and auc read before they ask: a profile, and the packages of a target and of an architecture, with versions.

The shapes are those of the reference server (facts of the wire contract): a target's index is
nested and has the kernel modules merged in, an architecture's is one flat map over all feeds. Names
are free of ABI suffixes, since that is what the clients compare with a manifest; where an old index
has them, both spellings are there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from asu.errors import NotFound, UpstreamUnreachable
from asu.resolution import (
    DocumentMissingError,
    DocumentUnavailableError,
    Gatherer,
    InvalidVersionError,
    Version,
    normalised_profile,
    profiles_path,
    read_json,
)
from asu.upstream.downloads_server import Upstream

from .renderings import Rendering
from .validation import Catalogue, targets_path

# What the reference server answers; auc passes over such a version.
NO_PROFILE = Rendering.of(b"{}")


@dataclass(frozen=True, slots=True)
class WholeProfiles:
    """A profiles.json with its profiles as they are sent: auc asks for one profile per version, so it is put together once."""

    profiles: Mapping[str, Rendering]


class Listings:
    """The lists, each from the downloads server's documents."""

    def __init__(self, upstream: Upstream, gatherer: Gatherer, catalogue: Catalogue) -> None:
        self._upstream, self._gatherer, self._catalogue = upstream, gatherer, catalogue

    async def profile(self, version_text: str, target: str, name: str) -> Rendering:
        """Return a profile with the metadata of its target; an empty object for a profile that is not there."""
        version = await self._version(version_text, target)
        # The fragment makes this another reading beside the resolver's; it is not sent.
        path = f"{profiles_path(version, target)}#whole"
        try:
            whole: WholeProfiles = await self._upstream.read(path, _whole)
        except DocumentMissingError:
            return NO_PROFILE
        except DocumentUnavailableError as error:
            raise UpstreamUnreachable(document=error) from None
        found = whole.profiles.get(name) or whole.profiles.get(normalised_profile(name))
        if found is None:
            self._catalogue.expect_confirmed(path)
        return found or NO_PROFILE

    async def target_packages(self, version_text: str, target: str) -> dict[str, Any]:
        """Return the packages that belong to a target, kernel modules included."""
        version = await self._version(version_text, target)
        profiles = await self._catalogue.profiles(version, target)
        return {
            "architecture": profiles.architecture,
            "packages": await self._merged(version, target, feeds=False),
        }

    async def architecture_packages(self, version_text: str, architecture: str) -> dict[str, str]:
        """Return the packages of all feeds of an architecture."""
        version = self._parsed(version_text)
        targets = await self._catalogue.known_targets(version)
        target = next((target for target, other in targets.items() if other == architecture), None)
        if target is None:
            self._catalogue.expect_confirmed(targets_path(version))
            raise NotFound
        return await self._merged(version, target, feeds=True)

    async def _version(self, text: str, target: str) -> Version:
        version = self._parsed(text)
        if not await self._catalogue.has_target(version, target):
            raise NotFound
        return version

    def _parsed(self, text: str) -> Version:
        try:
            return Version.parse(text)
        except InvalidVersionError:
            raise NotFound from None

    async def _merged(self, version: Version, target: str, *, feeds: bool) -> dict[str, str]:
        """Return one map of all parts that can be had; raises UpstreamUnreachable without any."""
        try:
            index = await self._gatherer.packages(version, target, feeds=feeds)
        except (DocumentMissingError, DocumentUnavailableError):
            index = None
        if index is None or not any(index.parts):
            raise UpstreamUnreachable(document=f"the package indexes of {version} for {target}")
        merged: dict[str, str] = {}
        for part in reversed(index.parts):
            merged |= part
        return merged


def _whole(raw: bytes) -> WholeProfiles:
    document = read_json(raw)
    common = {name: value for name, value in document.items() if name != "profiles"}
    built = datetime.fromtimestamp(int(document.get("source_date_epoch") or 0), UTC).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )
    entries = {
        name: {**common, **entry, "id": name, "build_at": built}
        for name, entry in document["profiles"].items()
    }
    return WholeProfiles(
        {
            name: Rendering.of(json.dumps(entry, separators=(",", ":"), allow_nan=False).encode())
            for name, entry in entries.items()
        }
    )
