"""What can be built: versions, targets and profiles of the downloads server, and whether a request names such.

Every build request is validated here, whatever flags it carries. A profile is found by its exact id
first, then by the board name (LuCI sends `tplink,archer-c7-v5`), then by `supported_devices` if
only one profile claims it; a target whose single profile is `generic` (x86, armsr) takes any name.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asu.build_request import TARGET, BuildRequest
from asu.errors import (
    AmbiguousProfile,
    DefaultsNotAllowed,
    DefaultsTooLong,
    HalfPublished,
    RootfsTooLarge,
    UnsupportedBranch,
    UnsupportedDistro,
    UnsupportedProfile,
    UnsupportedTarget,
    UnsupportedVersion,
    UpstreamError,
    UpstreamUnreachable,
)
from asu.resolution import (
    AmbiguousProfileError,
    DocumentMissingError,
    DocumentUnavailableError,
    Gatherer,
    InvalidVersionError,
    Releases,
    RuleBook,
    TargetProfiles,
    UnknownProfileError,
    Version,
    directory,
    profiles_path,
    read_json,
    read_targets,
)
from asu.settings import Settings
from asu.upstream.downloads_server import Upstream

from .feed_policy import FeedPolicy

VERSIONS = ".versions.json"


@dataclass(frozen=True, slots=True)
class ValidatedRequest:
    """A request whose version, target and profile exist; the profile is its exact id and the spellings are normalised."""

    fields: Mapping[str, Any]


class Catalogue:
    """Answers from the downloads server's metadata."""

    def __init__(
        self, upstream: Upstream, gatherer: Gatherer, settings: Settings, rules: RuleBook
    ) -> None:
        self._upstream, self._gatherer, self._settings, self._rules = (
            upstream,
            gatherer,
            settings,
            rules,
        )
        self._oldest_branch = Version.parse(settings.oldest_branch)
        self._feeds = FeedPolicy.of(settings.repository_allow_list)

    async def validate(self, request: BuildRequest) -> ValidatedRequest:
        """Return the request with its exact profile; raises UserError and UpstreamError."""
        self._check_limits(request)
        version = Version.parse(request.version)
        await self._check_version(version)
        await self._check_target(version, request.target)
        profiles = await self.profiles(version, request.target)
        return ValidatedRequest(
            {**request.normalised(), "profile": self._profile(profiles, request, version)}
        )

    async def revision(self, version_text: str, target: str) -> str:
        """Return the revision of a target, such as r28739-d9340319c6; raises as `validate`."""
        version = self.parsed(version_text)
        await self._check_version(version)
        await self._check_target(version, target)
        return (await self.profiles(version, target)).version_code

    async def releases(self) -> Releases:
        """Return the releases that the server lists; raises UpstreamUnreachable."""
        try:
            return await self._gatherer.releases()
        except DocumentMissingError:
            return Releases((), ())
        except DocumentUnavailableError as error:
            raise UpstreamUnreachable(document=error) from None

    async def known_targets(self, version: Version) -> Mapping[str, str]:
        """Return target → architecture of a version that is served; raises UserError for any other, and as `targets`."""
        await self._check_version(version)
        try:
            return await self.targets(version)
        except HalfPublished:
            if _is_branch_snapshot(version):
                raise UnsupportedVersion(version=version) from None
            raise

    async def has_target(self, version: Version, target: str) -> bool:
        """Whether a version that is served has a target; raises as `known_targets`."""
        await self._check_version(version)
        try:
            await self._check_target(version, target)
        except UnsupportedTarget:
            return False
        return True

    async def targets(self, version: Version) -> Mapping[str, str]:
        """Return target → architecture of a version; raises HalfPublished where it has none yet, and UpstreamUnreachable."""
        try:
            targets: Mapping[str, str] = await self._upstream.read(targets_path(version), _targets)
        except DocumentMissingError:
            raise HalfPublished(version=version, target="its targets") from None
        except DocumentUnavailableError as error:
            raise UpstreamUnreachable(document=error) from None
        return targets

    async def profiles(self, version: Version, target: str) -> TargetProfiles:
        """Return the profiles of a target; raises HalfPublished where they are not there yet, and UpstreamUnreachable."""
        try:
            return await self._gatherer.profiles(version, target)
        except DocumentMissingError:
            raise HalfPublished(version=version, target=target) from None
        except DocumentUnavailableError as error:
            raise UpstreamUnreachable(document=error) from None

    async def branches(self) -> dict[str, dict[str, Any]]:
        """Return branch → description in the shape of overview.json (facts of the wire contract), newest first.

        A branch of which no targets can be had (now) is there with none: owut and auc pass over it,
        while LuCI looks its device's branch up before every build and stumbles when it is not
        there.
        """
        releases = await self.releases()
        names = {version.branch for version in releases.versions} | set(
            self._rules.branch_off_revisions
        )
        branches = sorted(
            (Version.parse(name) for name in names if Version.parse(name) >= self._oldest_branch),
            reverse=True,
        )
        described = await asyncio.gather(
            self._development(),
            *(self._release_branch(branch, releases.versions) for branch in branches),
        )
        return {entry["name"]: entry for entry in described}

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

        Its targets come from its snapshot and its two newest releases: a snapshot may be missing,
        and a release is published target by target over hours, in which the one before it stands in
        for what it lacks.
        """
        versions = [version for version in listed if version.branch == branch.text]
        snapshot = Version.parse(f"{branch}-SNAPSHOT")
        targets: dict[str, str] = {}
        for found in await asyncio.gather(
            *map(self._targets_or_none, (snapshot, *reversed(versions[:2])))
        ):
            targets |= found
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

    def parsed(self, text: str) -> Version:
        """Return the version that a text names; raises UnsupportedVersion."""
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
        branch_exists = version.branch in self._rules.branch_off_revisions or any(
            version.branch == other.branch for other in listed
        )
        if branch_exists and (version in listed or version.is_snapshot):
            return
        self.expect_confirmed(VERSIONS)
        if not branch_exists:
            raise UnsupportedBranch(branch=version.branch)
        raise UnsupportedVersion(version=version)

    async def _check_target(self, version: Version, target: str) -> None:
        """Raise UnsupportedTarget for a target that the version does not have.

        Snapshots of a branch come and go without being in any list. Where one's list of targets is
        missing, the target itself tells: it may be there all the same, or the whole snapshot is not
        (any more), which no later try will change.
        """
        try:
            targets = await self.targets(version)
        except HalfPublished:
            if not _is_branch_snapshot(version):
                raise
            # What clients put into a path has been compared with nothing yet, and is about to
            # become a part of another one.
            if re.fullmatch(TARGET, target) is None:
                raise UnsupportedTarget(target=ascii(target[:64])) from None
            try:
                await self.profiles(version, target)
            except HalfPublished:
                raise UnsupportedVersion(version=version) from None
            return
        if target not in targets:
            self.expect_confirmed(targets_path(version))
            raise UnsupportedTarget(target=target)

    def _profile(self, profiles: TargetProfiles, request: BuildRequest, version: Version) -> str:
        try:
            return profiles.find(request.profile)
        except AmbiguousProfileError as error:
            raise AmbiguousProfile(
                profile=request.profile, candidates=", ".join(error.candidates)
            ) from None
        except UnknownProfileError:
            self.expect_confirmed(profiles_path(version, request.target))
            raise UnsupportedProfile(profile=request.profile) from None

    def expect_confirmed(self, document: str) -> None:
        """Return if something may be called unknown because a document lacks it; raises UpstreamUnreachable.

        After a restart, a document may be days old until the server answers. A new release is then
        in no list, which is not the user's fault.
        """
        if self._upstream.is_unconfirmed(document):
            raise UpstreamUnreachable(document=document)

    def _check_limits(self, request: BuildRequest) -> None:
        if request.distro != "openwrt":
            raise UnsupportedDistro(distro=request.distro)
        if request.defaults:
            length = len(request.defaults.encode())
            if not self._settings.allow_defaults:
                raise DefaultsNotAllowed
            if length > self._settings.max_defaults_length:
                raise DefaultsTooLong(length=length, limit=self._settings.max_defaults_length)
        if (
            request.rootfs_size_mb
            and request.rootfs_size_mb > self._settings.max_custom_rootfs_size_mb
        ):
            raise RootfsTooLarge(
                size=request.rootfs_size_mb, limit=self._settings.max_custom_rootfs_size_mb
            )
        self._feeds.admit(
            request.repositories, request.repository_keys, Version.parse(request.version)
        )


def _is_branch_snapshot(version: Version) -> bool:
    return version.is_snapshot and not version.is_development


def targets_path(version: Version) -> str:
    """Return where a version's targets are."""
    return f"{directory(version)}/.targets.json"


def _targets(raw: bytes) -> dict[str, str]:
    return read_targets(read_json(raw))
