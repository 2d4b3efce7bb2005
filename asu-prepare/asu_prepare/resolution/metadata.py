"""The documents of the downloads server, read: profiles, indexes, feeds; and where they are.

Readers raise KeyError, TypeError, AttributeError or ValueError for whatever is not such a document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .knowledge import DeviceDefaults, is_library, without_abi
from .package_feed import Shared
from .request_hash import normalised_profile
from .versions import InvalidVersionError, Version

# What becomes a part of a path: mips_24kc, aarch64_cortex-a53, 6.12.78~4362e98d, luci. It begins
# with a letter or a digit, so nothing leads to another directory.
_PATH_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}")
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # In JSON; whole pairs look like that, too.


class UnknownProfileError(LookupError):
    """No profile of the target has this name."""


class AmbiguousProfileError(LookupError):
    """More than one profile claims this name; `candidates` are their ids."""

    def __init__(self, candidates: tuple[str, ...]) -> None:
        super().__init__(", ".join(candidates))
        self.candidates = candidates


@dataclass(frozen=True, slots=True)
class Releases:
    """`.versions.json`: the current releases and all that there are, newest first."""

    latest: tuple[str, ...]
    versions: tuple[Version, ...]

    def knows(self, version: Version) -> bool:
        """Whether there is such a version: a release that is listed, the snapshot of a listed branch, or SNAPSHOT."""
        if version.is_snapshot and not version.is_development:
            return any(version.branch == listed.branch for listed in self.versions)
        return version.is_development or version in self.versions

    def candidates(self, wanted: Version) -> list[Version]:
        """Return where a device may come from: the wanted version, and the newest final release of each older branch."""
        newest: dict[str, Version] = {}
        for version in self.versions:
            if version < wanted and version.branch != wanted.branch and not version.is_candidate:
                newest.setdefault(version.branch, version)
        return [wanted, *newest.values()]


@dataclass(frozen=True, slots=True)
class TargetProfiles:
    """The needed part of a target's profiles.json.

    `kmods` is the directory of the kernel modules below `kmods/`, where profiles.json tells the
    kernel; whether modules are split off at all is known by whether that directory exists.
    """

    version_code: str
    architecture: str
    kmods: str | None
    default_packages: tuple[str, ...]
    device_packages: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, tuple[str, ...]]
    _defaults: dict[tuple[Version, str], DeviceDefaults] = field(
        default_factory=dict, compare=False, repr=False
    )

    def find(self, name: str) -> str:
        """Return the id of the profile that `name` means; raises UnknownProfileError or AmbiguousProfileError.

        An exact id wins, then the board name (`tplink,archer-c7-v5`), then `supported_devices` if
        only one profile claims it; a target whose single profile is `generic` takes any name.
        """
        by_board_name = normalised_profile(name)
        for candidate in (name, by_board_name):
            if candidate in self.device_packages:
                return candidate
        candidates = self.aliases.get(name, ()) or self.aliases.get(by_board_name, ())
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise AmbiguousProfileError(candidates)
        if list(self.device_packages) == ["generic"]:
            return "generic"
        raise UnknownProfileError(name)

    def defaults_of(self, version: Version, profile: str) -> DeviceDefaults | None:
        """Return a profile's default packages; None if the target does not have it. Put together once per profile."""
        known = self._defaults.get((version, profile))
        if known is None and profile in self.device_packages:
            known = self._defaults[version, profile] = DeviceDefaults.of(
                version, self.default_packages, self.device_packages[profile]
            )
        return known


def directory(version: Version) -> str:
    """Return the directory of a version on the downloads server."""
    return "snapshots" if version.is_development else f"releases/{version}"


def profiles_path(version: Version, target: str) -> str:
    """Return where a target's profiles.json is."""
    return f"{directory(version)}/targets/{target}/profiles.json"


