"""What can be built: versions, targets and profiles of the downloads server, and whether a request names such.

Every build request is validated here, whatever flags it carries. A profile is found by its exact id first, then by the
board name (LuCI sends `tplink,archer-c7-v5`), then by `supported_devices` if only one profile claims it; a target whose
single profile is `generic` (x86, armsr) takes any name.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .build_request import BuildRequest
from .errors import (
    AmbiguousProfile,
    DefaultsNotAllowed,
    DefaultsTooLong,
    HalfPublished,
    RepositoryNotAllowed,
    RootfsTooLarge,
    UnsupportedBranch,
    UnsupportedDistro,
    UnsupportedProfile,
    UnsupportedTarget,
    UnsupportedVersion,
    UpstreamError,
)
from .resolution import InvalidVersionError, RuleBook, Version, normalised_profile
from .settings import Settings
from .upstream import DocumentMissing, Upstream


@dataclass(frozen=True, slots=True)
class Releases:
    """`.versions.json`: what the server has, newest first."""

    latest: tuple[str, ...]
    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class TargetProfiles:
    """The needed part of a target's profiles.json."""

    version_code: str
    architecture: str
    default_packages: tuple[str, ...]
    device_packages: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, tuple[str, ...]]

    def find(self, name: str) -> str:
        """Return the id of the profile that `name` means; raises UnsupportedProfile or AmbiguousProfile."""
        if name in self.device_packages:
            return name
        by_board_name = normalised_profile(name)
        if by_board_name in self.device_packages:
            return by_board_name
        candidates = self.aliases.get(name, ()) or self.aliases.get(by_board_name, ())
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise AmbiguousProfile(profile=name, candidates=", ".join(candidates))
        if list(self.device_packages) == ["generic"]:
            return "generic"
        raise UnsupportedProfile(profile=name)


@dataclass(frozen=True, slots=True)
class ValidatedRequest:
    """A request whose version, target and profile exist; the profile is its exact id and the spellings are normalised."""

    fields: Mapping[str, Any]


