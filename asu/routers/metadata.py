"""What can be built: the documents that clients read before they ask."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from asu import __version__
from asu.services import services_of

router = APIRouter(tags=["metadata"])


@router.head("/json/v1/latest.json", include_in_schema=False)
@router.get("/json/v1/latest.json", summary="The newest releases")
async def latest(request: Request) -> dict[str, Any]:
    """Upcoming, stable and old stable release, newest first."""
    return {"latest": list((await services_of(request).catalogue.releases()).latest)}


@router.head("/json/v1/branches.json", include_in_schema=False)
@router.get("/json/v1/branches.json", summary="The branches, as an array")
async def branches(request: Request) -> list[dict[str, Any]]:
    """Branches with their versions, targets and package changes; auc reads this one."""
    return list((await services_of(request).catalogue.branches()).values())


@router.head("/json/v1/overview.json", include_in_schema=False)
@router.get("/json/v1/overview.json", summary="Everything at once")
async def overview(request: Request) -> dict[str, Any]:
    """Releases, branches keyed by name, and what this server allows; owut and LuCI read this one."""
    services = services_of(request)
    settings = services.settings
    return {
        "latest": list((await services.catalogue.releases()).latest),
        "branches": await services.catalogue.branches(),
        "upstream_url": settings.upstream_url,
        "server": {
            "version": __version__,
            "contact": settings.server_contact,
            "allow_defaults": settings.allow_defaults,
            "repository_allow_list": list(settings.repository_allow_list),
            "max_custom_rootfs_size_mb": settings.max_custom_rootfs_size_mb,
            "max_defaults_length": settings.max_defaults_length,
        },
    }


@router.head("/json/v1/releases/{version}/targets/{target}/{subtarget}/index.json", include_in_schema=False)
@router.get("/json/v1/releases/{version}/targets/{target}/{subtarget}/index.json", summary="The packages of a target")
async def target_packages(request: Request, version: str, target: str, subtarget: str) -> dict[str, Any]:
    """Architecture, and name → version of what belongs to the target, kernel modules included."""
    return await services_of(request).listings.target_packages(version, f"{target}/{subtarget}")


@router.head("/json/v1/releases/{version}/targets/{target}/{subtarget}/{profile}.json", include_in_schema=False)
@router.get("/json/v1/releases/{version}/targets/{target}/{subtarget}/{profile}.json", summary="A profile")
async def profile(request: Request, version: str, target: str, subtarget: str, profile: str) -> Response:
    """Return an entry of profiles.json with the metadata of its target; an empty object if there is no such profile."""
    return Response(await services_of(request).listings.profile(version, f"{target}/{subtarget}", profile), media_type="application/json")


@router.head("/json/v1/releases/{version}/packages/{architecture}-index.json", include_in_schema=False)
@router.get("/json/v1/releases/{version}/packages/{architecture}-index.json", summary="The packages of an architecture")
async def architecture_packages(request: Request, version: str, architecture: str) -> dict[str, str]:
    """Name → version over all feeds."""
    return await services_of(request).listings.architecture_packages(version, architecture)


@router.head("/json/v1/snapshots/targets/{target}/{subtarget}/index.json", include_in_schema=False)
@router.get("/json/v1/snapshots/targets/{target}/{subtarget}/index.json", summary="The packages of a target in the snapshot")
async def snapshot_target_packages(request: Request, target: str, subtarget: str) -> dict[str, Any]:
    """As for a release."""
    return await target_packages(request, "SNAPSHOT", target, subtarget)


@router.head("/json/v1/snapshots/targets/{target}/{subtarget}/{profile}.json", include_in_schema=False)
@router.get("/json/v1/snapshots/targets/{target}/{subtarget}/{profile}.json", summary="A profile in the snapshot")
async def snapshot_profile(request: Request, target: str, subtarget: str, profile: str) -> Response:
    """As for a release."""
    return Response(await services_of(request).listings.profile("SNAPSHOT", f"{target}/{subtarget}", profile), media_type="application/json")


@router.head("/json/v1/snapshots/packages/{architecture}-index.json", include_in_schema=False)
@router.get("/json/v1/snapshots/packages/{architecture}-index.json", summary="The packages of an architecture in the snapshot")
async def snapshot_architecture_packages(request: Request, architecture: str) -> dict[str, str]:
    """As for a release."""
    return await architecture_packages(request, "SNAPSHOT", architecture)


@router.head("/api/v1/revision/{version}/{target}/{subtarget}", include_in_schema=False)
@router.get("/api/v1/revision/{version}/{target}/{subtarget}", summary="The revision of a target")
async def revision(request: Request, version: str, target: str, subtarget: str) -> dict[str, str]:
    """Return the revision that an image of this version and target would have, such as r28739-d9340319c6."""
    return {"revision": await services_of(request).catalogue.revision(version, f"{target}/{subtarget}")}


@router.head("/overview", include_in_schema=False)
@router.get("/overview", include_in_schema=False)
@router.head("/api/overview", include_in_schema=False)
@router.get("/api/overview", include_in_schema=False)
@router.head("/api/v1/overview", include_in_schema=False)
@router.get("/api/v1/overview", include_in_schema=False)
async def overview_moved() -> RedirectResponse:
    """Older clients ask here; LuCI of 22.03 at /api/overview."""
    return RedirectResponse("/json/v1/overview.json", status_code=301)


@router.head("/api/v1/latest", include_in_schema=False)
@router.get("/api/v1/latest", include_in_schema=False)
async def latest_moved() -> RedirectResponse:
    """Older clients ask here."""
    return RedirectResponse("/json/v1/latest.json", status_code=301)
