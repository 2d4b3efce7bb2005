"""Readers of the downloads server's documents, and the paths of these documents.

Readers raise KeyError, TypeError, AttributeError or ValueError for what is not such a document.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .knowledge import DeviceDefaults, is_library, without_abi
from .package_feed import Shared
from .request_hash import normalised_profile
from .versions import InvalidVersionError, Version

# What a running device is flashed with; the first of them that a profile has.
_IMAGE_TYPES = ("sysupgrade", "combined-efi", "combined", "sdcard")
# What may become a part of a path: mips_24kc, 6.12.78~4362e98d, luci. It begins with a letter or a
# digit, so nothing leads to another directory.
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
    """`.versions.json`: the current releases, and all releases, newest first."""

    latest: tuple[str, ...]
    versions: tuple[Version, ...]

    def knows(self, version: Version) -> bool:
        """Whether a version exists: a listed release, a listed branch's snapshot, or SNAPSHOT."""
        if version.is_snapshot and not version.is_development:
            return any(version.branch == listed.branch for listed in self.versions)
        return version.is_development or version in self.versions

    def candidates(self, wanted: Version) -> list[Version]:
        """Return where a device may come from: `wanted`, and each older branch's newest release."""
        newest: dict[str, Version] = {}
        for version in self.versions:
            if version < wanted and version.branch != wanted.branch and not version.is_candidate:
                newest.setdefault(version.branch, version)
        return [wanted, *newest.values()]


@dataclass(frozen=True, slots=True)
class TargetProfiles:
    """The needed part of a target's profiles.json.

    `kmods` is the directory of the kernel modules below `kmods/`, if profiles.json names a kernel;
    releases before the modules had an own feed lack that directory. `aliases` maps a name in an
    id's spelling to the profiles that support it.
    """

    version_code: str
    architecture: str
    kmods: str | None
    default_packages: tuple[str, ...]
    device_packages: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, tuple[str, ...]]
    # Bytes of each profile's official image, and the most that its flash takes; 0 where not known.
    image_sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    _defaults: dict[tuple[Version, str], DeviceDefaults] = field(
        default_factory=dict, compare=False, repr=False
    )

    def find(self, name: str) -> str:
        """Return the profile that `name` means; raises UnknownProfileError, AmbiguousProfileError.

        An exact id wins, then the board name (`tplink,archer-c7-v5`), then `supported_devices` if
        only one profile claims it. A target whose only profile is `generic` takes any name.
        """
        by_board_name = normalised_profile(name)
        for candidate in (name, by_board_name):
            if candidate in self.device_packages:
                return candidate
        candidates = self.aliases.get(by_board_name, ())
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise AmbiguousProfileError(candidates)
        if list(self.device_packages) == ["generic"]:
            return "generic"
        raise UnknownProfileError(name)

    def names_of(self, profile: str) -> tuple[str, ...]:
        """Return all names of a device in an id's spelling, its id first."""
        others = (name for name, profiles in self.aliases.items() if profile in profiles)
        return tuple(dict.fromkeys((profile, *others)))

    def devices(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the profiles that a device of these names can be, the surest kind of them only.

        The first name's own profile is surest, then those of other names, then supporting ones.
        """
        if names[0] in self.device_packages:
            return names[:1]
        ids = tuple(name for name in names if name in self.device_packages)
        supporting = (profile for name in names for profile in self.aliases.get(name, ()))
        return ids or tuple(dict.fromkeys(supporting))

    def defaults_of(self, version: Version, profile: str) -> DeviceDefaults | None:
        """Return a profile's default packages; None if the target does not have the profile."""
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
    """Return the path of a target's profiles.json."""
    return f"{directory(version)}/targets/{target}/profiles.json"


def feeds_path(version: Version, architecture: str) -> str:
    """Return the path of the list of an architecture's feeds."""
    return f"{directory(version)}/packages/{architecture}/feeds.conf"


def targets_path(version: Version) -> str:
    """Return the path of the list of a version's targets."""
    return f"{directory(version)}/.targets.json"


def overview_path(version: Version) -> str:
    """Return the path of the list of a version's devices."""
    return f"{directory(version)}/.overview.json"


def index_paths(
    version: Version, target: str, profiles: TargetProfiles, feeds: Iterable[str]
) -> Iterator[str]:
    """Yield the directories of all indexes that a target can install from, best first."""
    base = f"{directory(version)}/targets/{target}"
    yield f"{base}/packages"
    if profiles.kmods:
        yield f"{base}/kmods/{profiles.kmods}"
    yield from feed_paths(version, profiles.architecture, feeds)


def feed_paths(version: Version, architecture: str, feeds: Iterable[str]) -> Iterator[str]:
    """Yield the directories of an architecture's feeds."""
    for feed in feeds:
        yield f"{directory(version)}/packages/{architecture}/{feed}"


def read_json(raw: bytes) -> Any:
    """Read JSON in UTF-8; raises ValueError, also for half of a surrogate pair."""
    text = raw.decode("utf-8-sig")
    document = json.loads(text)
    if _HALF_PAIR.search(text):
        json.dumps(document, ensure_ascii=False).encode()
    return document


def read_versions(document: Any) -> Releases:
    """Read `.versions.json`; very old names such as 8.09 are left out."""
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
        with contextlib.suppress(InvalidVersionError):
            known.add(Version.parse(str(name)))
    return known


def read_targets(document: Any) -> dict[str, str]:
    """Read `.targets.json`: target → architecture."""
    return {str(target): str(architecture) for target, architecture in document.items()}


def related_targets(target: str, architecture: str, targets: Mapping[str, str]) -> list[str]:
    """Return the other targets (of target → architecture) where a device may have been.

    They share a part of the name, as ipq807x/generic and qualcommax/ipq807x do, or architecture.
    """
    parts = set(target.split("/")) - {"generic"}
    return [
        other
        for other, its_architecture in targets.items()
        if other != target and (its_architecture == architecture or parts & set(other.split("/")))
    ]


def read_overview(document: Any) -> dict[str, tuple[str, ...]]:
    """Read `.overview.json`: profile → targets that have it."""
    targets: dict[str, tuple[str, ...]] = {}
    for entry in document["profiles"]:
        profile = str(entry["id"])
        targets[profile] = (*targets.get(profile, ()), str(entry["target"]))
    return targets


def read_profiles(document: Any) -> TargetProfiles:
    """Read a target's profiles.json."""
    entries = document["profiles"]
    aliases: dict[str, set[str]] = {}
    for profile, entry in entries.items():
        for name in entry.get("supported_devices") or ():
            aliases.setdefault(normalised_profile(str(name)), set()).add(profile)
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
            for profile, entry in entries.items()
        },
        aliases={name: tuple(sorted(profiles)) for name, profiles in aliases.items()},
        image_sizes={
            profile: sizes
            for profile, entry in entries.items()
            if any(sizes := _image_sizes(entry))
        },
    )


