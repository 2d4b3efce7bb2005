"""Builds what was built before once more, and compares: whoever doubts an image need not take this server's word.

The second build goes the way of every build, with twins in the place of what must not hear of it:
records in memory, a store in a workplace of its own, no key, no statistics, no audit log. Its
container belongs to a system of its own, which no worker's sweep takes for an abandoned one.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from asu.build_request import BuildRequest
from asu.errors import QueueUnavailable
from asu.provenance.envelope import PROVENANCE_FILE, UnusableProvenance, read_envelope
from asu.provenance.statement import Provenance, read_statement
from asu.records.build_plan import is_plan_of, new_plan, pending_bodies
from asu.records.build_record import State, WorkerRecords
from asu.records.memory_records import MemoryRecords
from asu.resolution import request_hash
from asu.settings import Settings
from asu.stores.local import LocalStore
from asu.stores.store import Store

from .accounting import Accounts
from .container import ContainerEngine
from .job import Builder

# Bytes of profiles.json or of a provenance; a genuine one of a build has a tenth of that.
MAX_DOCUMENT = 4 * 1024 * 1024


class CannotRebuild(Exception):
    """A build cannot be made again; the message says why, for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a store has of a build: `images` name → SHA-256 without signatures; a build of an earlier release has no provenance."""

    images: Mapping[str, str]
    provenance: Provenance | None


@dataclass(slots=True)
class Comparison:
    """What two builds have in common and what not, in words; `differs` if any image does."""

    lines: list[str] = field(default_factory=list)
    differs: bool = False

    def in_words(self) -> str:
        """Return a line for each image, after those that may explain why it differs."""
        return "".join(f"{line}\n" for line in self.lines)


def rebuild(
    settings: Settings,
    key: str,
    *,
    records: WorkerRecords,
    store: Store,
    engine: Callable[[], ContainerEngine],
) -> Comparison:
    """Build what is published under a key once more and compare; raises CannotRebuild and StoreFailed."""
    before = read_published(store, key)
    request = _known_request(key, records, before.provenance)
    place = store.workplace(key)
    try:
        again = LocalStore(place)
        again.open()
        _build(
            settings.model_copy(update={"audit_log": None, "retry_delays": ()}),
            key,
            request,
            again,
            engine,
        )
        return compare(before, read_published(again, key))
    finally:
        store.discard(place)


def read_published(store: Store, key: str) -> Published:
    """Return what there is of a build; raises CannotRebuild where there are no images, and StoreFailed."""
    profiles, provenance = (
        _document(store, key, "profiles.json"),
        _document(store, key, PROVENANCE_FILE),
    )
    try:
        found = json.loads(profiles or b"")
        images = {
            str(image["name"]): str(image.get("sha256_unsigned") or image["sha256"])
            for profile in found["profiles"].values()
            for image in profile["images"]
        }
        return Published(
            images=images,
            provenance=read_statement(read_envelope(provenance).payload) if provenance else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CannotRebuild(
            "there are no images of this build to compare with; the store keeps them as long as its record lives"
        ) from None
    except UnusableProvenance as error:
        raise CannotRebuild(f"its provenance cannot be read: {error}") from error


def compare(before: Published, now: Published) -> Comparison:
    """Compare two builds image by image."""
    comparison = Comparison()
    if before.provenance and now.provenance:
        comparison.lines += _explanations(before.provenance, now.provenance)
    for name in sorted({*before.images, *now.images}):
        first, second = before.images.get(name, "none"), now.images.get(name, "none")
        if first == second:
            comparison.lines.append(f"equal: {name}")
        else:
            comparison.lines.append(f"DIFFERS: {name}: then {first}, now {second}")
            comparison.differs = True
    return comparison


def _explanations(before: Provenance, now: Provenance) -> list[str]:
    lines = []
    if before.builder.digest != now.builder.digest:
        lines.append(
            f"the ImageBuilder is another one: then {before.builder.digest}, now {now.builder.digest}"
        )
    elif before.builder.revision != now.builder.revision:
        # The image of a snapshot's builder only fetches it.
        lines.append(
            f"the ImageBuilder is another one: then {before.builder.revision}, now {now.builder.revision}"
        )
    for name in sorted({*before.packages, *now.packages}):
        first, second = before.packages.get(name, "none"), now.packages.get(name, "none")
        if first != second:
            lines.append(f"package {name}: then {first}, now {second}")
    return lines


def _document(store: Store, key: str, name: str) -> bytes | None:
    file = store.find(key, name)
    content = store.content(file, 0, file.size) if file and file.size <= MAX_DOCUMENT else None
    if file is None or content is None:
        return None
    try:
        pieces = iter(lambda: content.read(MAX_DOCUMENT), b"")
        return b"".join(pieces)
    finally:
        content.close()


def _known_request(
    key: str, records: WorkerRecords, provenance: Provenance | None
) -> dict[str, Any]:
    """Return what was asked for, as the record still knows it, or else the provenance does."""
    try:
        plan = records.plan(key)
    except QueueUnavailable:
        plan = None
    if plan is not None:
        if not is_plan_of(plan, key):
            raise CannotRebuild("the request in its record is not the one that leads to its key")
        return dict(plan["request"])
    if provenance is None:
        raise CannotRebuild("its record is gone, and there is no provenance that tells what it was")
    if provenance.has_script:
        raise CannotRebuild(
            "its record is gone, and with it the first-boot script, which is kept nowhere else"
        )
    try:
        request = BuildRequest.model_validate({**provenance.request, "defaults": None}).normalised()
    except ValidationError as error:
        raise CannotRebuild(
            "its provenance tells no request that this release understands"
        ) from error
    if request_hash(request) != key:
        raise CannotRebuild("the request in its provenance is not the one that leads to its key")
    return request


def _build(
    settings: Settings,
    key: str,
    request: dict[str, Any],
    store: Store,
    engine: Callable[[], ContainerEngine],
) -> None:
    records = MemoryRecords()
    plan = new_plan(key, request, request_id=f"rebuild-{key}")
    asyncio.run(
        records.claim(key, plan=json.dumps(plan), bodies=pending_bodies(plan), limit=1, renew=False)
    )
    Builder(settings, records=records, store=store, engine=engine, accounts=Accounts(None)).run()
    record = asyncio.run(records.look(key))
    if record is None or record.state is not State.DONE:
        detail = json.loads(record.body)["detail"] if record else "nothing came of it"
        raise CannotRebuild(f"it cannot be built any more: {detail}")
