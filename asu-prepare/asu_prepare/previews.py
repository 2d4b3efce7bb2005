"""Makes the preview of a request from the downloads server's metadata and the rules."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic_core import to_json

from .errors import (
    AmbiguousProfileError,
    DeviceMovedError,
    PrepareError,
    UnsupportedBranchError,
    UnsupportedDistroError,
    UnsupportedProfileError,
    UnsupportedTargetError,
    UnsupportedVersionError,
)
from .forecasts import Forecasts
from .metrics import PREVIEWS, Counts
from .prepare_request import PrepareRequest
from .resolution import (
    ABSENT,
    Gatherer,
    RuleSource,
    UnknownProfileError,
    Version,
    advise,
    normalised_profile,
    normalised_request,
    package_request,
    preview,
    shown,
)
from .resolution import AmbiguousProfileError as SeveralProfilesError
from .upstream import patience

# Which service made a preview; the API answers with its own name when this service is away.
PREPARED_BY = {"prepared_by": "asu-prepare"}


@dataclass(frozen=True, slots=True)
class Previews:
    """Makes previews; a request waits at most `budget` seconds for the downloads server."""

    gatherer: Gatherer
    forecasts: Forecasts
    rules: RuleSource
    budget: float
    counts: Counts

    async def answer(self, request: PrepareRequest, *, solve: bool = True) -> bytes:
        """Return the preview as JSON, with its forecast if `solve`; raises PrepareError.

        Without a model of the answer in between, writing takes a quarter of the time.
        """
        outcome = "failed"
        try:
            found = await self._preview(request, solve=solve)
            outcome = "problems" if found["problems"] else "ok"
        except PrepareError:
            outcome = "refused"
            raise
        finally:
            self.counts.add(PREVIEWS, outcome)
        return to_json(found)

    async def _preview(self, request: PrepareRequest, *, solve: bool) -> dict[str, object]:
        if request.distro != "openwrt":
            raise UnsupportedDistroError
        with patience(self.budget):
            profile = await self._profile(request)
            fields = {**normalised_request(dict(request)), "profile": profile}
            wanted = package_request(fields)
            resolution = await self.gatherer.decide(wanted, self.rules.current)
            found = preview(fields, resolution) | PREPARED_BY
            return await self.forecasts.add_to(found, wanted, resolution) if solve else found

    async def _profile(self, request: PrepareRequest) -> str:
        """Return the id of the device; its name in an id's spelling if the profiles are unknown.

        Raises PrepareError for a version, target or profile that the downloads server does not
        list. What it cannot be asked for passes.
        """
        version = Version.parse(request.version)
        refused: type[PrepareError] = UnsupportedTargetError
        # A list that hangs leaves half the time for the documents of the target itself.
        with patience(self.budget / 2):
            with contextlib.suppress(*ABSENT):
                self._check_version(version, (await self.gatherer.releases()).versions)
            may_be_there = await self._may_have_target(version, request.target)
        try:
            if may_be_there:
                refused = UnsupportedProfileError
                profiles = await self.gatherer.profiles(version, request.target)
                return profiles.find(request.profile)
        except ABSENT:
            return normalised_profile(request.profile)
        except SeveralProfilesError as error:
            raise AmbiguousProfileError(
                profile=shown(request.profile), candidates=", ".join(error.candidates[:3])
            ) from None
        except UnknownProfileError:
            pass
        raise await self._refusal(refused, version, request)

    def _check_version(self, version: Version, listed: Sequence[Version]) -> None:
        branches = {
            *self.rules.current.branch_off_revisions,
            *(one.branch for one in listed),
            "SNAPSHOT",
        }
        if version.branch not in branches:
            raise UnsupportedBranchError(branch=version.branch)
        if not version.is_snapshot and version not in listed:
            raise UnsupportedVersionError(version=version)

    async def _may_have_target(self, version: Version, target: str) -> bool:
        """Whether a target exists, as far as that can be known, or is about to be published."""
        with contextlib.suppress(*ABSENT):
            if target not in await self.gatherer.targets(version):
                return await self.gatherer.is_being_published(version, target)
        return True

    async def _refusal(
        self, kind: type[PrepareError], version: Version, request: PrepareRequest
    ) -> PrepareError:
        """Return the refusal of a target or profile that says what to ask for instead."""
        advice = await advise(self.gatherer, version, request.target, request.profile)
        field = "target" if kind is UnsupportedTargetError else "profile"
        value = shown(request.target if field == "target" else request.profile)
        return (DeviceMovedError if advice.is_moved else kind)(
            field=field, value=value, hint=advice.hint, suggested=advice.suggested
        )
