"""Snapshot builders that unpack themselves: when that is asked for, with what, and what it means
when it fails.
"""

from pathlib import Path

import pytest

from asu.errors import AsuError, ContainerFailed, DownloadFailed, ImageBuilderMissing
from asu.records.build_record import State
from asu.worker.builder_image import BuilderImage
from asu.worker.builder_steps import setup_command, setup_failure
from asu.worker.container import CommandResult
from tests.unit.job_world import World, body_of, new_world

IMAGE = BuilderImage(
    name="registry.example/imagebuilder:x86-64-master",
    version="SNAPSHOT",
    target="x86/64",
    is_moving=True,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a worker whose builder has to be unpacked first, with a downloads server for
    containers.
    """
    world = new_world(
        tmp_path / "store",
        upstream_url="http://cache.example",
        builder_upstream_url="http://10.0.0.1:8002/",
    )
    world.script.needs_setup = True
    return world


@pytest.mark.parametrize(
    ("version", "path"), [("SNAPSHOT", "snapshots"), ("24.10-SNAPSHOT", "releases/24.10-SNAPSHOT")]
)
def test_a_snapshot_is_unpacked_before_it_is_asked(world: World, version: str, path: str) -> None:
    """The builder comes from where containers find the downloads server, for the target that is
    wanted.
    """
    record = world.build(version=version)

    assert record.state is State.DONE
    commands = world.engine.containers[0].commands
    assert commands[:3] == [
        ["test", "-e", "/builder/Makefile"],
        [
            "env",
            "UPSTREAM_URL=http://10.0.0.1:8002",
            f"VERSION_PATH={path}",
            "TARGET=ath79/generic",
            "sh",
            "setup.sh",
        ],
        ["make", "info"],
    ]
    assert set(body_of(record)["make_seconds"]) == {"setup", "info", "manifest", "image"}


def test_feeds_of_a_builder_that_was_fetched_may_be_reached(world: World) -> None:
    """Nobody knew them when the container was started; they are let in before anything is
    downloaded, and those of the request were before.
    """
    reached: list[list[str]] = []
    world.script.before["manifest"] = lambda: reached.append(list(world.engine.containers[0].feeds))

    world.build(
        version="24.10-SNAPSHOT",
        repositories={"own": "https://feeds.example/own"},
        repositories_mode="append",
    )

    assert reached == [["https://feeds.example/own", "https://mirror.example/base"]]


def test_a_snapshot_that_is_whole_is_left_alone(world: World) -> None:
    """Branches before 24.10 ship their snapshots unpacked."""
    world.script.needs_setup = False

    assert world.build(version="23.05-SNAPSHOT").state is State.DONE
    assert not any("setup.sh" in command for command in world.engine.containers[0].commands)


def test_a_release_is_not_even_looked_at(world: World) -> None:
    """Its image is complete, and a look costs a tenth of a second."""
    world.script.needs_setup = False
    world.build()

    assert world.engine.containers[0].commands[0] == ["make", "info"]


def test_without_an_address_of_their_own_containers_use_the_servers(tmp_path: Path) -> None:
    """Where both reach the downloads server alike, one setting is enough."""
    world = new_world(tmp_path / "store", upstream_url="http://downloads.example")
    world.script.needs_setup = True
    world.build(version="SNAPSHOT")

    assert world.engine.containers[0].commands[1] == setup_command(
        BuilderImage(name="", version="SNAPSHOT", target="ath79/generic"),
        "http://downloads.example",
    )


def test_a_failure_to_unpack_tells_what_was_said(world: World) -> None:
    """Whoever looks for the reason finds the script's words; nothing is built, and the next request
    tries again.
    """
    world.script.failures["env"] = CommandResult(4, "", "failed: Network is unreachable.\n")
    body = body_of(world.build(version="SNAPSHOT"))

    assert (body["code"], body["fault"], body["stderr"]) == (
        "download-failed",
        "upstream",
        "failed: Network is unreachable.\n",
    )
    assert world.goals() == []


FAILURES: dict[str, tuple[CommandResult, type[AsuError], str]] = {
    "not published": (
        CommandResult(8, "", "ERROR 404: Not Found."),
        ImageBuilderMissing,
        "for SNAPSHOT and x86/64 yet",
    ),
    "server broken": (
        CommandResult(8, "", "ERROR 503: Service Unavailable."),
        DownloadFailed,
        "exit code 8",
    ),
    "no network": (
        CommandResult(4, "", "failed: Name or service not known."),
        DownloadFailed,
        "cannot be reached from the build container",
    ),
    "bad signature": (
        CommandResult(1, "", "gpg: BAD signature from OpenWrt"),
        DownloadFailed,
        "not signed as it should be",
    ),
    "half an archive": (
        CommandResult(
            1, "x.tar.zst: FAILED", "sha256sum: WARNING: 1 computed checksum did NOT match"
        ),
        DownloadFailed,
        "not whole",
    ),
    "another image": (
        CommandResult(2, "", "sh: 0: cannot open setup.sh: No such file"),
        ContainerFailed,
        "neither an ImageBuilder nor the script",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_a_failure_means(name: str) -> None:
    """It is upstream's or ours, never the user's, and says so in words of its own."""
    result, kind, words = FAILURES[name]

    error = setup_failure(result, IMAGE)

    assert type(error) is kind
    assert error.fault != "user"
    assert words in error.detail
