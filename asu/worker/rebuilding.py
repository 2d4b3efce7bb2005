"""Build what was built before again, and compare the images.

The second build goes into a store in a workplace, without record, key and statistics. Its container
belongs to a system of its own, so no worker's sweep takes it for an abandoned one.
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from asu.build_request import BuildRequest
from asu.disk_space import MIB
from asu.errors import AsuError, QueueUnavailable
from asu.logs import where_it_failed
from asu.provenance.envelope import PROVENANCE_FILE, UnusableProvenance, read_envelope
from asu.provenance.statement import Provenance, read_statement
from asu.records.build_plan import is_plan_of, new_plan
from asu.records.build_record import Attempt
from asu.records.worker_records import WorkerRecords
from asu.resolution import request_hash
from asu.settings import Settings
from asu.stores.local import LocalStore
from asu.stores.store import Store, without_rival

from .build_run import start_run
from .container import ContainerEngine
from .disk_watch import disk_watched
from .job import build_images
from .profiles_json import images_of
from .progress import Progress
from .publication import publish

# Bytes of profiles.json or of a provenance; a genuine one has a tenth of that.
MAX_DOCUMENT = 4 * MIB


class CannotRebuild(Exception):
    """A build cannot be made again; the message says why, for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a store has of a build: `images` name → SHA-256 without signatures.

    A build of an earlier release has no provenance.
    """

    images: Mapping[str, str]
    provenance: Provenance | None


@dataclass(slots=True)
class Comparison:
    """What two builds have in common, in words; `differs` if any image does."""

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
    """Build what is published under a key again and compare; raise CannotRebuild, StoreFailed."""
    before = read_published(store, key)
    request = _known_request(key, records, before.provenance)
    place = store.workplace(key)
    try:
        again = LocalStore(place)
        again.open()
        _build(settings, key, request, again, engine)
        return compare(before, read_published(again, key))
    finally:
        store.discard(place)


def read_published(store: Store, key: str) -> Published:
    """Return what the store has of a build; raise CannotRebuild and StoreFailed."""
    profiles = _document(store, key, "profiles.json")
    provenance = _document(store, key, PROVENANCE_FILE)
    try:
        images = {
            str(image["name"]): str(image.get("sha256_unsigned") or image["sha256"])
            for image in images_of(json.loads(profiles or b""))
        }
        return Published(
            images=images,
            provenance=read_statement(read_envelope(provenance).payload) if provenance else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CannotRebuild(
            "there are no images of this build to compare with; "
            "the store keeps them as long as its record lives"
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
    lines: list[str] = []
    old, new = before.builder, now.builder
    # The image of a snapshot's builder only fetches it, so the revision may differ alone.
    for first, second in ((old.digest, new.digest), (old.revision, new.revision)):
        if first != second and not lines:
            lines.append(f"the ImageBuilder is another one: then {first}, now {second}")
    for name in sorted({*before.packages, *now.packages}):
        first, second = before.packages.get(name, "none"), now.packages.get(name, "none")
        if first != second:
            lines.append(f"package {name}: then {first}, now {second}")
    return lines


def _document(store: Store, key: str, name: str) -> bytes | None:
    file = store.find(key, name)
    content = store.content(file, 0, file.size) if file and file.size <= MAX_DOCUMENT else None
    if content is None:
        return None
    with contextlib.closing(content):
        return b"".join(iter(lambda: content.read(MAX_DOCUMENT), b""))


def _known_request(
    key: str, records: WorkerRecords, provenance: Provenance | None
) -> dict[str, Any]:
    """Return what was asked for, from the record, or else from the provenance."""
    try:
        plan = records.plan(key)
    except QueueUnavailable:
        plan = None
    if plan is not None:
        if not is_plan_of(plan, key):
            raise CannotRebuild("the request in its record is not the one that leads to its key")
        return dict(plan["request"])
    if provenance is None:
        raise CannotRebuild("its record is gone, and there is no provenance that says what it was")
    if provenance.has_script:
        raise CannotRebuild(
            "its record is gone, and with it the first-boot script, which is kept nowhere else"
        )
    try:
        request = BuildRequest.model_validate({**provenance.request, "defaults": None}).normalised()
    except ValidationError as error:
        raise CannotRebuild(
            "its provenance has no request that this release understands"
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
    attempt = Attempt(key=key, number=1, plan=new_plan(key, request, request_id=f"rebuild-{key}"))
    progress = Progress(attempt.plan)
    try:
        with contextlib.ExitStack() as aftermath:
            run = start_run(
                attempt,
                settings,
                progress,
                show=lambda _: None,
                engine=engine,
                aftermath=aftermath,
            )
            with disk_watched(run.container, settings):
                publish(
                    build_images(run),
                    store,
                    None,
                    builder_id="urn:x-asu:rebuild",
                    is_current=without_rival,
                )
    except AsuError as error:
        raise CannotRebuild(f"it cannot be built any more: {error.detail}") from error
    except Exception as error:  # noqa: BLE001  # Its message may quote the first-boot script.
        where = where_it_failed(error)
        raise CannotRebuild(f"it cannot be built: an error of ours: {where}") from None
