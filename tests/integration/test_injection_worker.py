"""Payloads that came past the API: written straight into the records, as whoever has Redis could,
and built by the real worker.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from asu.build_request import BuildRequest
from asu.errors import ContainerFailed
from asu.records.build_record import State
from asu.resolution import request_hash
from asu.worker.podman_engine import PodmanEngine
from tests.injection import CANARY, PAYLOADS
from tests.integration.podman_world import BASE, OPKG, builder_image

if TYPE_CHECKING:
    from collections.abc import Collection

    from asu.worker.builder_image import BuilderImage
    from asu.worker.container import BuildContainer
    from tests.integration.worker_world import WorkerWorld

PLAIN = BuildRequest.model_validate(
    {"version": "24.10.4", "target": "x86/64", "profile": "generic"}
).normalised()
TEXTS = list(PAYLOADS.values())
FEED = "https://feeds.example.org/x"
# What a hostile plan has in the place of each field: all payloads at once where the field is a
# list, else one after the other.
PLANS: dict[str, list[dict[str, Any]]] = {
    "version": [{"version": text} for text in TEXTS],
    "target": [{"target": f"x86/{text}"} for text in TEXTS],
    "version_code": [{"version_code": " ".join(TEXTS)}],
    "profile": [{"profile": " ".join(TEXTS)}],
    "packages": [{"packages": TEXTS}, {"packages": TEXTS, "diff_packages": True}],
    "packages_versions": [{"packages_versions": {text: text for text in TEXTS}}],
    "filesystem": [{"filesystem": " ".join(TEXTS)}],
    "rootfs_size_mb": [{"rootfs_size_mb": " ".join(TEXTS)}],
    "repositories, names": [{"repositories": dict.fromkeys(TEXTS, FEED)}],
    "repositories, addresses": [{"repositories": {"own": " ".join(TEXTS)}}],
    "repository_keys": [{"repositories": {"own": FEED}, "repository_keys": TEXTS}],
}
HARMLESS = {
    "client": " ".join(TEXTS),
    "from_version": TEXTS[0],
    "ignored_changes": TEXTS,
    "defaults": "\n".join(TEXTS),
}


@dataclass
class Watched:
    """A container that is searched for the canary before it is thrown away."""

    container: BuildContainer
    seen: list[bool]

    def remove(self) -> None:
        """See BuildContainer."""
        try:  # As the images are copied out, which also works once its commands have been ended.
            self.seen.append(bool(b"".join(self.container.read_out(CANARY, deadline=60))))
        except ContainerFailed:
            self.seen.append(False)
        self.container.remove()

    def __getattr__(self, name: str) -> Any:
        """Do all else as the container does."""
        return getattr(self.container, name)


@dataclass
class WatchedEngine:
    """podman, and whether the canary was in each of the containers."""

    engine: PodmanEngine
    seen: list[bool] = field(default_factory=list)

    def start(
        self, image: BuilderImage, *, key: str, attempt: int, feeds: Collection[str] = ()
    ) -> Watched:
        """See ContainerEngine."""
        return Watched(self.engine.start(image, key=key, attempt=attempt, feeds=feeds), self.seen)

    def __getattr__(self, name: str) -> Any:
        """Do all else as podman does."""
        return getattr(self.engine, name)


def run(world: WorkerWorld, key: str) -> tuple[dict[str, Any], list[bool]]:
    """Let the worker build what waits; return the answer and whether the canary was found in each
    container.
    """
    engine = WatchedEngine(PodmanEngine(world.settings, system=world.system))
    builder: Any = world.builder
    builder(engine)()
    return world.body(key), engine.seen


def test_a_canary_would_be_seen(worker: WorkerWorld) -> None:
    """In a container that runs and in one that was ended; else the other tests would prove
    nothing.
    """
    engine = WatchedEngine(PodmanEngine(worker.settings, system=worker.system))
    for end in (lambda _: None, lambda container: container.kill()):
        container: Any = engine.start(
            builder_image(f"{BASE}:x86-64-v{OPKG}"), key=worker.new_key(), attempt=1
        )
        container.run(["touch", CANARY], deadline=60)
        end(container)
        container.remove()

    assert engine.seen == [True, True]


@pytest.mark.parametrize("name", PLANS)
def test_a_hostile_plan_runs_nothing(worker: WorkerWorld, name: str) -> None:
    """Whatever the field, the build fails before make sees the value, its container holds no
    canary, and nothing is published.
    """
    for fields in PLANS[name]:
        request = {**PLAIN, **fields}
        key = worker.claim(request_hash(request), request)

        body, seen = run(worker, key)

        assert body["status"] == 500, (fields, body["detail"])
        assert not any(seen), fields
        assert not worker.store.has(key)
        assert worker.look(key).state is State.FAILED


def test_what_goes_to_no_command_is_no_danger(worker: WorkerWorld) -> None:
    """Fields that are not the builder's, and the script that is a file of the image, may hold
    anything.
    """
    request = {**PLAIN, **HARMLESS}
    key = worker.claim(request_hash(request), request)

    body, seen = run(worker, key)

    assert (body["status"], seen) == (200, [False]), body["detail"]
    assert TEXTS[0] not in json.dumps({**body, "request": ""}), (
        "neither is the script told in an answer"
    )


@pytest.mark.parametrize("key", PAYLOADS.values(), ids=PAYLOADS)
def test_a_hostile_key_runs_nothing(worker: WorkerWorld, key: str) -> None:
    """The key ends up in names of files and directories; one that is no hash is not built."""
    worker.claim(key, PLAIN)
    try:
        body, seen = run(worker, key)
    finally:
        worker.client.delete(f"asu:build:{key}")

    assert body["status"] == 500
    assert not any(seen)
    left = {path.name for path in worker.settings.store_path.iterdir()}
    assert left <= {".incoming", ".builders"}
