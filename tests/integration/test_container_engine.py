"""The engine of build containers with a real podman: images, a podman that goes and comes, and what
stays behind.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from asu.errors import BuildTimeout, ContainerFailed, ImageBuilderMissing
from asu.worker.podman_engine import PodmanEngine
from tests.integration.podman_world import (
    APK,
    BASE,
    OPKG,
    PodmanWorld,
    builder_image,
    output,
    started,
)

# podman-py forgets to close a socket that it could not connect.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*UDSSocket:pytest.PytestUnraisableExceptionWarning",
    "ignore:.*UDSSocket:ResourceWarning",
)

IMAGE = builder_image(f"{BASE}:x86-64-v{OPKG}")


def test_a_missing_image_is_told_as_such(podman: PodmanWorld) -> None:
    """An ImageBuilder that does not exist (yet) is no failure of podman's."""
    with pytest.raises(ImageBuilderMissing, match=r"99\.1\.0 and x86/64"):
        podman.engine().start(
            builder_image(f"{BASE}:x86-64-v99.1.0", "99.1.0"), key="0" * 64, attempt=1
        )


def test_an_image_that_cannot_be_pulled_is_a_failure_of_ours(podman: PodmanWorld) -> None:
    """A registry that cannot be reached says nothing about what it has; podman's own success does
    not count.
    """
    image = builder_image("127.0.0.1:1/imagebuilder:x86-64-v24.10.4")
    with pytest.raises(ContainerFailed, match="cannot be pulled"):
        podman.engine(pull_policy="missing").start(image, key="0" * 64, attempt=1)


def test_a_copy_that_could_not_be_renewed_is_known_as_such(podman: PodmanWorld) -> None:
    """It is used, and whoever needs a newer one learns why there is none."""
    name = f"127.0.0.1:1/imagebuilder:{secrets.token_hex(8)}"
    podman.run("tag", IMAGE.name, name)
    try:
        engine = podman.engine(pull_policy="newer")
        told = (
            engine.pin(builder_image(name)).may_be_old,
            podman.engine(pull_policy="missing").pin(builder_image(name)).may_be_old,
        )
    finally:
        podman.run("untag", name, name)

    assert told == (True, False)


def test_a_moving_image_that_is_not_to_be_pulled_may_be_old(podman: PodmanWorld) -> None:
    """That upstream has no newer one is not known; of a release's image there is none."""
    image = replace(builder_image(IMAGE.name), is_moving=True)

    assert podman.engine(pull_policy="never").pin(image).may_be_old
    assert not podman.engine(pull_policy="never").pin(replace(image, is_moving=False)).may_be_old


def test_a_pull_has_a_deadline(podman: PodmanWorld) -> None:
    """A registry that takes the connection and says nothing does not hold the worker."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        image = builder_image(f"127.0.0.1:{silent.getsockname()[1]}/imagebuilder:x86-64-v24.10.4")
        with pytest.raises(BuildTimeout, match="fetching the ImageBuilder"):
            podman.engine(pull_policy="missing", pull_deadline=1).start(
                image, key="0" * 64, attempt=1
            )


def test_podman_away_is_noticed_at_once_and_forgotten_when_it_is_back(podman: PodmanWorld) -> None:
    """Without its service a start fails; the same engine works again as soon as it is back."""
    engine = podman.engine()
    with podman.away():
        with pytest.raises(ContainerFailed):
            engine.start(IMAGE, key="0" * 64, attempt=1)
        with pytest.raises(ContainerFailed):
            engine.leftovers()
    with started(engine, IMAGE) as container:
        assert output(container, "echo", "back") == "back\n"


def test_podman_that_goes_in_mid_command_is_a_failure_of_ours(podman: PodmanWorld) -> None:
    """A service that is restarted under a build fails that build, and no other."""
    engine = podman.engine()
    with started(engine, IMAGE) as container:

        def restart() -> None:
            time.sleep(0.5)
            podman.stop_service()
            podman.start_service()

        restarting = threading.Thread(target=restart)
        restarting.start()
        try:
            result = container.run(["sleep", "4"], deadline=60)
        except ContainerFailed:
            pass
        else:
            assert result.exit_code == -1
        restarting.join()


def test_leftovers_are_those_of_this_system_alone(podman: PodmanWorld) -> None:
    """Systems that share a podman do not see one another's containers."""
    mine, other = podman.engine(), podman.engine()
    key, foreign = secrets.token_hex(32), secrets.token_hex(32)
    with started(mine, IMAGE, key=key, attempt=3), started(other, IMAGE, key=foreign):
        found = [(found, number) for found, number, _ in mine.leftovers()]

    assert (key, 3) in found
    assert (foreign, 1) not in found


