"""Metadata that clients read before they ask: branches, profiles, and packages with their versions.

The shapes are those of the reference server. Package names have no ABI suffix, since clients
compare them with a manifest.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from asu.errors import NotFound, UpstreamError, UpstreamUnreachable
from asu.resolution import (
    DocumentMissingError,
    DocumentUnavailableError,
    Gatherer,
    InvalidVersionError,
    PackageIndex,
    RuleBook,
    RuleSource,
    Version,
    feeds_path,
    normalised_profile,
    profiles_path,
    read_json,
)
from asu.upstream.downloads_server import Upstream

from .renderings import Rendering
from .validation import Catalogue

# The architecture whose feeds say which package names there are; every release has it.
NAMED_BY = "x86_64"
# A part of a path: mips_24kc, aarch64_cortex-a53.
ARCHITECTURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
# What the reference server answers; auc passes over such a version.
NO_PROFILE = Rendering.of({})


class Listings:
    """The lists, each from the downloads server's documents."""

    def __init__(
        self,
        upstream: Upstream,
        gatherer: Gatherer,
        catalogue: Catalogue,
        rules: RuleSource,
        oldest_branch: str,
    ) -> None:
        self._upstream, self._gatherer, self._catalogue = upstream, gatherer, catalogue
        self._rules, self._oldest_branch = rules, Version.parse(oldest_branch)

    async def latest(self) -> dict[str, list[str]]:
        """Return the current releases, and all releases that are served, newest first."""
        known = await self._catalogue.releases()
        served = (one.text for one in known.versions if one >= self._oldest_branch)
        return {"latest": list(known.latest), "versions": list(served)}

    async def branches(self) -> dict[str, dict[str, Any]]:
        """Return branch → description in the shape of overview.json, newest first.

        A branch without targets is listed too: owut and auc skip it, while LuCI looks its device's
        branch up before every build and fails without it.
        """
        listed = (await self._catalogue.releases()).versions
        names = {version.branch for version in listed} | set(
            self._rules.current.branch_off_revisions
        )
        served = [Version.parse(name) for name in names]
        branches = sorted(
            (branch for branch in served if branch >= self._oldest_branch), reverse=True
        )
        snapshots = [Version.parse(f"{branch}-SNAPSHOT") for branch in branches]
        snapshots.insert(0, Version.parse("SNAPSHOT"))
        held = await asyncio.gather(*(self._names(one, listed) for one in snapshots))
        rules = self._rules.current
        # Going through all names takes 20 ms, in which no poll would be answered.
        sources = await asyncio.to_thread(_sources, rules, held)
        described = await asyncio.gather(
            *(self._branch(one, listed, rules, sources) for one in snapshots)
        )
        return {entry["name"]: entry for entry in described}

    async def _names(self, snapshot: Version, listed: Sequence[Version]) -> PackageIndex:
        """Return the packages of a branch's newest release, or of its snapshot, as far as known."""
        releases = (one for one in listed if one.branch == snapshot.branch)
        version = next((one for one in releases if not one.is_candidate), snapshot)
        try:
            return await self._gatherer.feed_packages(version, NAMED_BY)
        except (DocumentMissingError, DocumentUnavailableError):
            return PackageIndex(())

    async def _branch(
        self,
        snapshot: Version,
        listed: Sequence[Version],
        rules: RuleBook,
        sources: Mapping[str, Sequence[str]],
    ) -> dict[str, Any]:
        """Describe a branch. Its targets are those of its snapshot and its two newest releases.

        A snapshot may be missing, and a release is published target by target over hours.
        """
        name = snapshot.branch
        versions = [version for version in listed if version.branch == name]
        targets: dict[str, str] = {}
        for found in await asyncio.gather(
            *map(self._targets_or_none, (snapshot, *reversed(versions[:2])))
        ):
            targets |= found
        entry: dict[str, Any] = {
            "path": "snapshots" if snapshot.is_development else "releases/{version}",
            "enabled": True,
            "snapshot": snapshot.is_development,
            "path_packages": "DEPRECATED",
            "package_changes": _package_changes(snapshot, rules, sources),
            "versions": [*(version.text for version in versions), snapshot.text],
            "name": name,
            "targets": targets,
        }
        if name in self._rules.current.branch_off_revisions:
            entry["branch_off_rev"] = self._rules.current.branch_off_revisions[name]
        return entry

    async def _targets_or_none(self, version: Version) -> dict[str, str]:
        """Return the targets of a version, none if they fail: the other branches must be listed."""
        try:
            return dict(await self._catalogue.targets(version))
        except UpstreamError:
            return {}

    async def profile(self, version_text: str, target: str, name: str) -> Rendering:
        """Return a profile with the metadata of its target; `{}` if there is no such profile."""
        version = await self._version(version_text, target)
        # The fragment names another reading of the document than the resolver's; it is not sent.
        path = f"{profiles_path(version, target)}#whole"
        try:
            whole: Mapping[str, Rendering] = await self._upstream.read(path, _whole)
        except DocumentMissingError:
            return NO_PROFILE
        except DocumentUnavailableError as error:
            raise UpstreamUnreachable(document=error) from None
        found = whole.get(name) or whole.get(normalised_profile(name))
        if found is None:
            self._catalogue.expect_confirmed(path)
        return found or NO_PROFILE

    async def target_packages(self, version_text: str, target: str) -> dict[str, Any]:
        """Return the packages that belong to a target, kernel modules included."""
        version = await self._version(version_text, target)
        profiles = await self._catalogue.profiles(version, target)
        return {
            "architecture": profiles.architecture,
            "packages": _merged(
                await self._gatherer.target_packages(version, target, profiles),
                f"the package indexes of {version} for {target}",
            ),
        }

    async def architecture_packages(self, version_text: str, architecture: str) -> dict[str, str]:
        """Return the packages of all feeds of an architecture."""
        version = _parsed(version_text)
        await self._catalogue.expect_served(version)
        if ARCHITECTURE.fullmatch(architecture) is None:
            raise NotFound
        try:
            index = await self._gatherer.feed_packages(version, architecture)
        except DocumentMissingError:
            self._catalogue.expect_confirmed(feeds_path(version, architecture))
            raise NotFound from None
        except DocumentUnavailableError as error:
            raise UpstreamUnreachable(document=error) from None
        return _merged(index, f"the package indexes of {version} for {architecture}")

    async def _version(self, text: str, target: str) -> Version:
        version = _parsed(text)
        if not await self._catalogue.has_target(version, target):
            raise NotFound
        return version


