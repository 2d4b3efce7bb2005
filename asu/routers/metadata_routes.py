"""What can be built: the documents that clients read, answered from memory with an ETag."""

from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from typing_extensions import override

from asu import __version__, errors
from asu.catalogue.renderings import Render, Rendering
from asu.services import Services, services_of
from asu.web.file_requests import names_tag

from . import metadata_answers as models
from .documentation import Responses, Router, answers

HTTP_NOT_MODIFIED = 304
NOT_MODIFIED: Responses = {
    HTTP_NOT_MODIFIED: {"description": "What the caller has, by `If-None-Match`, is still current."}
}
MOVED: Responses = {301: {"description": "It is at `Location`."}}
UNKNOWN = (
    errors.NotFound,
    errors.UnsupportedVersion,
    errors.UnsupportedBranch,
    errors.UpstreamUnreachable,
    errors.HalfPublished,
)
TARGET_PACKAGES = answers(models.TargetPackagesAnswer, *UNKNOWN) | NOT_MODIFIED
PROFILE = answers(models.ProfileAnswer, *UNKNOWN) | NOT_MODIFIED
PACKAGES = NOT_MODIFIED | answers(
    dict[str, str], *UNKNOWN, description="Name → version over all feeds."
)


def _listing(model: Any, description: str = "") -> Responses:
    return answers(model, errors.UpstreamUnreachable, description=description) | NOT_MODIFIED


