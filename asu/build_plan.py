"""What a worker is told of a build, and what clients are told of it before it is finished; the second follows from the first."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .build_record import PendingBodies
from .build_request import echo, without_asker
from .resolution import request_hash

PLAN_VERSION = 1


def new_plan(key: str, fields: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    """Return the plan of a resolved request that comes now; it holds all that leads to its key, the first-boot script included."""
    request = without_asker(fields)
    return {"version": PLAN_VERSION, "key": key, "request": request, "enqueued_at": datetime.now(UTC).isoformat(), "request_id": request_id}


def is_plan_of(plan: Mapping[str, Any], key: str) -> bool:
    """Whether a plan is the one of a key: what it asks for leads to that key, so nobody who can write a plan has something else built under it."""
    try:
        return bool(plan["key"] == key == request_hash(plan["request"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def pending_bodies(plan: Mapping[str, Any]) -> PendingBodies:
    """Return the bodies of a build that waits and of one that has just begun."""
    common: dict[str, Any] = {"status": 202, "enqueued_at": plan["enqueued_at"], "request_hash": plan["key"]}
    queued = {**common, "detail": "queued"}
    started = {**common, "detail": "started", "imagebuilder_status": "init", "request": echo(plan["request"])}
    return PendingBodies(json.dumps(queued).encode(), json.dumps(started).encode())