def test_a_leftover_can_be_removed(podman: PodmanWorld) -> None:
    """What a dead worker left is removed by another one, running or not."""
    engine = podman.engine()
    engine.start(IMAGE, key="0" * 64, attempt=1)

    for key, _, container in engine.leftovers():
        if key == "0" * 64:
            container.remove()

    assert podman.containers(podman.systems[-1]) == []


def test_a_container_of_another_system_is_left_alone_even_when_it_has_ended(
    podman: PodmanWorld,
) -> None:
    """Only its own system can prove that its attempt is dead; it ends by itself after its longest
    time.
    """
    deadlines: dict[str, Any] = {
        "pull_deadline": 1,
        "info_deadline": 1,
        "manifest_deadline": 1,
        "image_deadline": 1,
        "max_output_mb": 1,
    }
    foreign, mine = podman.engine(**deadlines), podman.engine()
    key = secrets.token_hex(32)
    foreign.start(IMAGE, key=key, attempt=2)
    [listed] = podman.containers(podman.systems[-2])
    assert listed["Command"] == ["sleep", str(podman.settings(**deadlines).build_deadline)]

    podman.run("kill", listed["Id"])
    podman.run("wait", listed["Id"])

    assert (key, 2) not in [(found, number) for found, number, _ in mine.leftovers()]
    assert (key, 2) in [(found, number) for found, number, _ in foreign.leftovers()]


def test_a_rebuild_of_this_system_is_removed_once_it_has_ended(podman: PodmanWorld) -> None:
    """While it runs, a sweep leaves it alone, since no record knows it."""
    mine = podman.engine()
    rebuild = PodmanEngine(podman.settings(), system=f"{podman.systems[-1]}/rebuild-1")
    key = secrets.token_hex(32)
    rebuild.start(IMAGE, key=key, attempt=1)
    [listed] = podman.containers(f"{podman.systems[-1]}/rebuild-1")

    running = [found for found, _, _ in mine.leftovers()]
    podman.run("kill", listed["Id"])
    podman.run("wait", listed["Id"])
    [ended] = [container for found, _, container in mine.leftovers() if found == key]
    ended.remove()

    assert key not in running
    assert podman.containers(f"{podman.systems[-1]}/rebuild-1") == []


def test_a_pinned_image_is_run_wherever_its_name_leads_meanwhile(podman: PodmanWorld) -> None:
    """Another worker may pull a newer image of that name between the look at it and the start; what
    was written down is what runs.
    """
    name = f"{BASE}:pinned-{secrets.token_hex(8)}"
    podman.run("tag", IMAGE.name, name)
    try:
        engine = podman.engine()
        pinned = engine.pin(builder_image(name))
        podman.run("tag", f"{BASE}:x86-64-v{APK}", name)
        moved = engine.pin(builder_image(name))
        with started(engine, pinned):
            runs = podman.inspect(podman.systems[-1])["Image"]
    finally:
        podman.run("untag", name, name)  # Without the second one, every name of the image would go.

    assert runs == pinned.id != moved.id
    assert (
        pinned.digest
        == podman.run("image", "inspect", "--format={{.Digest}}", IMAGE.name).strip()
        != moved.digest
    )
    assert pinned.digest.startswith("sha256:")


def test_each_build_starts_from_an_untouched_builder(podman: PodmanWorld) -> None:
    """What one build leaves in its container is not there in the next."""
    engine = podman.engine()
    for _ in range(2):
        with started(engine, builder_image(f"{BASE}:x86-64-v{APK}")) as container:
            assert "trace" not in output(container, "ls", "/builder")
            output(container, "touch", "/builder/trace")
