"""Workers that die, freeze or are told to end in the midst of a build, with a real Redis and a real
podman.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asu.records.build_record import LEASE, LEASE_SECONDS, State
from tests.integration.test_worker import BUILD_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.worker_world import WorkerWorld

# podman-py forgets to close a socket that it could not connect.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*UDSSocket:pytest.PytestUnraisableExceptionWarning",
    "ignore:.*UDSSocket:ResourceWarning",
)

# For what is documented to take 30 and 90 seconds after a `kill -9`; other tests run beside it.
PATIENCE = 240.0


def wait_until(claim: Callable[[], bool], *, seconds: float, otherwise: str) -> None:
    """Wait for something to become true."""
    give_up = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < give_up, otherwise
        time.sleep(0.1)


def work_horses(worker: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes that build for a worker."""
    return [
        int(word)
        for task in Path(f"/proc/{worker.pid}/task").iterdir()
        for word in (task / "children").read_text().split()
    ]


def is_alive(process: int) -> bool:
    """Whether a process runs; what is dead and waits for its parent does not."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def signal_all(processes: list[int], number: signal.Signals) -> None:
    """Send each process a signal."""
    for process in processes:
        os.kill(process, number)


def publications(world: WorkerWorld, key: str) -> list[str]:
    """Return the attempts that a worker logged as done, by their numbers."""
    logs = "".join(path.read_text() for path in world.directory.glob("worker-*.log"))
    return re.findall(rf"build {key} attempt (\d+): done", logs)


class Published:
    """Watches a build's place in the store: each publication puts another directory there."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._seen: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> set[int]:
        self._thread.start()
        return self._seen

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            with suppress(FileNotFoundError):
                self._seen.add(self._place.stat().st_ino)


def container_attempts(world: WorkerWorld, key: str) -> list[int]:
    """Return the attempts of a build that have a container."""
    return [
        int(found["Labels"]["asu.attempt"])
        for found in world.podman.containers(world.system)
        if found["Labels"]["asu.build"] == key
    ]


def begin(world: WorkerWorld) -> tuple[subprocess.Popen[bytes], str]:
    """Start a worker and a build, and return both once the images are being made."""
    worker = world.start_worker()
    key = world.ask(packages=["luci"])
    world.wake_worker()
    world.wait_for(key, lambda record: record.step == "building_image", seconds=BUILD_SECONDS)
    return worker, key


@pytest.mark.parametrize("successor", ["another worker", "started again"])
def test_a_killed_worker_costs_one_attempt(lone_worker: WorkerWorld, successor: str) -> None:
    """Its build process dies with it, its container soon after, the build waits or runs again, and
    is published once.
    """
    worker, key = begin(lone_worker)
    first, horses = lone_worker.attempt(key), work_horses(worker)
    assert horses
    if successor == "another worker":
        lone_worker.start_worker()

    with Published(lone_worker.settings.store_path / key) as published:
        worker.kill()
        if successor == "started again":
            lone_worker.start_worker()  # As whoever watches it does at once.

        wait_until(
            lambda: not any(map(is_alive, horses)),
            seconds=PATIENCE,
            otherwise="a process builds on without its worker",
        )
        wait_until(
            lambda: first not in container_attempts(lone_worker, key),
            seconds=PATIENCE,
            otherwise="the container outlives its worker",
        )
        lone_worker.wait_for(
            key,
            lambda _: lone_worker.attempt(key) != first,
            seconds=PATIENCE,
        )
        assert lone_worker.wait_until_ended(key, seconds=BUILD_SECONDS).state is State.DONE
        wait_until(
            lambda: not container_attempts(lone_worker, key),
            seconds=PATIENCE,
            otherwise="a container is left over",
        )

    assert len(published) == 1


def test_a_frozen_worker_publishes_nothing_when_it_thaws(lone_worker: WorkerWorld) -> None:
    """Stopped for longer than its lease, it finds another attempt in its place: what it has is
    dropped, and its build too.
    """
    worker, key = begin(lone_worker)
    first, frozen = lone_worker.attempt(key), [worker.pid, *work_horses(worker)]
    signal_all(frozen, signal.SIGSTOP)
    try:
        lone_worker.start_worker()
        lone_worker.wait_for(key, lambda _: lone_worker.attempt(key) != first, seconds=PATIENCE)
        assert lone_worker.wait_until_ended(key, seconds=BUILD_SECONDS).state is State.DONE
        body, published = lone_worker.look(key).body, lone_worker.store.has(key)
    finally:
        signal_all(frozen, signal.SIGCONT)
    wait_until(
        lambda: not any(map(is_alive, frozen[1:])),
        seconds=BUILD_SECONDS,
        otherwise="the thawed process goes on building",
    )

    assert published
    assert lone_worker.look(key).body == body
    assert publications(lone_worker, key) == [str(lone_worker.attempt(key))]
    assert [
        path for path in (lone_worker.settings.store_path / ".incoming").iterdir() if path.is_dir()
    ] == []


def test_a_short_freeze_costs_nothing(lone_worker: WorkerWorld) -> None:
    """A worker that stands still for less than its lease goes on with its build, and no other takes
    it.
    """
    worker, key = begin(lone_worker)
    first, frozen = lone_worker.attempt(key), [worker.pid, *work_horses(worker)]
    lone_worker.start_worker()
    signal_all(frozen, signal.SIGSTOP)
    time.sleep(LEASE_SECONDS / 4)
    assert lone_worker.client.exists(LEASE + key)
    signal_all(frozen, signal.SIGCONT)

    assert lone_worker.wait_until_ended(key, seconds=BUILD_SECONDS).state is State.DONE
    assert publications(lone_worker, key) == [str(first)]


def test_a_worker_told_to_end_takes_no_new_build(lone_worker: WorkerWorld) -> None:
    """SIGTERM: the build that runs is finished, the one that waits stays for another worker."""
    worker, key = begin(lone_worker)
    waiting = lone_worker.ask()
    lone_worker.wake_worker()

    worker.send_signal(signal.SIGTERM)

    assert lone_worker.wait_until_ended(key, seconds=BUILD_SECONDS).state is State.DONE
    assert worker.wait(BUILD_SECONDS) == 0
    assert lone_worker.look(waiting).state is State.QUEUED
    lone_worker.start_worker()
    assert lone_worker.wait_until_ended(waiting, seconds=BUILD_SECONDS).state is State.DONE
