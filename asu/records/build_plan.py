"""The plan of a build, which a worker gets, and the answers to polls before it is finished."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from asu.build_request import echo, without_asker
from asu.resolution import request_hash
from asu.resolution.request_hash import LATER_IDENTITY

from .build_record import PendingBodies


def new_plan(
    key: str,
    fields: Mapping[str, Any],
    request_id: str,
    explained: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the plan of a resolved request: all that its key is made of, scripts included.

    `explained` has the problems of packages that the ImageBuilder may not find.
    """
    return {
        **({"explained": explained} if explained else {}),
        "key": key,
        "request": without_asker(fields),
        "enqueued_at": datetime.now(UTC).isoformat(),
        "request_id": request_id,
    }


def explained_packages(plan: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the problems that a plan has of packages, as far as they have their shape."""
    explained = plan.get("explained")
    return {
        name: dict(entry)
        for name, entry in (explained.items() if isinstance(explained, dict) else ())
        if isinstance(entry, dict)
        and entry.keys() == {"package", "kind", "suggestion", "detail"}
        and all(isinstance(value, str | None) for value in entry.values())
    }


def is_plan_of(plan: Mapping[str, Any], key: str) -> bool:
    """Whether the request in a plan has this key. So a plan that somebody changed is not built."""
    try:
        return bool(plan["key"] == key == request_hash(plan["request"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def read_plan(document: str | bytes | None) -> dict[str, Any]:
    """Return the plan in a record; {}, which is the plan of no key, if there is none.

    A plan of an earlier release gets the fields that came later, with the value for "not used".
    """
    try:
        plan = json.loads(document or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(plan, dict):
        return {}
    request = plan.get("request")
    if isinstance(request, dict):
        plan["request"] = {**LATER_IDENTITY, **request}
    return plan


def safe_plan(plan: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a plan that answers, audit log and statistics can repeat, whatever is in the record.

    Its key is the one of its record. A request that no answer can repeat becomes {}, and a time
    that is no text becomes "".
    """
    request, enqueued_at = plan.get("request"), plan.get("enqueued_at")
    shown = request if isinstance(request, dict) and _can_be_repeated(request) else {}
    return {
        **plan,
        "key": key,
        "request": shown,
        "enqueued_at": enqueued_at if isinstance(enqueued_at, str) else "",
    }


def _can_be_repeated(request: Mapping[str, Any]) -> bool:
    """Whether a request can be written as JSON again: Python also reads NaN, which JSON lacks."""
    try:
        json.dumps(request, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return True


def pending_bodies(plan: Mapping[str, Any]) -> PendingBodies:
    """Return the answers to polls of a build that waits and of one that has just begun."""
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
