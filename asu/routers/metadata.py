"""What can be built: the documents that clients read before they ask."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse

from asu import __version__
from asu.services import services_of

router = APIRouter(tags=["metadata"])


@router.api_route("/json/v1/latest.json", methods=["GET", "HEAD"], summary="The newest releases")
async def latest(request: Request) -> dict[str, Any]:
    """Upcoming, stable and old stable release, newest first."""
    return {"latest": list((await services_of(request).catalogue.releases()).latest)}


@router.api_route("/json/v1/branches.json", methods=["GET", "HEAD"], summary="The branches, as an array")
async def branches(request: Request) -> list[dict[str, Any]]:
    """Branches with their versions, targets and package changes; auc reads this one."""
    return list((await services_of(request).catalogue.branches()).values())


@router.api_route("/json/v1/overview.json", methods=["GET", "HEAD"], summary="Everything at once")
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
            "repository_allow_list": [],
            "max_custom_rootfs_size_mb": settings.max_custom_rootfs_size_mb,
            "max_defaults_length": settings.max_defaults_length,
        },
    }


@router.api_route("/api/v1/revision/{version}/{target}/{subtarget}", methods=["GET", "HEAD"], summary="The revision of a target")
async def revision(request: Request, version: str, target: str, subtarget: str) -> dict[str, str]:
    """Return the revision that an image of this version and target would have, such as r28739-d9340319c6."""
    return {"revision": await services_of(request).catalogue.revision(version, f"{target}/{subtarget}")}


@router.api_route("/overview", methods=["GET", "HEAD"], include_in_schema=False)
@router.api_route("/api/overview", methods=["GET", "HEAD"], include_in_schema=False)
@router.api_route("/api/v1/overview", methods=["GET", "HEAD"], include_in_schema=False)
async def overview_moved() -> RedirectResponse:
    """Older clients ask here; LuCI of 22.03 at /api/overview."""
    return RedirectResponse("/json/v1/overview.json", status_code=301)


@router.api_route("/api/v1/latest", methods=["GET", "HEAD"], include_in_schema=False)
async def latest_moved() -> RedirectResponse:
    """Older clients ask here."""
    return RedirectResponse("/json/v1/latest.json", status_code=301)
