"""Pages for people; they load nothing from elsewhere and run no script but our own file."""

import asyncio

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from asu.errors import QueueUnavailable
from asu.pages.swagger import policy_of, swagger_page
from asu.pages.templating import render
from asu.services import services_of

from .documentation import Router

router = Router(include_in_schema=False)

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class StaticAssets(StaticFiles):
    """The style sheet, the script and the icon.

    Pages name them with a digest of their content, so browsers may keep them for a day. They are
    always sent whole: the library refuses a wrong range in plain text, but all errors are JSON.
    """

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [header for header in scope["headers"] if header[0] != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)

    @override
    async def get_response(self, path: str, scope: Scope) -> Response:
        if not path.endswith((".css", ".js", ".svg")):  # What lies beside these may be Python.
            raise HTTPException(404)
        return await super().get_response(path, scope)

    @override
    def file_response(self, *args: object, **options: object) -> Response:
        response = super().file_response(*args, **options)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = "public, max-age=86400"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


@router.get("/", summary="What this server is, for people")
async def index(request: Request) -> HTMLResponse:
    """Say what this server is, and how busy."""
    services = services_of(request)
    try:
        queue = await services.figures.queue()
    except QueueUnavailable:
        queue = None
    return await _page(
        "index.html",
        queue=queue,
        contact=services.settings.server_contact,
        address=str(request.base_url).rstrip("/"),
    )


@router.get("/stats", summary="The statistics, for people")
async def stats(request: Request, branch: str | None = None) -> HTMLResponse:
    """Show all figures; with `branch` the versions of that one."""
    try:
        page = await services_of(request).stats_pages.page(branch)
        return HTMLResponse(page, headers=HEADERS)
    except QueueUnavailable:
        return await _page("unavailable.html", 503, name="Statistics")


@router.get("/status", summary="How the server does right now, for people")
async def status(request: Request) -> HTMLResponse:
    """Show workers, queue, the last 24 hours and the last failures."""
    try:
        response = await _page("status.html", status=await services_of(request).status.get())
    except QueueUnavailable:
        response = await _page("unavailable.html", 503, name="Status")
    response.headers["Refresh"] = "30"  # Seconds, as the page says.
    return response


@router.get("/docs", summary="The API, to be read and tried")
async def docs() -> HTMLResponse:
    """Show the description in a page that can send requests."""
    page = swagger_page("asu")
    return HTMLResponse(page, headers=policy_of(page))


@router.get("/redoc", summary="Where the API could be read before; leads to /docs")
async def redoc() -> RedirectResponse:
    """Lead to /docs."""
    return RedirectResponse("/docs", 308)


async def _page(template: str, code: int = 200, **values: object) -> HTMLResponse:
    # The first use of a template compiles it, which takes tens of milliseconds.
    return HTMLResponse(await asyncio.to_thread(render, template, **values), code, HEADERS)
