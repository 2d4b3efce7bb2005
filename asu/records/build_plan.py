"""What a worker is told of a build, and what clients are told of it before it is finished; the second follows from the first."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from asu.build_request import echo, without_asker
from asu.resolution import request_hash

from .build_record import PendingBodies


def new_plan(key: str, fields: Mapping[str, Any], request_id: str) -> dict[str, Any]:
    """Return the plan of a resolved request that comes now; it holds all that leads to its key, the first-boot script included."""
    request = without_asker(fields)
    return {
        "key": key,
        "request": request,
        "enqueued_at": datetime.now(UTC).isoformat(),
        "request_id": request_id,
    }


def is_plan_of(plan: Mapping[str, Any], key: str) -> bool:
    """Whether a plan is the one of a key: what it asks for leads to that key, so nobody who can write a plan has something else built under it."""
    try:
        return bool(plan["key"] == key == request_hash(plan["request"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def read_plan(document: str | bytes | None) -> dict[str, Any]:
    """Return the plan that stands in a record; an empty one, which is that of no key, where none stands there or something else does."""
    try:
        plan = json.loads(document or "{}")
    except (ValueError, RecursionError):
        return {}
    return plan if isinstance(plan, dict) else {}


def safe_plan(plan: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a plan of which all can be told that answers, audit log and statistics tell, whatever somebody wrote into the record.

    Its key is the one that it stands under. A request that no answer can repeat is told as an empty
    one, a time that is none as an empty text.
    """
    request, enqueued_at = plan.get("request"), plan.get("enqueued_at")
    told = request if isinstance(request, dict) and _can_be_repeated(request) else {}
    return {
        **plan,
        "key": key,
        "request": told,
        "enqueued_at": enqueued_at if isinstance(enqueued_at, str) else "",
    }


def _can_be_repeated(request: Mapping[str, Any]) -> bool:
    """Whether a request that was read from JSON can be written as JSON again: Python reads numbers that JSON does not have."""
    try:
        json.dumps(request, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return True


def pending_bodies(plan: Mapping[str, Any]) -> PendingBodies:
    """Return the bodies of a build that waits and of one that has just begun."""
    common: dict[str, Any] = {
        "status": 202,
        "enqueued_at": plan["enqueued_at"],
        "request_hash": plan["key"],
    }
    queued = {**common, "detail": "queued"}
    started = {
        **common,
        "detail": "started",
        "imagebuilder_status": "init",
        "request": echo(plan["request"]),
    }
    return PendingBodies(json.dumps(queued).encode(), json.dumps(started).encode())