def feeds_path(version: Version, architecture: str) -> str:
    """Return where the feeds of an architecture are listed."""
    return f"{directory(version)}/packages/{architecture}/feeds.conf"


def index_paths(
    version: Version, target: str, profiles: TargetProfiles, feeds: Iterable[str]
) -> Iterator[str]:
    """Yield the directories whose indexes together say what a target can install, in the builder's order of preference."""
    base = f"{directory(version)}/targets/{target}"
    yield f"{base}/packages"
    if profiles.kmods:
        yield f"{base}/kmods/{profiles.kmods}"
    for feed in feeds:
        yield f"{directory(version)}/packages/{profiles.architecture}/{feed}"


def read_json(raw: bytes) -> Any:
    """Read a document; ValueError where it is no JSON in UTF-8, or holds half of a surrogate pair, which no answer could repeat."""
    text = raw.decode("utf-8-sig")
    document = json.loads(text)
    if _HALF_PAIR.search(text):
        json.dumps(document, ensure_ascii=False).encode()
    return document


def read_versions(document: Any) -> Releases:
    """Read `.versions.json`; names of the distant past (such as 8.09) have no place in today's order and are left out."""
    latest = _known(
        document.get(key) for key in ("upcoming_version", "stable_version", "oldstable_version")
    )
    listed = _known(document["versions_list"])
    return Releases(
        tuple(version.text for version in sorted(latest, reverse=True)),
        tuple(sorted(listed | latest, reverse=True)),
    )


def _known(names: Iterable[Any]) -> set[Version]:
    known = set()
    for name in names:
        try:
            known.add(Version.parse(str(name)))
        except InvalidVersionError:
            continue
    return known


def read_targets(document: Any) -> dict[str, str]:
    """Read `.targets.json`: target → architecture."""
    return {str(target): str(architecture) for target, architecture in document.items()}


def read_profiles(document: Any) -> TargetProfiles:
    """Read a target's profiles.json."""
    aliases: dict[str, list[str]] = {}
    for profile, entry in document["profiles"].items():
        for name in entry.get("supported_devices") or ():
            if profile not in aliases.setdefault(str(name), []):
                aliases[str(name)].append(profile)
    kernel = document.get("linux_kernel")
    return TargetProfiles(
        version_code=str(document["version_code"]),
        architecture=_path_part(document["arch_packages"]),
        kmods=_path_part("-".join(str(kernel[key]) for key in ("version", "release", "vermagic")))
        if kernel
        else None,
        default_packages=tuple(map(str, document["default_packages"])),
        device_packages={
            profile: tuple(map(str, entry.get("device_packages") or ()))
            for profile, entry in document["profiles"].items()
        },
        aliases={name: tuple(sorted(profiles)) for name, profiles in aliases.items()},
    )


def _path_part(text: object) -> str:
    """Return a text that is put into a path as it stands; ValueError for what could lead elsewhere."""
    if not isinstance(text, str) or not _PATH_PART.fullmatch(text):
        raise ValueError("not a part of a path")
    return text


def read_feeds(text: str) -> tuple[str, ...]:
    """Read feeds.conf: the feeds' names, sorted, as the second word of each line; ValueError without any."""
    words = [line.split() for line in text.splitlines() if line.startswith("src-")]
    names = {line[1] for line in words if len(line) > 1 and _PATH_PART.fullmatch(line[1])}
    if not names:
        raise ValueError("not a feeds.conf")
    return tuple(sorted(names))


def read_index(document: Any, shared: Shared) -> dict[str, str]:
    """Read an index.json of either version: name → version.

    Version 2 names libraries without their ABI; version 1 (no `version` key) with it, so both
    spellings are entered.
    """
    packages = {
        shared(str(name)): shared(str(version)) for name, version in document["packages"].items()
    }
    if document.get("version", 1) == 1:
        for name in [name for name in packages if is_library(name)]:
            packages.setdefault(shared(without_abi(name)), packages[name])
    return packages
