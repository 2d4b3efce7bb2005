"""Downloads, where no gateway serves the files itself; clients get the same headers from both."""

import asyncio
from dataclasses import asdict

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from asu import errors
from asu.pages.templating import render
from asu.services import services_of
from asu.stores.downloads import Download
from asu.web.edge import error_response
from asu.web.file_requests import file_headers, is_unchanged, wanted_part

from .documentation import Responses, Router, answers, failures
from .metadata_answers import ListingAnswer
from .page_routes import HEADERS

router = Router(tags=["store"])

MEDIA_TYPE = "application/octet-stream"
FILE = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
STORE_ANSWERS: Responses = {
    200: {"description": "The file, whole and unencoded.", "content": FILE},
    206: {"description": "The part that `Range` asks for.", "content": FILE},
    302: {
        "description": "The file is to be fetched from `Location`; only where the operator has "
        "chosen so."
    },
    304: {"description": "The client has this file already."},
    **failures(errors.NotFound, errors.RangeNotSatisfiable, errors.StoreFailed),
}


class FileStream(StreamingResponse):
    """A part of a file that is closed when the answer has ended, whatever ended it.

    Its length is sent first, so a client sees a file that breaks off as a broken connection.
    """

    def __init__(self, download: Download, status: int, headers: dict[str, str]) -> None:
        super().__init__(download, status, headers, MEDIA_TYPE)
        self._download = download

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._download.close()


@router.get(
    "/store/{request_hash}",
    summary="List the files of a build",
    responses=answers(ListingAnswer, errors.NotFound, errors.StoreFailed),
)
async def listing(request: Request, request_hash: str) -> Response:
    """Answer with JSON, or with a page where a browser opens the address."""
    files = await services_of(request).downloads.files(request_hash)
    if not files:
        raise errors.NotFound
    if "text/html" in request.headers.get("Accept", ""):
        page = await asyncio.to_thread(render, "store.html", key=request_hash, files=files)
        return HTMLResponse(page, 200, {**HEADERS, "Vary": "Accept"})
    return JSONResponse({"files": [asdict(file) for file in files]}, 200, {"Vary": "Accept"})


@router.get(
    "/store/{request_hash}/{name}",
    summary="Download a file",
    response_class=Response,
    responses=STORE_ANSWERS,
)
async def download(request: Request, request_hash: str, name: str) -> Response:
    """Send a file unencoded, with its length: old clients compare lengths, follow no redirects."""
    services = services_of(request)
    file = await services.downloads.find(request_hash, name)
    if file is None:
        raise errors.NotFound
    await services.builds.note_use(request_hash)
    if file.url is not None:
        return Response(status_code=302, headers={"Location": file.url})
    headers = file_headers(file)
    if is_unchanged(request.headers, file):
        return Response(status_code=304, headers=headers)
    if request.method == "HEAD":
        return Response(None, 200, {**headers, "Content-Length": str(file.size)}, MEDIA_TYPE)
    try:
        part = wanted_part(request.headers, file)
    except errors.RangeNotSatisfiable as error:
        refusal = error_response(error)
        refusal.headers["Content-Range"] = f"bytes */{file.size}"
        return refusal
    start, length = part or (0, file.size)
    content = await services.downloads.open(file, start, length)
    if content is None:
        raise errors.NotFound
    headers["Content-Length"] = str(length)
    if part:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{file.size}"
    return FileStream(content, 206 if part else 200, headers)
