"""Makes the preview of a request from the downloads server's metadata and the rules."""

from dataclasses import dataclass

from pydantic_core import to_json

from .errors import (
    AmbiguousProfileError,
    PrepareError,
    UnsupportedDistroError,
    UnsupportedProfileError,
)
from .forecasts import Forecasts
from .metrics import PREVIEWS, Counts
from .prepare_request import PrepareRequest
from .resolution import AmbiguousProfileError as SeveralProfilesError
from .resolution import (
    DocumentMissingError,
    DocumentUnavailableError,
    Gatherer,
    RuleBook,
    UnknownProfileError,
    Version,
    normalised_profile,
    normalised_request,
    package_request,
    preview,
)
from .upstream import patience

# Which service made a preview; the API answers with its own name when this service is away.
PREPARED_BY = {"prepared_by": "asu-prepare"}


@dataclass(frozen=True, slots=True)
class Previews:
    """Makes previews; a request waits at most `budget` seconds for the downloads server."""

    gatherer: Gatherer
    forecasts: Forecasts
    rules: RuleBook
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
            resolution = await self.gatherer.decide(wanted, self.rules)
            found = preview(fields, resolution) | PREPARED_BY
            return await self.forecasts.add_to(found, wanted, resolution) if solve else found

    async def _profile(self, request: PrepareRequest) -> str:
        """Return the id of the device; its name in an id's spelling if the profiles are unknown."""
        try:
            profiles = await self.gatherer.profiles(Version.parse(request.version), request.target)
            return profiles.find(request.profile)
        except (DocumentMissingError, DocumentUnavailableError):
            return normalised_profile(request.profile)
        except UnknownProfileError:
            raise UnsupportedProfileError(
                profile=request.profile, target=request.target, version=request.version
            ) from None
        except SeveralProfilesError as error:
            raise AmbiguousProfileError(
                profile=request.profile, candidates=", ".join(error.candidates)
            ) from None
