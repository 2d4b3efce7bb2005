"""Check that a request names a version, a target and a profile that exist, whatever its flags."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from asu import errors
from asu.build_request import TARGET, BuildRequest
from asu.resolution import (
    AmbiguousProfileError,
    DocumentMissingError,
    DocumentUnavailableError,
    Gatherer,
    InvalidVersionError,
    Releases,
    RuleSource,
    TargetProfiles,
    UnknownProfileError,
    Version,
    advise,
    profiles_path,
    shown,
    targets_path,
)
from asu.settings import Settings
from asu.upstream.downloads_server import Upstream

from .feed_policy import FeedPolicy

MAX_TEXT = 256  # Characters; each of them may be escaped.


@dataclass(frozen=True, slots=True)
class ValidatedRequest:
    """A request whose version, target and profile exist, with the exact id and usual spellings."""

    fields: Mapping[str, Any]


class Catalogue:
    """Answers from the downloads server's metadata."""

    def __init__(
        self, upstream: Upstream, gatherer: Gatherer, settings: Settings, rules: RuleSource
    ) -> None:
        self._upstream, self._gatherer = upstream, gatherer
        self._settings, self._rules = settings, rules
        self._oldest_branch = Version.parse(settings.oldest_branch)
        self._feeds = FeedPolicy.of(settings.repository_allow_list)

    async def validate(self, request: BuildRequest) -> ValidatedRequest:
        """Return the request with its exact profile; raise UserError and UpstreamError."""
        version = Version.parse(request.version)
        self._check_limits(request, version)
        await self.expect_served(version)
        try:
            await self._check_target(version, request.target)
            profiles = await self.profiles(version, request.target)
            profile = self._profile(profiles, request, version)
        except (errors.UnsupportedTarget, errors.UnsupportedProfile) as error:
            raise await self._advised(error, request, version) from None
        return ValidatedRequest({**request.normalised(), "profile": profile})

    async def revision(self, version_text: str, target: str) -> str:
        """Return the revision of a target, such as r28739-d9340319c6; raise as `validate`."""
        version = self.parsed(version_text)
        await self.expect_served(version)
        await self._check_target(version, target)
        return (await self.profiles(version, target)).version_code

    async def releases(self) -> Releases:
        """Return the releases that the server lists; raise UpstreamUnreachable."""
        try:
            return await self._gatherer.releases()
        except (DocumentMissingError, DocumentUnavailableError) as error:
            # The server always has this list. A mirror without it is broken, not the request.
            raise errors.UpstreamUnreachable(document=error) from None

    async def known_targets(self, version: Version) -> Mapping[str, str]:
        """Return target → architecture, as `targets`; raise UserError for a version not served."""
        await self.expect_served(version)
        try:
            return await self.targets(version)
        except errors.HalfPublished:
            if _is_branch_snapshot(version):
                raise errors.UnsupportedVersion(version=version) from None
            raise

    async def has_target(self, version: Version, target: str) -> bool:
        """Whether a version has a target; raise as `known_targets`."""
        await self.expect_served(version)
        try:
            await self._check_target(version, target)
        except errors.UnsupportedTarget:
            return False
        return True

    async def targets(self, version: Version) -> Mapping[str, str]:
        """Return target → architecture of a version; raise HalfPublished, UpstreamUnreachable."""
        with document_errors_translated(version, "its targets"):
            return await self._gatherer.targets(version)

    async def profiles(self, version: Version, target: str) -> TargetProfiles:
        """Return the profiles of a target; raise HalfPublished, UpstreamUnreachable."""
        with document_errors_translated(version, target):
            return await self._gatherer.profiles(version, target)

    def parsed(self, text: str) -> Version:
        """Return the version that a text names; raise UnsupportedVersion."""
        try:
            return Version.parse(text)
        except InvalidVersionError:
            raise errors.UnsupportedVersion(version=_printable(text[:32])) from None

    async def _advised(
        self, error: errors.UserError, request: BuildRequest, version: Version
    ) -> errors.UserError:
        """Return the refusal of a target or profile that says what to ask for instead."""
        if isinstance(error, errors.AmbiguousProfile):
            return error
        advice = await advise(self._gatherer, version, request.target, request.profile)
        (field, value), *_ = error.values.items()
        if advice.is_moved:
            return errors.DeviceMoved(
                field=field, value=value, place=advice.hint, suggested=advice.suggested
            )
        return type(error)(**{field: value}, hint=advice.hint, suggested=advice.suggested)

    async def expect_served(self, version: Version) -> None:
        """Raise UnsupportedVersion or UnsupportedBranch for a version that is not served."""
        if version.is_development:
            return
        if version < self._oldest_branch:
            raise errors.UnsupportedBranch(branch=version.branch)
        listed = (await self.releases()).versions
        branch_exists = version.branch in self._rules.current.branch_off_revisions or any(
            version.branch == other.branch for other in listed
        )
        if branch_exists and (version in listed or version.is_snapshot):
            return
        self.expect_confirmed(".versions.json")
        if not branch_exists:
            raise errors.UnsupportedBranch(branch=version.branch)
        raise errors.UnsupportedVersion(version=version)

    async def _check_target(self, version: Version, target: str) -> None:
        """Raise UnsupportedTarget for a target that the version does not have.

        Snapshots of a branch come and go and are in no list. If one has no list of targets, look
        for the target itself. If that is missing too, the whole snapshot is, and it may never
        return.
        """
        try:
            targets = await self.targets(version)
        except errors.HalfPublished:
            if not _is_branch_snapshot(version):
                raise
            # Nothing has checked this text yet, and it becomes a part of a path below.
            if re.fullmatch(TARGET, target) is None:
                raise errors.UnsupportedTarget(target=_printable(target), hint="") from None
            try:
                await self.profiles(version, target)
            except errors.HalfPublished:
                raise errors.UnsupportedVersion(version=version) from None
            return
        if target not in targets:
            self.expect_confirmed(targets_path(version))
            if await self._gatherer.is_being_published(version, target):
                raise errors.HalfPublished(version=version, target=target)
            raise errors.UnsupportedTarget(target=_printable(target), hint="")

    def _profile(self, profiles: TargetProfiles, request: BuildRequest, version: Version) -> str:
        try:
            return profiles.find(request.profile)
        except AmbiguousProfileError as error:
            raise errors.AmbiguousProfile(
                profile=shown(request.profile), candidates=", ".join(error.candidates[:3])
            ) from None
        except UnknownProfileError:
            self.expect_confirmed(profiles_path(version, request.target))
            raise errors.UnsupportedProfile(profile=shown(request.profile), hint="") from None

    def expect_confirmed(self, document: str) -> None:
        """Raise UpstreamUnreachable if a document is too uncertain to call something unknown.

        After a restart, a document may be days old until the server answers.
        """
        if self._upstream.is_unconfirmed(document):
            raise errors.UpstreamUnreachable(document=document)

    def _check_limits(self, request: BuildRequest, version: Version) -> None:
        if request.distro != "openwrt":
            raise errors.UnsupportedDistro(distro=request.distro)
        if request.defaults:
            length, limit = len(request.defaults.encode()), self._settings.max_defaults_length
            if not self._settings.allow_defaults:
                raise errors.DefaultsNotAllowed
            if length > limit:
                raise errors.DefaultsTooLong(length=length, limit=limit)
        size, most = request.rootfs_size_mb, self._settings.max_custom_rootfs_size_mb
        if size and size > most:
            raise errors.RootfsTooLarge(size=size, limit=most)
        self._feeds.admit(request.repositories, request.repository_keys, version)


def _printable(text: str) -> str:
    """Return a text of a path as a sentence can hold it."""
    return shown(ascii(text[:MAX_TEXT])[1:-1])


def _is_branch_snapshot(version: Version) -> bool:
    return version.is_snapshot and not version.is_development


@contextmanager
def document_errors_translated(version: Version, target: str) -> Iterator[None]:
    """Turn a document that cannot be had into HalfPublished or UpstreamUnreachable."""
    try:
        yield
    except DocumentMissingError:
        raise errors.HalfPublished(version=version, target=target) from None
    except DocumentUnavailableError as error:
        raise errors.UpstreamUnreachable(document=error) from None
