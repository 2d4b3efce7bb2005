"""Snapshots through real containers: images that fetch their builder themselves, with either
package manager.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.podman_world import SNAPSHOTS

if TYPE_CHECKING:
    from tests.integration.worker_world import WorkerWorld


@pytest.mark.parametrize("version", SNAPSHOTS)
def test_a_snapshot_builds(worker: WorkerWorld, version: str) -> None:
    """The builder is fetched, unpacked and used; what it made is published."""
    body = worker.build(version=version, packages=["vim"], filesystem="squashfs")

    assert body["status"] == 200, body
    assert "vim" in body["manifest"]
    assert {image["filesystem"] for image in body["images"]} == {"squashfs"}
    assert worker.store.has(body["bin_dir"])


def test_the_revision_is_checked_against_the_builder_that_was_fetched(worker: WorkerWorld) -> None:
    """Who asks for yesterday's snapshot learns both revisions."""
    body = worker.build(version="SNAPSHOT", version_code="r1-0000000000")

    assert body["code"] == "wrong-revision"
    assert "r1-0000000000" in body["detail"]
    assert worker.build(version="SNAPSHOT")["version_code"] in body["detail"]


def test_a_builder_that_cannot_be_fetched_is_upstreams(worker: WorkerWorld) -> None:
    """The downloads server that containers are told of is not there; the user is not to blame."""
    settings = worker.settings.model_copy(update={"builder_upstream_url": "http://127.0.0.1:9"})
    body = worker.build(with_settings=settings, version="SNAPSHOT")

    assert (body["code"], body["fault"]) == ("download-failed", "upstream")
    assert "127.0.0.1" in body["stderr"]
