"""Figures: the queue at this moment, and counts of half a year. None shows whose they are."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Query, Request
from pydantic import AfterValidator, StringConstraints

from asu.errors import InvalidRequest, QueueUnavailable
from asu.resolution import InvalidVersionError, Version
from asu.services import services_of
from asu.statistics import figure_shapes as shapes
from asu.statistics.figures import FAILURES_SHOWN, PACKAGES_SHOWN

from .documentation import Router, failures

router = Router(prefix="/api/v1", tags=["statistics"])

UNAVAILABLE = failures(QueueUnavailable)
UNAVAILABLE_OR_INVALID = failures(QueueUnavailable, InvalidRequest)


@dataclass(frozen=True, slots=True)
class TopPackages:
    """The packages that were asked for most, the most frequent first."""

    packages: list[shapes.PackageCount]


@dataclass(frozen=True, slots=True)
class BuildErrors:
    """The last failures, the newest first."""

    errors: list[shapes.FailureCount]


def branch_name(text: str) -> str:
    """Return a branch as versions name it; raises ValueError for anything else."""
    try:
        version = Version.parse(text)
    except InvalidVersionError:
        version = None
    if version is None or version.text != version.branch:
        raise ValueError("must be a branch such as 24.10 or SNAPSHOT")
    return text


Branch = Annotated[str, StringConstraints(max_length=16), AfterValidator(branch_name)]
BranchQuery = Annotated[
    Branch | None, Query(description="Count the versions of this branch alone.", examples=["24.10"])
]
Limit = Annotated[int, Query(ge=1, le=PACKAGES_SHOWN, description="How many packages at most.")]
Count = Annotated[
    int | None, Query(ge=1, le=PACKAGES_SHOWN, description="Another name of `limit`.")
]
ErrorCount = Annotated[int, Query(ge=1, le=FAILURES_SHOWN, description="How many entries at most.")]


@router.get("/stats", summary="The queue in figures", responses=UNAVAILABLE)
async def stats(request: Request) -> shapes.QueueFigures:
    """How many builds wait, how many run, and how many workers live."""
    return await services_of(request).figures.queue()


@router.get("/stats/summary", summary="Totals since counting began", responses=UNAVAILABLE)
async def summary(request: Request) -> shapes.Summary:
    """Sum up requests, cached images, builds, failures by fault and build times; and the queue."""
    return await services_of(request).figures.summary()


@router.get("/builds-per-day", summary="The last 30 days", responses=UNAVAILABLE)
async def builds_per_day(request: Request) -> shapes.DayChart:
    """Count requests, cached images, failures and finished builds of each day (UTC), to today."""
    return await services_of(request).figures.builds_per_day()


@router.get(
    "/builds-by-version",
    summary="The last 26 weeks, by branch or version",
    responses=UNAVAILABLE_OR_INVALID,
)
async def builds_by_version(request: Request, branch: BranchQuery = None) -> shapes.WeekChart:
    """Count the finished builds of each week, one dataset per branch, or version of one branch.

    There is no dataset without builds.
    """
    return await services_of(request).figures.builds_by_version(branch)


@router.get(
    "/top-packages",
    summary="The packages that are asked for most",
    responses=UNAVAILABLE_OR_INVALID,
)
async def top_packages(
    request: Request, limit: Limit = 25, n: Count = None, branch: BranchQuery = None
) -> TopPackages:
    """Count the finished builds of the last 26 weeks that asked for a package.

    What a device has by itself is left out, and so are names that no official index holds.
    """
    return TopPackages(await services_of(request).figures.top_packages(n or limit, branch))


@router.get("/build-errors", summary="Why builds failed", responses=UNAVAILABLE_OR_INVALID)
async def build_errors(request: Request, n: ErrorCount = FAILURES_SHOWN) -> BuildErrors:
    """Count failures of the last 14 days by the hour, with code, device and packages.

    Nothing shows whose they were; packages that no official index holds are left out.
    """
    return BuildErrors(await services_of(request).figures.build_errors(n))
