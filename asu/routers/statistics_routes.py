"""Figures: the queue at this moment, and what has been counted over half a year. None tells who asked for what."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator, StringConstraints

from asu.resolution import InvalidVersionError, Version
from asu.services import services_of
from asu.statistics.figure_shapes import (
    DayChart,
    FailureCount,
    PackageCount,
    QueueFigures,
    Summary,
    WeekChart,
)
from asu.statistics.figures import PACKAGES_SHOWN

from . import figure_examples

router = APIRouter(prefix="/api/v1", tags=["statistics"])


@dataclass(frozen=True, slots=True)
class TopPackages:
    """The packages that were asked for most, the most frequent first."""

    packages: list[PackageCount]


@dataclass(frozen=True, slots=True)
class BuildErrors:
    """The last failures, the newest first."""

    errors: list[FailureCount]


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
    Branch | None,
    Query(
        description="Tell of the versions of this branch, instead of all branches.",
        examples=["24.10"],
    ),
]
Limit = Annotated[
    int, Query(ge=1, le=PACKAGES_SHOWN, description="How many packages to tell at most.")
]


@router.head("/stats", include_in_schema=False)
@router.get("/stats", summary="The queue in figures", responses=figure_examples.QUEUE)
async def stats(request: Request) -> QueueFigures:
    """How many builds wait, how many run, and how many workers live."""
    return await services_of(request).figures.queue()


@router.head("/stats/summary", include_in_schema=False)
@router.get(
    "/stats/summary", summary="Totals since counting began", responses=figure_examples.SUMMARY
)
async def summary(request: Request) -> Summary:
    """Sum up requests, images that were there already, builds, failures by whose fault, how long builds take; and the queue."""
    return await services_of(request).figures.summary()


@router.head("/builds-per-day", include_in_schema=False)
@router.get("/builds-per-day", summary="The last 30 days", responses=figure_examples.PER_DAY)
async def builds_per_day(request: Request) -> DayChart:
    """Tell requests, images that were there already, failures and finished builds for each day (UTC), up to today."""
    return await services_of(request).figures.builds_per_day()


@router.head("/builds-by-version", include_in_schema=False)
@router.get(
    "/builds-by-version",
    summary="The last 26 weeks, by branch or version",
    responses=figure_examples.BY_VERSION,
)
async def builds_by_version(request: Request, branch: BranchQuery = None) -> WeekChart:
    """Finished builds for each week, one dataset per branch, or per version of one branch; none where there were no builds."""
    return await services_of(request).figures.builds_by_version(branch)


@router.head("/top-packages", include_in_schema=False)
@router.get(
    "/top-packages",
    summary="The packages that are asked for most",
    responses=figure_examples.TOP_PACKAGES,
)
async def top_packages(request: Request, limit: Limit = 25) -> TopPackages:
    """Count finished builds of the last 26 weeks that asked for a package; what a device has by itself is left out."""
    return TopPackages(await services_of(request).figures.top_packages(limit))


@router.head("/build-errors", include_in_schema=False)
@router.get("/build-errors", summary="Why builds failed", responses=figure_examples.BUILD_ERRORS)
async def build_errors(request: Request) -> BuildErrors:
    """Failures of the last 14 days with code, device and packages, counted by the hour; nothing tells whose they were."""
    return BuildErrors(await services_of(request).figures.build_errors())
