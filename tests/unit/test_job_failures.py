"""One build that does not end well: whose fault it is, what is told, and that nothing half done
stays behind.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from asu.build_request import BuildRequest
from asu.errors import AsuError, ContainerFailed, StoreFailed
from asu.records.build_record import State
from asu.settings import Settings
from asu.stores.local import LocalStore
from asu.stores.store import NO_HASHES, without_rival
from asu.worker.container import CommandResult
from tests.unit.job_world import CONFLICT, KEY, REQUEST, SCRIPT, World, body_of, new_world

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.twins.memory_container import MemoryEngine


class BrokenStore(LocalStore):
    """A store on a disk that takes nothing."""

    def publish(
        self,
        key: str,
        directory: Path,
        lifetime: int,
        hashes: Mapping[str, str] = NO_HASHES,
        is_current: Callable[[], bool] = without_rival,
    ) -> bool:
        """See Store."""
        assert is_current()
        raise StoreFailed(
            reason=f"not published ({key[:4]} {directory.name[:4]} {lifetime} {len(hashes)})"
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world with an empty store."""
    return new_world(tmp_path)


def test_a_failed_build_does_not_tell_the_first_boot_script(world: World) -> None:
    """The body of a failure repeats it as little as that of a success."""
    world.script.failures["image"] = CommandResult(2, "", CONFLICT)

    assert b"do not tell" not in world.build(defaults=SCRIPT).body


def test_a_file_system_that_the_builder_lacks_fails_before_anything_is_built(world: World) -> None:
    """The user learns it without a wait for downloads."""
    record = world.build(filesystem="ubifs")

    assert (
        body_of(record)["detail"]
        == "Error: The ImageBuilder of this target makes no ubifs images; it makes squashfs."
    )
    assert world.goals() == ["info"]


def test_a_failed_selection_is_told_to_programs_too(world: World) -> None:
    """The body of a failure lists the packages that cannot be installed, beside the sentence that
    clients show.
    """
    world.script.failures["manifest"] = CommandResult(2, "", CONFLICT)

    body = body_of(world.build())

    assert (
        body["detail"]
        == "Error: Impossible package selection: conflicts (wpad-openssl with wpad-basic-mbedtls)"
    )
    [problem] = body["problems"]
    assert (problem["package"], problem["kind"], problem["suggestion"]) == (
        "wpad-openssl",
        "conflict",
        None,
    )
    assert "too_big" not in body


def test_the_version_tells_whose_words_are_understood(world: World) -> None:
    """A builder of 25.12 fails in the words of apk."""
    world.script.failures["manifest"] = CommandResult(
        2,
        "",
        "ERROR: unable to select packages:\n  nope (no such package):\n    required by:"
        " world[nope]\n",
    )

    body = body_of(world.build(version="25.12.1"))

    assert [(problem["package"], problem["kind"]) for problem in body["problems"]] == [
        ("nope", "missing")
    ]


def test_a_wrong_revision_ends_the_build_before_anything_is_downloaded(world: World) -> None:
    """A client that expects another revision is told both."""
    record = world.build(version_code="r1-aaaa")

    assert "expects r1-aaaa, the ImageBuilder has r28959-29397011cc" in body_of(record)["detail"]
    assert (record.state, record.fault, world.goals()) == (State.FAILED, "user", ["info"])


def test_wrong_package_versions_end_the_build_before_the_image(world: World) -> None:
    """Versions that the client insists on are compared with the manifest."""
    world.script.versions["vim"] = "9.1-r1"

    record = world.build(packages_versions={"vim": "9.0-r1", "dnsmasq": "1.0-r1"})

    assert "vim is 9.1-r1, not 9.0-r1;" in body_of(record)["detail"]
    assert [(problem["package"], problem["kind"]) for problem in body_of(record)["problems"]] == [
        ("vim", "version")
    ]
    assert "manifest" in body_of(record)
    assert world.goals() == ["info", "manifest"]


