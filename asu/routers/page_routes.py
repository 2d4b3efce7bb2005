"""Pages for people; they load nothing from elsewhere and run no script but our own file."""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from asu.builds.poll_answer import difference
from asu.errors import AsuError, QueueUnavailable
from asu.pages.build_page import build_view
from asu.pages.swagger import policy_of, swagger_page
from asu.pages.templating import render
from asu.pages.translations import ENGLISH, wanted_language
from asu.pages.upgrade_form import UpgradeForm, read_form
from asu.pages.upgrade_page import SHOWN, completed, device_of, preview_view
from asu.services import services_of

from .build_routes import ask_for, preview_of
from .documentation import Router

router = Router(include_in_schema=False)

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
FORM_POLICY = HEADERS["Content-Security-Policy"].replace("form-action 'none'", "form-action 'self'")


def language_of(request: Request) -> str:
    """Return the language that the reader's browser asks for."""
    return wanted_language(request.headers.get("Accept-Language", ""))


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


@router.get("/upgrade", summary="Preview an upgrade, for people")
async def upgrade(
    request: Request,
    q: Annotated[str, Query(max_length=100)] = "",
    target: str = "",
    profile: str = "",
) -> HTMLResponse:
    """Search a device, or show the form of the chosen one."""
    services = services_of(request)
    found = await services.devices.search(q, None, SHOWN) if q else []
    form = UpgradeForm(target=target, profile=profile)
    return await _upgrade_page(request, form, words=q, found=found)


@router.post("/upgrade", summary="Preview an upgrade, for people")
async def preview(request: Request) -> HTMLResponse:
    """Show what the request in the form leads to."""
    form, services = UpgradeForm(), services_of(request)
    try:
        form = read_form(await request.body())
        device = await device_of(services.devices, form)
        form = await completed(form, device, services.catalogue)
        made = await preview_of(request, form.request())
    except AsuError as error:
        return await _upgrade_page(request, form, trouble=error.body()["detail"], code=error.status)
    return await _upgrade_page(request, form, preview=preview_view(made))


@router.post("/upgrade/build", summary="Build what was previewed, for people")
async def build_upgrade(request: Request) -> Response:
    """Ask for the build in the form, and lead to its page."""
    form = UpgradeForm()
    try:
        form = read_form(await request.body())
        answer = await ask_for(request, form.request())
    except AsuError as error:
        return await _upgrade_page(request, form, trouble=error.body()["detail"], code=error.status)
    key = json.loads(answer.body)["request_hash"]
    return RedirectResponse(f"/build/{key}", HTTPStatus.SEE_OTHER)


async def _upgrade_page(
    request: Request,
    form: UpgradeForm,
    *,
    trouble: str = "",
    code: int = 200,
    preview: dict[str, Any] | None = None,
    words: str = "",
    found: Sequence[Mapping[str, Any]] = (),
) -> HTMLResponse:
    services, device = services_of(request), None
    with contextlib.suppress(AsuError):  # Then the page says so, or only offers less.
        device = await device_of(services.devices, form)
        form = await completed(form, device, services.catalogue) if form.profile else form
    versions = [each["version"] for each in device["releases"]] if device else []
    answer = await _page(
        "upgrade.html",
        code,
        language_of(request),
        form=form,
        device_title=device["title"] if device else form.profile,
        versions=list(dict.fromkeys([*versions, form.version])),
        trouble=trouble,
        preview=preview,
        words=words,
        found=found,
        allow_defaults=services.settings.allow_defaults,
    )
    # It repeats the request, the first-boot script included.
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["Content-Security-Policy"] = FORM_POLICY
    answer.headers["Vary"] = "Accept-Language"
    return answer


@router.get("/build/{digits}", summary="One build, for people")
async def build(
    request: Request, digits: str, other: Annotated[str, Query(alias="with")] = ""
) -> HTMLResponse:
    """Show how far a build is, its files, or why it failed; `with` compares it with another."""
    services = services_of(request)
    body = await services.builds.known(digits)
    key = str(body["request_hash"])
    entries = await services.events.log(key) if body["status"] == HTTPStatus.ACCEPTED else []
    files = await services.downloads.files(key) if body["status"] == HTTPStatus.OK else ()
    compared = difference(body, await services.builds.known(other)) if other else None
    answer = await _page(
        "build.html",
        language=language_of(request),
        **build_view(body, files),
        log="\n".join(text for _, text in entries),
        after=entries[-1][0] if entries else "0",
        difference=compared,
    )
    answer.headers["Content-Security-Policy"] = FORM_POLICY
    answer.headers["Vary"] = "Accept-Language"
    return answer


@router.get("/docs", summary="The API, to be read and tried")
async def docs() -> HTMLResponse:
    """Show the description in a page that can send requests."""
    page = swagger_page("asu")
    return HTMLResponse(page, headers=policy_of(page))


@router.get("/redoc", summary="Where the API could be read before; leads to /docs")
async def redoc() -> RedirectResponse:
    """Lead to /docs."""
    return RedirectResponse("/docs", 308)


async def _page(
    template: str, code: int = 200, language: str = ENGLISH, **values: object
) -> HTMLResponse:
    # The first use of a template compiles it, which takes tens of milliseconds.
    return HTMLResponse(
        await asyncio.to_thread(render, template, language, **values), code, HEADERS
    )
