"""Provenance and a second build with a real podman: the builder that ran, the feeds, and images
that come out the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from asu.provenance.envelope import PROVENANCE_FILE, read_envelope
from asu.provenance.statement import read_statement
from asu.worker.podman_engine import PodmanEngine
from asu.worker.rebuilding import rebuild
from misc.supply.sbom import installed_packages
from tests.integration.podman_world import APK, BASE, OPKG, ROOT

if TYPE_CHECKING:
    from tests.integration.podman_world import PodmanWorld
    from tests.integration.worker_world import WorkerWorld

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*UDSSocket:pytest.PytestUnraisableExceptionWarning",
    "ignore:.*UDSSocket:ResourceWarning",
)


def statement_of(worker: WorkerWorld, key: str) -> dict[str, Any]:
    """Return the published statement."""
    statement: dict[str, Any] = json.loads(
        read_envelope((worker.settings.store_path / key / PROVENANCE_FILE).read_bytes()).payload
    )
    return statement


@pytest.mark.parametrize(
    ("version", "feed"), [(OPKG, "feed/openwrt_base"), (APK, "feed/APKINDEX.")]
)
def test_a_real_build_says_what_it_was_made_from(
    worker: WorkerWorld, version: str, feed: str
) -> None:
    """Builder as podman knows it, files as they lie there, packages as installed, and the indexes
    that the package manager fetched.
    """
    body = worker.build(
        version=version, target="ath79/generic", profile="tplink_archer-c7-v5", packages=["vim"]
    )
    key = body["request_hash"]

    provenance = read_statement(json.dumps(statement_of(worker, key)).encode())
    directory = worker.settings.store_path / key
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.iterdir()
        if not path.name.startswith(".")
    }
    files.pop(PROVENANCE_FILE)
    name = f"{worker.settings.base_container}:ath79-generic-v{version}"
    assert (
        body["builder_digest"]
        == provenance.builder.digest
        == worker.podman.run("image", "inspect", "--format={{.Digest}}", name).strip()
    )
    assert provenance.files == files
    assert provenance.packages == body["manifest"]
    assert provenance.feeds
    dependencies = statement_of(worker, key)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert any(
        one["name"].startswith(feed) and len(one["digest"]["sha256"]) == 64 for one in dependencies
    )


@pytest.mark.parametrize("version", [OPKG, APK])
def test_a_second_build_makes_the_same_images(worker: WorkerWorld, version: str) -> None:
    """Whatever a container makes anew for itself, such as keys, is not in what is compared; no
    container is left.
    """
    body = worker.build(version=version, packages=["vim"], filesystem="squashfs")
    engine = PodmanEngine(worker.settings, system="rebuild-test")
    worker.podman.systems.append("rebuild-test")

    comparison = rebuild(
        worker.settings,
        body["request_hash"],
        records=worker.records,
        store=worker.store,
        engine=lambda: engine,
    )

    assert not comparison.differs, comparison.in_words()
    assert len(comparison.lines) == len(body["images"])
    assert worker.podman.containers("rebuild-test") == []


def test_the_command_compares_and_ends_well(worker: WorkerWorld) -> None:
    """`asu rebuild KEY --verify`, as an operator types it; of another key it says that there is
    nothing.
    """
    key = worker.build(packages=["vim"], target="ath79/generic", profile="tplink_archer-c7-v5")[
        "request_hash"
    ]

    done, unknown = (command(worker, "rebuild", wanted, "--verify") for wanted in (key, "0" * 64))
    verified = command(worker, "verify", str(worker.settings.store_path / key))

    assert done.returncode == 0, done.stderr
    assert "equal: openwrt-" in done.stdout
    assert unknown.returncode == 1
    assert "asu rebuild: there are no images of this build" in unknown.stderr
    assert "as it was built" in verified.stdout


def test_the_debian_packages_of_an_image_are_listed(podman: PodmanWorld) -> None:
    """The bill of materials asks the image itself; of one that is not there it says so."""
    found, words = installed_packages(f"{BASE}:x86-64-v{OPKG}", podman.environment)
    none, why = installed_packages(f"{BASE}:no-such-tag", podman.environment)

    assert {"libc6", "make"} <= {name for name, _, _ in found}, words
    assert all(version and architecture for _, version, architecture in found)
    assert none == []
    assert "there is no image" in why


def command(worker: WorkerWorld, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the operator's commands with the worker's settings."""
    environment = {
        **worker.podman.environment,
        "REDIS_URL": worker.redis.url,
        "STORE_PATH": str(worker.settings.store_path),
        "BASE_CONTAINER": worker.settings.base_container,
        "CONTAINER_SOCKET_PATH": str(worker.settings.container_socket_path),
        "CONTAINER_NETWORK": worker.settings.container_network,
        "PULL_POLICY": worker.settings.pull_policy,
        "ASU_CONFIG": os.devnull,
    }
    return subprocess.run(
        [sys.executable, "-m", "asu", *arguments],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
