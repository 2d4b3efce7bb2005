"""What lies beside a build's files in the store, so a record that was lost can be restored.

    {"version": 1, "key": "…", "body": {the answer of the finished build}, "plan": {…} or null}

No client can ask for this file. A first-boot script never gets there: what was built with one has
no plan, so it can be served, but not be built again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .build_plan import is_plan_of, pending_bodies
from .build_record import BuildRecord, PendingBodies, State

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A finished build's record and, for another build, its plan as JSON and its pending bodies."""

    record: BuildRecord
    plan: str | None
    bodies: PendingBodies | None
    hashes: Mapping[str, str]  # SHA-256 of each image that the answer names.


def write_account(plan: Mapping[str, Any], record: BuildRecord) -> bytes:
    """Return the document of a finished build."""
    kept = None if plan["request"].get("defaults") else plan
    return json.dumps(
        {"version": VERSION, "key": plan["key"], "body": json.loads(record.body), "plan": kept}
    ).encode()


def read_account(document: bytes, key: str) -> Account | None:
    """Read the document of a build; None if it is damaged, or of another version or build."""
    try:
        values = json.loads(document)
        body, plan = values["body"], values["plan"]
        if (values["version"], values["key"], body["request_hash"]) != (VERSION, key, key) or (
            plan is not None and not is_plan_of(plan, key)
        ):
            return None
        hashes = {str(image["name"]): str(image["sha256"]) for image in body["images"]}
        bodies = None if plan is None else pending_bodies(plan)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    record = BuildRecord(state=State.DONE, step="done", body=json.dumps(body).encode())
    return Account(
        record=record, plan=None if plan is None else json.dumps(plan), bodies=bodies, hashes=hashes
    )
