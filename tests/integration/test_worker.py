"""Workers with a real Redis and a real podman: lost workers, lost services, leftovers."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from asu.builds.build_queue import BuildQueue
from asu.records.build_record import State
from asu.stores import open_store
from asu.worker.podman_engine import PodmanEngine
from asu.worker.queue_worker import MAINTENANCE_INTERVAL
from asu.worker.sweeping import Sweep
from tests.integration.podman_world import builder_image
from tests.integration.worker_world import WorkerWorld
from tests.s3_server import make_bucket, running_s3

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.integration.podman_world import PodmanWorld
    from tests.redis_server import RedisServer

# podman-py forgets to close a socket that it could not connect.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*UDSSocket:pytest.PytestUnraisableExceptionWarning",
    "ignore:.*UDSSocket:ResourceWarning",
)

BUILD_SECONDS = 60  # Patience for one build; on an idle machine it takes four seconds.
NOTICED_SECONDS = 60  # A lost worker's build must be under way again within this time.


def sweep_of(world: WorkerWorld) -> Sweep:
    """Return what a worker does between builds."""
    engine = PodmanEngine(world.settings, system=world.system)
    queue = BuildQueue(world.client, deadline=world.settings.build_deadline)
    return Sweep(
        world.settings,
        live_workers=frozenset,
        records=world.records,
        queue=queue,
        store=world.store,
        engine=lambda: engine,
        statistics=world.outcome_statistics,
    )


def wait_until_no_container(world: WorkerWorld, seconds: float) -> None:
    """Wait until nothing of this system is left in podman."""
    give_up = time.monotonic() + seconds
    while world.podman.containers(world.system):
        assert time.monotonic() < give_up, "a container is left over"
        time.sleep(0.2)


def test_a_worker_process_builds_what_waits(lone_worker: WorkerWorld) -> None:
    """A build put in line is taken by a worker process, ends done, and its container is gone soon
    after.
    """
    lone_worker.start_worker()
    key = lone_worker.ask(packages=["vim"])
    lone_worker.wake_worker()

    record = lone_worker.wait_until_ended(key, seconds=BUILD_SECONDS)

    assert record.state is State.DONE, record.body
    assert lone_worker.store.has(key)
    assert lone_worker.counted_builds(seconds=10) == (1, {b"vim": 1.0})
    wait_until_no_container(lone_worker, 10)


def test_a_worker_process_publishes_into_a_bucket(
    podman: PodmanWorld, shared_redis: RedisServer, tmp_path: Path
) -> None:
    """Each build runs in a process of its own, which has to find its own way to the bucket; on the
    disk nothing is left.
    """
    with running_s3() as url, ExitStack() as stack:
        make_bucket(url, "images")
        values = {
            "s3_bucket": "images",
            "s3_endpoint_url": url,
            "s3_access_key_id": "tester",
            "s3_secret_access_key": "none",
        }
        world = WorkerWorld(podman, shared_redis, tmp_path, stack, values)
        world.start_worker()
        keys = [world.ask(packages=["vim"]), world.ask()]
        for _ in keys:
            world.wake_worker()
        outcomes = [world.wait_until_ended(key, seconds=BUILD_SECONDS) for key in keys]
        store = open_store(world.settings)
        [image] = [
            image
            for image in world.body(keys[0])["images"]
            if image["type"] == "combined" and image["filesystem"] == "squashfs"
        ]
        file = store.find(keys[0], image["name"])

        assert [outcome.state for outcome in outcomes] == [State.DONE] * 2, outcomes
        assert file is not None
        assert file.etag == image["sha256"]
        # Beside the bucket nothing of a build stays.
        left = [path.name for path in world.settings.store_path.iterdir()]
        assert [name for name in left if name[0] != "."] == []
        assert list((world.settings.store_path / ".incoming").iterdir()) == []


def test_a_build_survives_the_death_of_its_worker(lone_worker: WorkerWorld) -> None:
    """A worker killed in mid-build is noticed, another starts the build again, and one
    publishes.
    """
    first = lone_worker.start_worker()
    key = lone_worker.ask(packages=["luci"])
    lone_worker.wake_worker()
    lone_worker.wait_for(key, lambda record: record.step == "building_image", seconds=BUILD_SECONDS)

    first.kill()
    lone_worker.start_worker()
    lone_worker.wait_for(key, lambda _: lone_worker.tries(key) == 2, seconds=NOTICED_SECONDS)
    record = lone_worker.wait_until_ended(key, seconds=BUILD_SECONDS)

    assert record.state is State.DONE, record.body
    published = [path.name for path in lone_worker.settings.store_path.iterdir()]
    assert [name for name in published if name[0] != "."] == [key]
    wait_until_no_container(lone_worker, 45)


def test_a_worker_told_to_end_finishes_its_build_first(lone_worker: WorkerWorld) -> None:
    """SIGTERM, as an operator's restart sends it, costs nobody a build."""
    process: subprocess.Popen[bytes] = lone_worker.start_worker()
    key = lone_worker.ask()
    lone_worker.wake_worker()
    lone_worker.wait_for(
        key, lambda record: record.step == "validate_manifest", seconds=BUILD_SECONDS
    )

    process.send_signal(signal.SIGTERM)

    assert lone_worker.wait_until_ended(key, seconds=BUILD_SECONDS).state is State.DONE
    assert process.wait(BUILD_SECONDS) == 0
    wait_until_no_container(lone_worker, 10)


