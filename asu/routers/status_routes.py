"""How the server does right now, for programs; the page for people is beside the other pages."""

from fastapi import APIRouter, Request

from asu.operations.status import ServerStatus
from asu.services import services_of

from . import figure_examples

router = APIRouter(tags=["operations"])


@router.head("/status.json", include_in_schema=False)
@router.get(
    "/status.json", summary="How the server does right now", responses=figure_examples.STATUS
)
async def status(request: Request) -> ServerStatus:
    """Tell workers, queue, what ended in the last 24 hours, and the last failure of each class; `/status` shows the same to people."""
    return await services_of(request).status.get()