FAILURES: dict[str, tuple[str, CommandResult | AsuError, str, str, int]] = {
    "selection": ("manifest", CommandResult(2, "", CONFLICT), "impossible-selection", "user", 600),
    "download": (
        "manifest",
        CommandResult(
            2, "", "opkg_download: Failed to download https://x/Packages.gz, wget returned 4.\n"
        ),
        "download-failed",
        "upstream",
        60,
    ),
    "too big": (
        "image",
        CommandResult(0, "", "images are too big by 17 bytes\n"),
        "image-too-big",
        "user",
        600,
    ),
    "script": (
        "image",
        CommandResult(2, "", "postinst script ./x/kmod.postinst has failed with exit code 1\n"),
        "build-failed",
        "user",
        600,
    ),
    "killed": ("image", CommandResult(2, "", "Killed\n"), "build-disrupted", "infra", 60),
    "disk": (
        "image",
        CommandResult(2, "", "write: No space left on device\n"),
        "disk-full",
        "infra",
        60,
    ),
    "podman": (
        "manifest",
        ContainerFailed(reason="podman did not run make"),
        "container-failed",
        "infra",
        60,
    ),
    "info": (
        "info",
        CommandResult(2, "", "make: *** No rule to make target 'info'.  Stop.\n"),
        "builder-incomplete",
        "upstream",
        60,
    ),
    "odd info": ("info", CommandResult(0, "no such thing", ""), "build-failed", "user", 600),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_tells_whose_it_is_and_how_long_it_is_kept(world: World, name: str) -> None:
    """Each failure ends in a 500 with the reason first, its outputs, and a life as long as its
    fault wants.
    """
    goal, result, code, fault, ttl = FAILURES[name]
    world.script.failures[goal] = result

    record = world.build()

    body = body_of(record)
    assert (record.state, record.step, record.fault) == (State.FAILED, "failed", fault)
    assert (body["status"], body["imagebuilder_status"], body["code"], body["fault"]) == (
        500,
        "failed",
        code,
        fault,
    )
    assert body["detail"].startswith("Error: ")
    assert {"stdout", "stderr", "request", "request_hash", "enqueued_at", "title"} <= set(body)
    assert "Traceback" not in record.body.decode()
    assert ("retry_after" in body) == (fault != "user")
    if isinstance(result, CommandResult):
        assert result.stderr in body["stderr"]
    assert not world.store.has(world.key)
    assert world.engine.containers[0].removed
    assert world.records.lifetimes == [ttl]


def test_a_missing_imagebuilder_is_upstreams_fault(world: World) -> None:
    """Without a container image there is nothing to build with, yet."""
    world.engine.has_image = False

    record = world.build()

    assert (body_of(record)["code"], record.fault) == ("imagebuilder-missing", "upstream")
    assert "no ImageBuilder for 24.10.4 and ath79/generic yet" in body_of(record)["detail"]


def test_podman_away_is_our_fault(world: World) -> None:
    """That no engine can be had says nothing about the request."""
    world.ask()

    def engine() -> MemoryEngine:
        raise OSError("no socket")

    world.builder(engine).run()

    assert body_of(world.record())["code"] == "container-failed"


@pytest.mark.parametrize(("step", "deadline"), [("info", 60), ("manifest", 300), ("image", 900)])
def test_a_step_that_takes_too_long_is_stopped(world: World, step: str, deadline: int) -> None:
    """Each make command has a deadline of its own; the failure names it, and the fault is ours."""
    world.script.seconds[step] = deadline + 1

    record = world.build()

    assert (
        body_of(record)["detail"]
        == f"Error: `make {step}` took longer than {deadline} s and was stopped; try again later."
    )
    assert body_of(record)["stderr"].endswith(world.script.noise), "its output shows where it hung"
    assert record.fault == "infra"


def test_an_upgrade_image_that_does_not_fit_is_a_failure(world: World) -> None:
    """That the factory image still fits helps no one who wants to upgrade."""
    world.script.image_types = ("factory",)
    world.script.noise = (
        "WARNING: Image file /builder/tmp/x-squashfs-sysupgrade.bin is too big: 300 > 200\n"
    )

    record = world.build()

    assert "x-squashfs-sysupgrade.bin has 300 bytes, 100 more" in body_of(record)["detail"]
    assert body_of(record)["too_big"] == [
        {
            "image": "x-squashfs-sysupgrade.bin",
            "filesystem": "squashfs",
            "bytes": 300,
            "limit": 200,
            "excess": 100,
        }
    ]
    assert not world.store.has(world.key)


def test_a_build_without_an_image_is_a_failure(world: World) -> None:
    """An exit code of zero and no image is no success."""
    world.script.image_types = ()

    assert (
        body_of(world.build())["detail"]
        == "Error: The ImageBuilder failed: it made no image and gave no reason"
    )


def test_an_image_of_another_device_is_a_failure(world: World) -> None:
    """The facts of one device are never told under the name of another."""
    world.script.builds_profile = "tplink_archer-c7-v4"

    record = world.build()

    assert (
        body_of(record)["detail"]
        == "Error: The ImageBuilder failed: it made no image for tplink_archer-c7-v5"
    )
    assert not world.store.has(world.key)


def test_an_image_that_changed_on_the_way_is_not_published(world: World) -> None:
    """The hash that the builder tells is compared with the bytes that arrived."""
    world.script.wrong_hash = True

    record = world.build()

    assert body_of(record)["code"] == "build-disrupted"
    assert not world.store.has(world.key)


def test_more_output_than_the_store_takes_is_refused_once(tmp_path: Path) -> None:
    """A build cannot fill the disk; the next try would leave as much, so there is none until
    somebody asks again.
    """
    world = new_world(tmp_path, max_output_mb=1, retry_delays=(5, 30))
    big = tarfile.TarInfo(f"{world.key}/big.bin")
    big.size = 2 * 1024 * 1024
    world.script.extra.append((big, b"\0" * big.size))

    record = world.build()

    assert (record.state, body_of(record)["code"], record.fault) == (
        State.FAILED,
        "output-too-large",
        "infra",
    )
    assert "1 MiB; ask for a smaller root file system" in body_of(record)["detail"]
    assert [one["code"] for one in world.tried()] == ["output-too-large"]


def test_a_store_that_fails_leaves_no_half_build(tmp_path: Path) -> None:
    """Where nothing can be published, the workplace is gone and the failure is ours."""
    store = BrokenStore(tmp_path)
    store.open()

    record = World(Settings(store_path=tmp_path, retry_delays=()), store).build()

    assert (body_of(record)["code"], record.fault) == ("store-failed", "infra")
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_a_mistake_of_ours_is_told_without_a_traceback(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever nobody thought of ends as an internal error; the log tells where, and no message,
    which may quote the user.
    """

    def explode() -> None:
        raise ZeroDivisionError(f"secret {SCRIPT} /srv/asu")

    world.script.before["image"] = explode

    record = world.build()

    assert (body_of(record)["code"], record.fault) == ("internal-error", "infra")
    assert b"ZeroDivision" not in record.body
    assert b"/srv/asu" not in record.body
    assert "ZeroDivisionError" in caplog.text
    assert "in explode" in caplog.text
    assert SCRIPT not in caplog.text


@pytest.mark.parametrize("goal", ["info", "manifest", "image"])
def test_a_superseded_attempt_publishes_nothing(world: World, goal: str) -> None:
    """When its lease ran out and another began, the older attempt changes neither record nor
    store.
    """

    def lose() -> None:
        world.records.lose(world.key)
        assert world.records.start_next()

    world.script.before[goal] = lose

    record = world.build()

    assert record.state is State.RUNNING
    assert not world.store.has(world.key)
    assert world.engine.containers[0].removed


def test_a_superseded_failure_is_dropped(world: World) -> None:
    """What an older attempt ran into is not the outcome of the build."""

    def lose() -> None:
        world.records.lose(world.key)

    world.script.before["manifest"] = lose
    world.script.failures["manifest"] = CommandResult(2, "", CONFLICT)

    assert world.build().state is State.QUEUED


@pytest.mark.parametrize("call", ["start", "progress", "renew", "finish"])
def test_a_short_absence_of_redis_costs_no_build(world: World, call: str) -> None:
    """Images that are made are not thrown away because Redis restarts."""
    world.records.away[call] = 1

    assert world.build().state is State.DONE
    assert world.store.has(world.key)


def test_a_build_that_does_not_wait_any_more_is_left_alone(world: World) -> None:
    """A second job for a build that is done starts nothing."""
    world.build()

    world.run()

    assert len(world.engine.containers) == 1


def test_nothing_odd_from_the_records_reaches_the_container(world: World) -> None:
    """A plan that somebody wrote into Redis passes the same admission as a request."""
    fields = BuildRequest(
        version="24.10.4", target="ath79/generic", profile="tplink_archer-c7-v5"
    ).normalised()
    world.claim({**fields, "packages": ["$(touch canary)"]})

    world.run()

    assert world.goals() == ["info"]
    assert body_of(world.record())["code"] == "impossible-selection"


@pytest.mark.parametrize(
    "plan", [{**REQUEST, "packages": ["backdoor"]}, {}, {**REQUEST, "packages": 17}, {"profile": 3}]
)
def test_a_plan_that_does_not_lead_to_its_key_is_not_built(
    tmp_path: Path, plan: dict[str, Any]
) -> None:
    """Whoever can write it, into Redis or into a store that records are made from, has nothing else
    built under somebody's key.
    """
    world = new_world(tmp_path, retry_delays=(1.0,))
    world.claim(plan, key=KEY)

    world.run()

    record = world.record()
    assert (record.state, record.fault, body_of(record)["code"]) == (
        State.FAILED,
        "infra",
        "plan-unusable",
    )
    assert (world.engine.containers, world.engine.pinned) == ([], [])
    assert not world.store.has(KEY)
    assert record.is_retried, "who asks for the build again brings the right plan"


def test_a_build_does_not_begin_on_a_disk_that_is_full(tmp_path: Path) -> None:
    """It would fail at its end; nobody waits for that, and the next request may find room."""
    world = new_world(tmp_path, disk_reserve_mb=1024**3)

    record = world.build()

    assert (record.state, record.fault, body_of(record)["code"]) == (
        State.FAILED,
        "infra",
        "disk-full",
    )
    assert "too full for new builds" in body_of(record)["detail"]
    assert (world.engine.containers, list((tmp_path / ".incoming").iterdir())) == ([], [])
