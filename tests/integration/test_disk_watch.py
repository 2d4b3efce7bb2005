"""What of the disk a build takes in a real podman, and that no build keeps it to itself."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from typing import TYPE_CHECKING

import pytest

from asu.errors import AsuError, BuildDisrupted, ContainerFailed, ContainerTooLarge
from asu.worker.builder_failures import failure
from asu.worker.disk_watch import disk_watched
from asu.worker.package_managers import Opkg
from tests.integration.podman_world import BASE, OPKG, builder_image, output, started

if TYPE_CHECKING:
    from asu.worker.container import BuildContainer
    from tests.integration.podman_world import PodmanWorld

# podman-py forgets to close a socket that it could not connect.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*UDSSocket:pytest.PytestUnraisableExceptionWarning",
    "ignore:.*UDSSocket:ResourceWarning",
)

IMAGE = builder_image(f"{BASE}:x86-64-v{OPKG}")
# Writes so many MiB, and meanwhile and ever after sends a signal to all processes of its user but
# itself.
ALONE = """
import os, signal, sys, threading, time

def write():
    with open("/builder/file", "wb", 0) as file:
        for _ in range(int(sys.argv[2])):
            file.write(bytes(1024 * 1024))
            time.sleep(0.01)

threading.Thread(target=write).start()
while True:
    try:
        os.kill(-1, signal.Signals[sys.argv[1]])
    except ProcessLookupError:
        pass
    time.sleep(0.0005)
"""
# Has all processes that it may have.
HOARD = """
import os, time

while True:
    try:
        if os.fork() == 0:
            time.sleep(60)
    except OSError:
        time.sleep(0.01)
"""


def test_the_disk_runs_out(podman: PodmanWorld) -> None:
    """A program that writes on and on is ended once it has more than its share, and the build says
    so.
    """
    with (
        started(podman.engine(), IMAGE) as container,
        pytest.raises(ContainerTooLarge, match="more than 64 MiB of disk"),
        disk_watched(container, podman.settings(container_disk_mb=64), pause=0.2),
    ):
        container.run(
            [
                "bash",
                "-c",
                "while head -c 10M /dev/zero; do sleep 0.05; done > /builder/file; sleep 60",
            ],
            deadline=60,
        )


def test_inodes_run_out(podman: PodmanWorld) -> None:
    """Empty files take no bytes; a build with too many of them is ended all the same."""
    many = "import os\nfor n in range(10**7):\n  open(f'/builder/{n}', 'w').close()"
    with (
        started(podman.engine(), IMAGE) as container,
        pytest.raises(ContainerTooLarge, match="as many files"),
        disk_watched(container, podman.settings(container_disk_mb=1024), pause=0.2),
    ):
        container.run(["python3", "-c", many], deadline=120)


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGSTOP"])
def test_a_build_that_ends_what_looks_at_it_is_ended(podman: PodmanWorld, signal: str) -> None:
    """It may send signals to all processes of its user, again and again; what looks at the disk is
    not among them.
    """
    with (
        started(podman.engine(), IMAGE) as container,
        pytest.raises(ContainerTooLarge, match="more than 64 MiB of disk"),
        disk_watched(container, podman.settings(container_disk_mb=64), pause=0.2),
    ):
        container.run(["python3", "-c", ALONE, signal, "200"], deadline=60)


def test_what_is_free_is_told_to_a_build_that_wants_nobody_to_know(podman: PodmanWorld) -> None:
    """Files that were deleted while they are open take room that only the disk tells of."""
    with started(podman.engine(), IMAGE) as container:
        threading.Thread(
            target=_run_to_its_end,
            args=(container, ["python3", "-c", ALONE, "SIGKILL", "1"]),
            daemon=True,
        ).start()
        while container.disk_taken() < 1024 * 1024:
            time.sleep(0.05)
        told = [container.disk_free().bytes for _ in range(5)]

    assert all(
        0
        < free
        <= shutil.disk_usage(podman.run("info", "--format={{.Store.GraphRoot}}").strip()).total
        for free in told
    )


def test_a_build_that_leaves_no_process_to_look_with_is_ended(podman: PodmanWorld) -> None:
    """It takes all that it may have; the failure says what is known, and that it is none of the
    disk's.
    """
    with (
        started(podman.engine(container_pids=64), IMAGE) as container,
        pytest.raises(ContainerFailed, match="its use of the disk could not be measured"),
        disk_watched(container, podman.settings(), pause=0.2),
    ):
        container.run(["python3", "-c", HOARD], deadline=60)


def test_a_command_that_finds_no_process_is_the_builds_own_trouble(podman: PodmanWorld) -> None:
    """A package may leave processes behind that take all; podman lives and says so."""
    with started(podman.engine(container_pids=64), IMAGE) as container:
        container.run(["bash", "-c", f"python3 -c '{HOARD}' & sleep 5"], deadline=60)
        try:
            error: AsuError = failure(container.run(["true"], deadline=60), Opkg())
        except BuildDisrupted as refused:
            error = refused

    assert isinstance(error, BuildDisrupted)


@pytest.mark.parametrize(
    "command",
    [
        "head -c 5M /dev/zero > /tmp/file",
        "truncate -s 5M /builder/holes",
        "head -c 5M /dev/zero > /var/tmp/file",
    ],
)
def test_what_a_build_writes_is_counted_wherever_it_is(podman: PodmanWorld, command: str) -> None:
    """Podman counts the container's layer from outside; a build that hides its files hides
    nothing.
    """
    with started(podman.engine(), IMAGE) as container:
        before = container.disk_taken()
        output(container, "bash", "-c", command)
        after, free = container.disk_taken(), container.disk_free().bytes

    assert after - before >= 5 * 1024 * 1024
    assert (
        0
        < free
        <= shutil.disk_usage(podman.run("info", "--format={{.Store.GraphRoot}}").strip()).total
    )


def _run_to_its_end(container: BuildContainer, command: list[str]) -> None:
    with contextlib.suppress(ContainerFailed):
        container.run(command, deadline=60)