class DirectRoute(APIRoute):
    """A route whose function takes the request alone: solving dependencies takes half the time."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


router = Router(tags=["metadata"])
documents = Router(tags=["metadata"], route_class=DirectRoute)


@documents.get(
    "/json/v1/latest.json", summary="The newest releases", responses=_listing(models.ReleasesAnswer)
)
async def latest(request: Request) -> Response:
    """Upcoming, stable and old stable release, and all that are served, newest first."""

    async def render() -> dict[str, Any]:
        return await services_of(request).listings.latest()

    return await _rendered(request, "latest", render)


@documents.get(
    "/json/v1/branches.json",
    summary="The branches, as an array",
    responses=_listing(list[models.BranchAnswer], "A branch, its versions and its targets."),
)
async def branches(request: Request) -> Response:
    """Branches with their versions, targets and package changes; auc reads this one."""

    async def render() -> list[dict[str, Any]]:
        return list((await services_of(request).listings.branches()).values())

    return await _rendered(request, "branches", render)


@documents.get(
    "/json/v1/overview.json",
    summary="Everything at once",
    responses=_listing(models.OverviewAnswer),
)
async def overview(request: Request) -> Response:
    """Releases, branches keyed by name, what this server allows; owut and LuCI read this one."""
    return await _rendered(request, "overview", partial(_overview, services_of(request)))


@router.get(
    "/json/v1/releases/{version}/targets/{target}/{subtarget}/index.json",
    summary="The packages of a target",
    responses=TARGET_PACKAGES,
)
async def target_packages(request: Request, version: str, target: str, subtarget: str) -> Response:
    """Architecture, and name → version of what belongs to the target, kernel modules included."""
    place, listings = (version, f"{target}/{subtarget}"), services_of(request).listings
    return await _rendered(request, place, partial(listings.target_packages, *place))


@router.get(
    "/json/v1/releases/{version}/targets/{target}/{subtarget}/{profile}.json",
    summary="A profile",
    responses=PROFILE,
)
async def profile(
    request: Request, version: str, target: str, subtarget: str, profile: str
) -> Response:
    """Return an entry of profiles.json with the metadata of its target; `{}` if there is none."""
    listings = services_of(request).listings
    return _answer(request, await listings.profile(version, f"{target}/{subtarget}", profile))


@router.get(
    "/json/v1/releases/{version}/packages/{architecture}-index.json",
    summary="The packages of an architecture",
    responses=PACKAGES,
)
async def architecture_packages(request: Request, version: str, architecture: str) -> Response:
    """Name → version over all feeds."""
    place, listings = (version, architecture), services_of(request).listings
    return await _rendered(request, place, partial(listings.architecture_packages, *place))


@router.get(
    "/json/v1/snapshots/targets/{target}/{subtarget}/index.json",
    summary="The packages of a target in the snapshot",
    responses=TARGET_PACKAGES,
)
async def snapshot_target_packages(request: Request, target: str, subtarget: str) -> Response:
    """As for a release."""
    return await target_packages(request, "SNAPSHOT", target, subtarget)


@router.get(
    "/json/v1/snapshots/targets/{target}/{subtarget}/{profile}.json",
    summary="A profile in the snapshot",
    responses=PROFILE,
)
async def snapshot_profile(request: Request, target: str, subtarget: str, profile: str) -> Response:
    """As for a release."""
    listings = services_of(request).listings
    return _answer(request, await listings.profile("SNAPSHOT", f"{target}/{subtarget}", profile))


@router.get(
    "/json/v1/snapshots/packages/{architecture}-index.json",
    summary="The packages of an architecture in the snapshot",
    responses=PACKAGES,
)
async def snapshot_architecture_packages(request: Request, architecture: str) -> Response:
    """As for a release."""
    return await architecture_packages(request, "SNAPSHOT", architecture)


@router.get(
    "/api/v1/revision/{version}/{target}/{subtarget}",
    summary="The revision of a target",
    responses=answers(models.RevisionAnswer, *UNKNOWN, errors.UnsupportedTarget),
)
async def revision(request: Request, version: str, target: str, subtarget: str) -> dict[str, str]:
    """Return the revision that an image of this version and target has: r28739-d9340319c6."""
    catalogue = services_of(request).catalogue
    return {"revision": await catalogue.revision(version, f"{target}/{subtarget}")}


@router.get(
    "/api/v1/devices",
    summary="Search devices",
    responses=answers(models.DevicesAnswer, *UNKNOWN, errors.InvalidRequest),
)
async def devices(
    request: Request,
    q: Annotated[str, Query(max_length=100, description="Words of the device's name.")] = "",
    version: Annotated[str | None, Query(description="Only devices of this release.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    """Search over vendor, model, variant, board name and profile."""
    return {"devices": await services_of(request).devices.search(q, version, limit)}


@router.get(
    "/api/v1/packages",
    summary="Search packages",
    responses=answers(models.PackagesAnswer, *UNKNOWN, errors.InvalidRequest),
)
async def packages(
    request: Request,
    version: str,
    target: str,
    q: Annotated[str, Query(max_length=100, description="Words of name and description.")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    """Search what a target can install in a version, by name and description."""
    search = services_of(request).packages.search
    return {"packages": await search(q, version, target, limit)}


@router.get("/overview", include_in_schema=False)
@router.get("/api/overview", include_in_schema=False)
@router.get(
    "/api/v1/overview",
    summary="The overview, where older clients ask for it",
    status_code=301,
    response_class=RedirectResponse,
    responses=MOVED,
)
async def overview_moved() -> RedirectResponse:
    """LuCI asks here; that of 22.03 and of early 23.05 at /api/overview."""
    return RedirectResponse("/json/v1/overview.json", status_code=301)


@router.get(
    "/api/v1/latest",
    summary="The newest releases, where older clients ask for them",
    status_code=301,
    response_class=RedirectResponse,
    responses=MOVED,
)
async def latest_moved() -> RedirectResponse:
    """Older clients ask here."""
    return RedirectResponse("/json/v1/latest.json", status_code=301)


async def _overview(services: Services) -> dict[str, Any]:
    settings = services.settings
    return {
        "latest": list((await services.catalogue.releases()).latest),
        "branches": await services.listings.branches(),
        "upstream_url": settings.public_upstream_url or settings.upstream_url,
        "server": {
            "version": __version__,
            "contact": settings.server_contact,
            "allow_defaults": settings.allow_defaults,
            "repository_allow_list": list(settings.repository_allow_list),
            "max_custom_rootfs_size_mb": settings.max_custom_rootfs_size_mb,
            "max_defaults_length": settings.max_defaults_length,
        },
    }


async def _rendered(request: Request, name: Hashable, render: Render) -> Response:
    return _answer(request, await services_of(request).renderings.get(name, render))


def _answer(request: Request, rendering: Rendering) -> Response:
    """Answer with a rendering, or with 304; caches may keep it, but must ask each time."""
    headers = {"ETag": rendering.etag, "Cache-Control": "no-cache"}
    if names_tag(request.headers.get("If-None-Match", ""), rendering.etag):
        return Response(status_code=HTTP_NOT_MODIFIED, headers=headers)
    return Response(rendering.content, headers=headers, media_type="application/json")
