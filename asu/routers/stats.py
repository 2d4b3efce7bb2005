"""Figures about the queue."""

import asyncio

from fastapi import APIRouter, Request

from asu.services import services_of

from . import examples

router = APIRouter(prefix="/api/v1", tags=["statistics"])


@router.head("/stats", include_in_schema=False)
@router.get("/stats", summary="The queue in figures", responses=examples.STATS)
async def stats(request: Request) -> dict[str, int]:
    """How many builds wait and how many workers live."""
    services = services_of(request)
    return {"queue_length": await services.records.waiting(), "workers_alive": await asyncio.to_thread(services.queue.live_workers)}