def test_a_worker_has_one_network_for_its_time(lone_worker: WorkerWorld) -> None:
    """It is made for the first build, stays for the next, and is gone when the worker has ended."""
    if lone_worker.settings.container_network == "none":
        pytest.skip("containers have no network here")
    process = lone_worker.start_worker()
    seen = []
    for packages in (["vim"], ["tmux"]):
        key = lone_worker.ask(packages=packages)
        lone_worker.wake_worker()
        lone_worker.wait_until_ended(key, seconds=BUILD_SECONDS)
        seen.append(lone_worker.podman.networks(lone_worker.system))

    process.send_signal(signal.SIGTERM)

    assert process.wait(BUILD_SECONDS) == 0
    assert len(seen[0]) == 1
    assert seen[0] == seen[1]
    assert lone_worker.podman.networks(lone_worker.system) == []


def test_a_dead_workers_images_are_not_left_in_the_store(lone_worker: WorkerWorld) -> None:
    """The build process dies with its worker: nothing is published by a process that nobody
    watches.
    """
    first = lone_worker.start_worker()
    key = lone_worker.ask()
    lone_worker.wake_worker()
    lone_worker.wait_for(
        key, lambda record: record.step == "validate_manifest", seconds=BUILD_SECONDS
    )

    first.kill()
    first.wait()
    time.sleep(8)

    assert not lone_worker.store.has(key)
    assert lone_worker.look(key).state is State.RUNNING


def test_redis_may_restart_while_the_image_is_made(lone_worker: WorkerWorld) -> None:
    """Redis away for seconds in mid-build costs neither the build nor its images."""

    def restart() -> None:
        time.sleep(1.5)
        lone_worker.redis.stop()
        time.sleep(1.5)
        lone_worker.redis.start()

    restarting = threading.Thread(target=restart)
    restarting.start()
    try:
        key = lone_worker.ask(packages=["luci"])
        lone_worker.builder(PodmanEngine(lone_worker.settings, system=lone_worker.system))()
    finally:
        restarting.join()

    assert lone_worker.look(key).state is State.DONE


def test_a_worker_outlives_a_restart_of_redis_in_mid_build(lone_worker: WorkerWorld) -> None:
    """A worker whose signs of life find no Redis for seconds goes on with its build, and is there
    for the next one.
    """
    process = lone_worker.start_worker()
    first = lone_worker.ask()
    lone_worker.wake_worker()
    lone_worker.wait_for(
        first, lambda record: record.step == "validate_manifest", seconds=BUILD_SECONDS
    )

    lone_worker.redis.stop()
    time.sleep(MAINTENANCE_INTERVAL + 2)  # A worker says that it lives this often while it builds.
    lone_worker.redis.start()

    assert lone_worker.wait_until_ended(first, seconds=BUILD_SECONDS).state is State.DONE
    assert lone_worker.tries(first) == 1
    # Another one: of the first, RQ may still have the job.
    second = lone_worker.ask(packages=["vim"])
    lone_worker.wake_worker()
    assert lone_worker.wait_until_ended(second, seconds=BUILD_SECONDS).state is State.DONE
    assert process.poll() is None


