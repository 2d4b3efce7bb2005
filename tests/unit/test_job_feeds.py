"""One build with feeds of its own: where they and their keys are put, and what happens when one
cannot be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asu.records.build_record import State
from asu.worker.container import CommandResult
from tests.unit.job_world import World, body_of, new_world

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world with an empty store."""
    return new_world(tmp_path)


def test_feeds_and_keys_are_in_their_places_before_anything_is_downloaded(world: World) -> None:
    """The builder's list is read, completed and written back, and each key has a file, before the
    manifest.
    """
    key = "RWQBI0VniavN7wABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

    record = world.build(
        repositories={"own": "https://feeds.example/own"},
        repositories_mode="append",
        repository_keys=[key],
    )

    [container] = world.engine.containers
    assert record.state is State.DONE, record.body
    assert container.files["repositories.conf"] == (
        f"src/gz own https://feeds.example/own\n{world.script.repositories}".encode(),
        0o644,
    )
    assert container.files["keys/0123456789abcdef"][0].endswith(f"\n{key}\n".encode())
    commands = [command[:2] for command in container.commands]
    assert commands[:4] == [
        ["make", "info"],
        ["tail", "-v"],
        ["ls", "/builder/keys"],
        ["make", "manifest"],
    ]


def test_the_container_is_started_for_its_feeds(world: World) -> None:
    """Its network is closed to all but what is named at its start."""
    world.build(repositories={"own": "https://feeds.example/own"})

    assert world.engine.containers[0].feeds == ["https://feeds.example/own"]


def test_no_feeds_leave_the_builders_list_alone(world: World) -> None:
    """Without feeds of its own a request replaces nothing, whatever its mode."""
    world.build(repositories_mode="replace")

    assert world.engine.containers[0].files == {}


def test_apks_feeds_stand_in_apks_list(world: World) -> None:
    """From 25.12 on the list is a plain one of indexes."""
    world.script.repositories = "https://mirror.example/base/packages.adb\n"

    world.build(version="25.12.1", repositories={"own": "https://feeds.example/own"})

    assert world.engine.containers[0].files["repositories"] == (
        b"https://feeds.example/own/packages.adb\n",
        0o644,
    )


def test_a_feed_that_cannot_be_used_ends_the_build(world: World) -> None:
    """Packages from elsewhere are not what was asked for, although the builder is content with
    them.
    """
    world.script.unusable_feeds = ("own",)

    record = world.build(
        repositories={"own": "https://feeds.example/own", "second": "https://feeds.example/second"}
    )

    assert (body_of(record)["code"], record.fault, world.goals()) == (
        "feed-unusable",
        "upstream",
        ["info", "manifest"],
    )
    assert "own (https://feeds.example/own) cannot be downloaded" in body_of(record)["detail"]
    assert "second" not in body_of(record)["detail"]
    assert world.records.lifetimes == [world.settings.retry_failure_ttl]


def test_a_feed_that_goes_away_between_manifest_and_image_ends_the_build(world: World) -> None:
    """Where packages are installed twice, the image might hold other ones than the manifest."""
    world.script.makefile = ""

    def lose() -> None:
        world.script.unusable_feeds = ("own",)

    world.script.before["image"] = lose

    record = world.build(repositories={"own": "https://feeds.example/own"})

    assert (body_of(record)["code"], world.goals()) == (
        "feed-unusable",
        ["info", "manifest", "image"],
    )
    assert not world.store.has(world.key)


def test_a_feed_that_goes_away_after_the_install_changes_nothing(world: World) -> None:
    """Where packages are installed once, no feed is read for the image."""

    def lose() -> None:
        world.script.unusable_feeds = ("own",)

    world.script.before["image"] = lose

    assert world.build(repositories={"own": "https://feeds.example/own"}).state is State.DONE


def test_a_list_of_feeds_that_cannot_be_read_is_our_trouble(world: World) -> None:
    """A list of which the middle was dropped would be written back with a hole."""
    world.script.repositories = "src/gz x https://mirror.example/x\n" * 4_000

    assert (
        body_of(world.build(repositories={"own": "https://feeds.example/own"}))["code"]
        == "container-failed"
    )


def test_a_builder_without_a_list_of_feeds_is_our_trouble(world: World) -> None:
    """What is not there cannot be completed, and says nothing about the request."""
    world.script.failures["tail"] = CommandResult(
        1, "", "tail: cannot open '/builder/repositories.conf' for reading: No such file\n"
    )

    assert (
        body_of(world.build(repositories={"own": "https://feeds.example/own"}))["code"]
        == "container-failed"
    )


def test_the_builders_own_keys_stay_as_they_are(world: World) -> None:
    """By those OpenWrt's feeds are trusted; anybody may write their fingerprint into another
    key.
    """
    key = "RWQBI0VniavN7wABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    world.script.keys = ("0123456789abcdef", "d310c6f2833e97f7")

    world.build(
        repositories={"own": "https://feeds.example/own"},
        repositories_mode="append",
        repository_keys=[key],
    )

    assert "keys/0123456789abcdef" not in world.engine.containers[0].files


def test_keys_without_feeds_reach_no_builder(world: World) -> None:
    """They could only take something away."""
    world.build(repository_keys=["RWQBI0VniavN7wABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"])

    assert not any(path.startswith("keys/") for path in world.engine.containers[0].files)


def test_a_feed_with_another_key_is_tried_once_and_not_waited_for(world: World) -> None:
    """The words stand in the builder's output before it installs anything."""
    world.script.failures["manifest"] = CommandResult(
        0,
        "",
        "Downloading https://feeds.example/own/Packages.gz\nUpdated list of available packages\n"
        "Downloading https://feeds.example/own/Packages.sig\nSignature check failed.\n",
    )

    record = world.build(repositories={"own": "https://feeds.example/own"})

    assert (body_of(record)["code"], record.fault) == ("feed-untrusted", "user")
    assert len(world.engine.containers) == 1