class Catalogue:
    """Answers from the downloads server's metadata."""

    def __init__(self, upstream: Upstream, settings: Settings, rules: RuleBook) -> None:
        self._upstream, self._settings, self._rules = upstream, settings, rules
        self._oldest_branch = Version.parse(settings.oldest_branch)

    async def validate(self, request: BuildRequest) -> ValidatedRequest:
        """Return the request with its exact profile; raises UserError and UpstreamError."""
        self._check_limits(request)
        version = Version.parse(request.version)
        await self._check_version(version)
        if request.target not in await self.targets(version):
            raise UnsupportedTarget(target=request.target)
        profiles = await self.profiles(version, request.target)
        return ValidatedRequest({**request.normalised(), "profile": profiles.find(request.profile)})

    async def revision(self, version_text: str, target: str) -> str:
        """Return the revision of a target, such as r28739-d9340319c6; raises as `validate`."""
        version = self._parse(version_text)
        await self._check_version(version)
        if target not in await self.targets(version):
            raise UnsupportedTarget(target=target)
        return (await self.profiles(version, target)).version_code

    async def releases(self) -> Releases:
        """Return the releases that the server lists."""
        try:
            releases: Releases = await self._upstream.document(".versions.json", _read_versions)
        except DocumentMissing:
            return Releases((), ())
        return releases

    async def targets(self, version: Version) -> Mapping[str, str]:
        """Return target → architecture of a version; raises HalfPublished where it has none yet."""
        try:
            targets: Mapping[str, str] = await self._upstream.document(f"{directory(version)}/.targets.json", _read_targets)
        except DocumentMissing:
            raise HalfPublished(version=version, target="its targets") from None
        return targets

    async def profiles(self, version: Version, target: str) -> TargetProfiles:
        """Return the profiles of a target; raises HalfPublished where they are not there yet."""
        try:
            profiles: TargetProfiles = await self._upstream.document(f"{directory(version)}/targets/{target}/profiles.json", _read_profiles)
        except DocumentMissing:
            raise HalfPublished(version=version, target=target) from None
        return profiles

    async def branches(self) -> dict[str, dict[str, Any]]:
        """Return branch → description in the shape of overview.json (facts of the wire contract), newest first.

        A branch that the rules know and of which the server has nothing is left out: clients expect targets.
        """
        releases = await self.releases()
        names = {version.branch for version in releases.versions} | set(self._rules.branch_off_revisions)
        branches = sorted((Version.parse(name) for name in names if Version.parse(name) >= self._oldest_branch), reverse=True)
        described = [await self._development(), *[await self._release_branch(branch, releases.versions) for branch in branches]]
        return {entry["name"]: entry for entry in described if entry["targets"] or len(entry["versions"]) > 1}

    async def _development(self) -> dict[str, Any]:
        snapshot = Version.parse("SNAPSHOT")
        return {
            "path": "snapshots",
            "enabled": True,
            "snapshot": True,
            "path_packages": "DEPRECATED",
            "package_changes": self._package_changes(snapshot),
            "versions": ["SNAPSHOT"],
            "name": "SNAPSHOT",
            "targets": await self._targets_or_none(snapshot),
        }

    async def _release_branch(self, branch: Version, listed: Sequence[Version]) -> dict[str, Any]:
        """Describe a branch.

        Its targets come from its snapshot and its two newest releases: a snapshot may be missing, and a release is published
        target by target over hours, in which the one before it stands in for what it lacks.
        """
        versions = [version for version in listed if version.branch == branch.text]
        snapshot = Version.parse(f"{branch}-SNAPSHOT")
        targets: dict[str, str] = {}
        for version in (snapshot, *reversed(versions[:2])):
            targets |= await self._targets_or_none(version)
        entry = {
            "path": "releases/{version}",
            "enabled": True,
            "snapshot": False,
            "path_packages": "DEPRECATED",
            "package_changes": self._package_changes(snapshot),
            "versions": [*(version.text for version in versions), snapshot.text],
            "name": branch.text,
            "targets": targets,
        }
        if branch.text in self._rules.branch_off_revisions:
            entry["branch_off_rev"] = self._rules.branch_off_revisions[branch.text]
        return entry

    async def _targets_or_none(self, version: Version) -> dict[str, str]:
        """Return the targets of a version, none where they cannot be had: one broken document must not hide all branches."""
        try:
            return dict(await self.targets(version))
        except UpstreamError:
            return {}

    def _package_changes(self, version: Version) -> list[dict[str, Any]]:
        """Return the rules that device clients apply by themselves: those with a revision and a plain name."""
        changes = []
        for rule in self._rules.rules:
            source = rule.replace or rule.remove
            if source is None or rule.revision is None or not rule.lies_between(None, version):
                continue
            entry: dict[str, Any] = {"source": source, "revision": rule.revision}
            if rule.with_package:
                entry["target"] = rule.with_package
            if rule.mandatory:
                entry["mandatory"] = True
            changes.append(entry)
        return sorted(changes, key=lambda change: int(change["revision"]))

    def _parse(self, text: str) -> Version:
        try:
            return Version.parse(text)
        except InvalidVersionError:
            raise UnsupportedVersion(version=text[:32]) from None

    async def _check_version(self, version: Version) -> None:
        if version.is_development:
            return
        if version < self._oldest_branch:
            raise UnsupportedBranch(branch=version.branch)
        listed = (await self.releases()).versions
        branch_exists = version.branch in self._rules.branch_off_revisions or any(version.branch == other.branch for other in listed)
        if not branch_exists:
            raise UnsupportedBranch(branch=version.branch)
        if version not in listed and not version.is_snapshot:
            raise UnsupportedVersion(version=version)

    def _check_limits(self, request: BuildRequest) -> None:
        if request.distro != "openwrt":
            raise UnsupportedDistro(distro=request.distro)
        if request.defaults:
            length = len(request.defaults.encode())
            if not self._settings.allow_defaults:
                raise DefaultsNotAllowed
            if length > self._settings.max_defaults_length:
                raise DefaultsTooLong(length=length, limit=self._settings.max_defaults_length)
        if request.rootfs_size_mb and request.rootfs_size_mb > self._settings.max_custom_rootfs_size_mb:
            raise RootfsTooLarge(size=request.rootfs_size_mb, limit=self._settings.max_custom_rootfs_size_mb)
        if request.repositories:
            raise RepositoryNotAllowed(repository=next(iter(request.repositories)))


def directory(version: Version) -> str:
    """Return the directory of a version on the downloads server."""
    return "snapshots" if version.is_development else f"releases/{version}"


def _read_versions(document: Any) -> Releases:
    latest = _known(document.get(key) for key in ("upcoming_version", "stable_version", "oldstable_version"))
    listed = _known(document["versions_list"])
    return Releases(tuple(version.text for version in sorted(latest, reverse=True)), tuple(sorted(listed | latest, reverse=True)))


def _known(names: Iterable[Any]) -> set[Version]:
    """Return the versions; names of the distant past (such as 8.09) have no place in today's order and are left out."""
    known = set()
    for name in names:
        with contextlib.suppress(InvalidVersionError):
            known.add(Version.parse(str(name)))
    return known


def _read_targets(document: Any) -> dict[str, str]:
    return {str(target): str(architecture) for target, architecture in document.items()}


def _read_profiles(document: Any) -> TargetProfiles:
    aliases: dict[str, list[str]] = {}
    for profile, entry in document["profiles"].items():
        for name in entry.get("supported_devices") or ():
            if profile not in aliases.setdefault(str(name), []):
                aliases[str(name)].append(profile)
    return TargetProfiles(
        version_code=str(document["version_code"]),
        architecture=str(document["arch_packages"]),
        default_packages=tuple(map(str, document["default_packages"])),
        device_packages={profile: tuple(map(str, entry.get("device_packages") or ())) for profile, entry in document["profiles"].items()},
        aliases={name: tuple(sorted(profiles)) for name, profiles in aliases.items()},
    )