def test_podman_away_fails_the_build_at_once_and_the_next_attempt_works(
    worker: WorkerWorld,
) -> None:
    """Without podman the build fails as our fault; asked for again, it is built."""
    with worker.podman.away():
        body = worker.build()

    assert (body["status"], body["code"], body["fault"]) == (500, "container-failed", "infra")
    assert worker.build()["status"] == 200


def test_a_build_is_begun_again_when_podman_is_back(
    podman: PodmanWorld, shared_redis: RedisServer, tmp_path: Path
) -> None:
    """Without podman an attempt fails, and nobody has to ask again: the build waits, no worker with
    it, until its next attempt goes well.
    """
    with ExitStack() as stack:
        world = WorkerWorld(podman, shared_redis, tmp_path, stack, {"retry_delays": (3, 3)})
        with podman.away():
            world.start_worker()
            key = world.ask(packages=["vim"])
            world.wake_worker()
            waiting = world.wait_for(
                key, lambda record: record.live.tried != b"[]", seconds=NOTICED_SECONDS
            )
        record = world.wait_until_ended(key, seconds=BUILD_SECONDS)

    assert (waiting.state, waiting.live.position) == (State.QUEUED, 0)
    assert record.state is State.DONE, record.body
    outcomes = [one["outcome"] for one in json.loads(record.live.tried)]
    assert (outcomes[0], outcomes[-1], set(outcomes)) == ("failed", "done", {"failed", "done"})


def test_a_build_that_takes_too_long_is_stopped(worker: WorkerWorld) -> None:
    """The deadline of the image ends the real make, and the container is gone."""
    slow = {"image_deadline": 1, "container_cpus": 0.2}  # A fast machine takes a second as well.
    settings = worker.settings.model_copy(update=slow)
    body = worker.build(packages=["luci"], with_settings=settings)

    assert (
        body["detail"]
        == "Error: `make image` took longer than 1 s and was stopped; try again later."
    )
    assert body["manifest"]
    wait_until_no_container(worker, 10)


def test_a_build_that_lacks_memory_says_so(worker: WorkerWorld) -> None:
    """The kernel killed a program: a package may be the cause, and so may the server."""
    body = worker.build(
        packages=["luci"],
        with_settings=worker.settings.model_copy(update={"container_memory_mb": 16}),
    )

    assert (body["status"], body["code"], body["fault"]) == (
        500,
        "build-disrupted",
        "infra",
    ), body["detail"]
    assert "a program in it was killed, probably for want of memory" in body["detail"]
    wait_until_no_container(worker, 10)


def test_a_missing_imagebuilder_is_told(worker: WorkerWorld) -> None:
    """A version whose builder does not exist yet is worth another try later."""
    body = worker.build(version="24.10.99")

    assert (body["code"], body["retry_after"]) == ("imagebuilder-missing", 600)


def test_a_lost_lease_ends_the_build(worker: WorkerWorld) -> None:
    """When another attempt has taken over, the running make is ended and nothing is published."""
    key = worker.ask(packages=["luci"])

    def take_over() -> None:
        worker.wait_for(key, lambda record: record.step == "building_image", seconds=BUILD_SECONDS)
        worker.client.delete(f"asu:lease:{key}")
        assert worker.records.requeue(key, worker.attempt(key))
        assert worker.records.start_next()

    thief = threading.Thread(target=take_over)
    thief.start()
    worker.builder(PodmanEngine(worker.settings, system=worker.system))()
    thief.join()

    assert worker.look(key).state is State.RUNNING
    assert not worker.store.has(key)
    assert worker.podman.containers(worker.system) == []


def test_the_sweep_removes_containers_of_dead_attempts_only(worker: WorkerWorld) -> None:
    """Of two attempts of one build the older's container goes, the current one's stays."""
    key = worker.ask()
    engine = PodmanEngine(worker.settings, system=worker.system)
    image = builder_image(f"{worker.settings.base_container}:x86-64-v24.10.4")
    dead = worker.records.start_next()
    assert dead
    engine.start(image, key=key, attempt=dead.number)
    worker.client.delete(f"asu:lease:{key}")
    assert worker.records.requeue(key, dead.number)
    alive = worker.records.start_next()
    assert alive
    current = engine.start(image, key=key, attempt=alive.number)

    sweep_of(worker)()

    assert [
        container["Labels"]["asu.attempt"] for container in worker.podman.containers(worker.system)
    ] == [str(alive.number)]
    assert current.run(["true"], deadline=60).exit_code == 0
    current.remove()
