"""Metrics for the operator's monitoring, which asks each service itself: the gateway lets nobody through to them."""

from fastapi import APIRouter, Request, Response

from asu.operations.exposition import CONTENT_TYPE
from asu.services import services_of

router = APIRouter(include_in_schema=False)


@router.head("/metrics")
@router.get("/metrics", summary="Metrics in Prometheus' text format; not through the gateway")
async def metrics(request: Request) -> Response:
    """Tell what is counted and what is true at this moment, with whatever can be had."""
    return Response(await services_of(request).scrape.text(), media_type=CONTENT_TYPE)