def _image_sizes(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Return the bytes of the official image with a squashfs, and the most that may be flashed."""
    sizes = {
        str(image.get("type")): int(image.get("size") or 0)
        for image in entry.get("images") or ()
        if image.get("filesystem") == "squashfs"
    }
    size = next((sizes[kind] for kind in _IMAGE_TYPES if sizes.get(kind, 0) > 0), 0)
    limit = int((entry.get("file_size_limits") or {}).get("image") or 0)
    return size, max(limit, 0)


def _path_part(text: object) -> str:
    """Return a text that becomes part of a path; raises ValueError if it could lead elsewhere."""
    if not isinstance(text, str) or not _PATH_PART.fullmatch(text):
        raise ValueError("not a part of a path")
    return text


def read_feeds(text: str) -> tuple[str, ...]:
    """Read feeds.conf: the second word of each line, sorted; raises ValueError without any."""
    words = [line.split() for line in text.splitlines() if line.startswith("src-")]
    names = {line[1] for line in words if len(line) > 1 and _PATH_PART.fullmatch(line[1])}
    if not names:
        raise ValueError("not a feeds.conf")
    return tuple(sorted(names))


def read_index(document: Any, shared: Shared) -> dict[str, str]:
    """Read an index.json: name → version.

    Version 2 of the format has libraries without their ABI. Version 1 (no `version` key) has them
    with it, so both spellings are entered.
    """
    packages = {
        shared(str(name)): shared(str(version)) for name, version in document["packages"].items()
    }
    if document.get("version", 1) == 1:
        for name in [name for name in packages if is_library(name)]:
            packages.setdefault(shared(without_abi(name)), packages[name])
    return packages
