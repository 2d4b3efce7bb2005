"""Adds to a preview what the builder will do: the complete manifest, conflicts, sizes.

A forecast changes no decision and no identity. If it cannot be made, for whatever reason, the
preview says `"solved": false` and why.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .resolution import (
    DocumentMissingError,
    DocumentUnavailableError,
    Gatherer,
    PackageRequest,
    Resolution,
    RuleSource,
    TargetProfiles,
    Version,
)
from .solver.pools import Pool, Pools
from .solver.sentences import hidden_conflict, problems_of, shared_files
from .solver.sizes import difference, size_of
from .solver.universe import Solution, World
from .upstream import patience_left

log = logging.getLogger(__name__)

# Seconds to wait for a pool that is being built; the request's own budget may leave less.
POOL_SECONDS = 2.0
NOTHING: Mapping[str, Any] = {"solved": False, "manifest": {}, "size": None, "manifest_diff": None}


class _NoForecastError(Exception):
    """There is no forecast; the message is a sentence for the person."""


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Makes forecasts."""

    gatherer: Gatherer
    pools: Pools
    rules: RuleSource

    async def add_to(
        self, preview: dict[str, Any], request: PackageRequest, resolution: Resolution
    ) -> dict[str, Any]:
        """Return the preview with its forecast."""
        try:
            return await self._forecast(preview, request, resolution)
        except _NoForecastError as error:
            return _with_warnings({**preview, **NOTHING}, [str(error)])
        except Exception as error:
            # A package index is foreign data and libsolv is C: neither may take a preview down.
            log.warning("no forecast: %s", type(error).__name__, exc_info=log.isEnabledFor(10))
            sentence = "What will be installed cannot be foretold from these package indexes."
            return _with_warnings({**preview, **NOTHING}, [sentence])

    async def _forecast(
        self, preview: dict[str, Any], request: PackageRequest, resolution: Resolution
    ) -> dict[str, Any]:
        if request.feeds:
            raise _NoForecastError(
                "The packages of the request's own feeds are not known here, so the complete list "
                "of packages is not foretold."
            )
        profiles = await self._profiles(request.version, request.target)
        pool = await self._pool(request.version, request.target)
        defaults = () if resolution.diff_packages else _defaults(profiles, request.profile)
        solution = pool.solve(World.of(resolution.packages, defaults))
        usual = pool.solve(World.of((), _defaults(profiles, request.profile)))
        official, limit = profiles.image_sizes.get(request.profile, (0, 0))
        manifest = solution.manifest
        size = size_of(solution.installed, usual.installed or None, official=official, limit=limit)
        answer = {
            **preview,
            "changes": _sized(preview["changes"], pool),
            "problems": self._problems(preview["problems"], solution, request, resolution),
            "solved": True,
            "manifest": dict(manifest),
            "size": size if manifest else None,
            "manifest_diff": await self._difference(manifest, request) if manifest else None,
        }
        answer["counts"] = {**preview["counts"], "problems": len(answer["problems"])}
        if answer["problems"]:
            answer |= {"manifest": {}, "size": None, "manifest_diff": None}
            return answer
        return _with_warnings(answer, list(map(hidden_conflict, solution.hidden)))

    def _problems(
        self,
        known: list[dict[str, Any]],
        solution: Solution,
        request: PackageRequest,
        resolution: Resolution,
    ) -> list[dict[str, Any]]:
        """Return the problems of the names, and those that the solver found.

        opkg overlooks many conflicts and then fails at files that both packages hold. No index
        lists files, so for opkg the rules about variants of one program go over the manifest.
        """
        wanted = frozenset(resolution.packages)
        found = problems_of(
            solution.obstacles,
            version=request.version.text,
            target=request.target,
            wanted=wanted,
            named=frozenset(one["package"] for one in known if one["kind"] != "conflict"),
        )
        for exclusive in () if request.version.has_apk else self.rules.current.exclusives:
            names = (one.package.plain_name for one in solution.installed)
            members = sorted(name for name in names if exclusive.members.fullmatch(name))
            if len(members) > 1:
                found.append(shared_files(members, exclusive.reason, wanted))
        kept = [one for one in known if one["kind"] != "conflict"]
        return [*kept, *(problem._asdict() for problem in found)]

    async def _difference(
        self, manifest: Mapping[str, str], request: PackageRequest
    ) -> dict[str, Any] | None:
        """Return how the new image differs from that of the version that the device runs."""
        origin = request.known_origin
        if origin is None:
            return None
        try:
            profiles = await self._profiles(origin, request.target)
            pool = await self._pool(origin, request.target)
        except _NoForecastError:
            return None
        defaults = () if request.diff_packages else _defaults(profiles, request.profile)
        old = pool.solve(World.of(request.packages, defaults)).manifest
        return difference(old, manifest, origin.text) if old else None

    async def _profiles(self, version: Version, target: str) -> TargetProfiles:
        try:
            return await self.gatherer.profiles(version, target)
        except (DocumentMissingError, DocumentUnavailableError):
            raise _NoForecastError(
                f"The devices of {version} for {target} are not known at the moment, so the "
                "complete list of packages is not foretold."
            ) from None

    async def _pool(self, version: Version, target: str) -> Pool:
        recent = self.pools.recent((version, target))
        if recent is not None:
            return recent
        index = await self.gatherer.installable(version, target)
        if index is None or not index.provides_known:
            raise _NoForecastError(
                f"The dependencies of the packages of {version} for {target} are not known at the "
                "moment, so the complete list of packages is not foretold."
            )
        pool = await self.pools.get(
            (version, target),
            index.feeds,
            is_apk=version.has_apk,
            patience=patience_left(POOL_SECONDS),
        )
        if pool is None:
            raise _NoForecastError(
                "The complete list of packages is not ready yet; ask again in a few seconds."
            )
        if not pool.universe.has_modules:
            raise _NoForecastError(
                f"The kernel modules of {version} for {target} are not published at the moment, so "
                "the complete list of packages is not foretold."
            )
        return pool


def _defaults(profiles: TargetProfiles, profile: str) -> tuple[str, ...]:
    return (*profiles.default_packages, *profiles.device_packages.get(profile, ()))


def _sized(changes: list[dict[str, Any]], pool: Pool) -> list[dict[str, Any]]:
    """Return the changes with what each adds to the download."""
    sizes = {
        name: pool.universe.by_name[name][-1].size
        for change in changes
        for name in (change["from_package"], change["to_package"])
        if name in pool.universe.by_name
    }
    return [
        {**change, "bytes": _bytes(change["from_package"], change["to_package"], sizes)}
        for change in changes
    ]


def _bytes(old: str | None, new: str | None, sizes: Mapping[str, int]) -> int | None:
    if new is not None and new not in sizes:
        return None
    return sizes.get(new or "", 0) - sizes.get(old or "", 0)


def _with_warnings(preview: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    if not warnings:
        return preview
    all_of_them = [*preview["warnings"], *warnings]
    counts = {**preview["counts"], "warnings": len(all_of_them)}
    return {**preview, "warnings": all_of_them, "counts": counts}
