"""Downloads, where no gateway serves the files itself; same headers either way."""

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse

from asu.errors import NotFound
from asu.services import services_of

router = APIRouter(tags=["store"])


@router.head("/store/{request_hash}/{name}", include_in_schema=False)
@router.get("/store/{request_hash}/{name}", summary="Download a file", response_class=FileResponse)
def download(request: Request, request_hash: str, name: str) -> FileResponse:
    """Send a file whole and unencoded, with its length: old clients compare lengths and follow no redirects."""
    file = services_of(request).store.find(request_hash, name)
    if file is None:
        raise NotFound
    return FileResponse(file.path, media_type="application/octet-stream", filename=file.name, headers={"X-Content-Type-Options": "nosniff"})