def _sources(rules: RuleBook, indexes: Iterable[PackageIndex]) -> dict[str, list[str]]:
    """Return the plain names that each rule replaces or removes, by its id.

    Clients know no patterns: a rule with one has each name that some release has.
    """
    names = frozenset(name for index in indexes for part in index.parts for name in part)
    general = (rule for rule in rules.rules if not (rule.add or rule.target or rule.profiles))
    return {rule.id: rule.sources(names) for rule in general}


def _package_changes(
    version: Version, rules: RuleBook, sources: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Return the changes that clients apply by themselves, one entry for each name."""
    changes = []
    for rule in rules.rules:
        for source in sources.get(rule.id, ()) if rule.lies_between(None, version) else ():
            entry: dict[str, Any] = {"source": source, "revision": rules.since(rule)}
            if target := rule.successor_of(source):
                entry["target"] = target
            if rule.mandatory:
                entry["mandatory"] = True
            changes.append(entry)
    # Replacements first, each kind in the order of its making.
    return sorted(changes, key=lambda one: ("target" not in one, int(one["revision"])))


def _merged(index: PackageIndex, name: str) -> dict[str, str]:
    """Return one map of all parts that can be had; raise UpstreamUnreachable without any."""
    if not any(index.parts):
        raise UpstreamUnreachable(document=name)
    merged: dict[str, str] = {}
    for part in reversed(index.parts):
        merged |= part
    return merged


def _parsed(text: str) -> Version:
    try:
        return Version.parse(text)
    except InvalidVersionError:
        raise NotFound from None


def _whole(raw: bytes) -> Mapping[str, Rendering]:
    document = read_json(raw)
    common = {name: value for name, value in document.items() if name != "profiles"}
    built = datetime.fromtimestamp(int(document.get("source_date_epoch") or 0), UTC).strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )
    return {
        name: Rendering.of({**common, **entry, "id": name, "build_at": built})
        for name, entry in document["profiles"].items()
    }
