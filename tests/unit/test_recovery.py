"""Redis was lost: what becomes of the builds in the store."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asu.records.build_record import BuildRecord, Revived, State
from asu.stores.manifest import ACCOUNT, MANIFEST
from asu.worker.recovery import Recovered, recover
from tests.twins.imitated_records import ImitatedRecords
from tests.unit.job_world import SCRIPT, World, body_of, new_world

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a worker's world with an empty store."""
    return new_world(tmp_path)


def recovered(world: World, records: ImitatedRecords) -> Recovered:
    """Recover into records."""
    return recover(world.store, records)


def look(records: ImitatedRecords, key: str) -> BuildRecord | None:
    """Return the record of a build."""
    return asyncio.run(records.look(key))


def test_a_finished_build_is_answered_as_before(world: World) -> None:
    """Word for word, but for the order of keys; and when its files vanish it is built again from
    the same request.
    """
    before, records = world.build(packages=["vim"]), ImitatedRecords()

    told = recovered(world, records)

    after = look(records, world.key)
    assert after
    assert (told.restored, told.known, told.refused) == ([world.key], [], {})
    assert (after.state, after.step, body_of(after)) == (State.DONE, "done", body_of(before))
    assert asyncio.run(records.revive(world.key)) is Revived.QUEUED
    attempt = records.start_next()
    assert attempt
    assert attempt.plan["request"]["packages"] == ["vim"]


def test_doing_it_twice_changes_nothing(world: World) -> None:
    """The second time each build is known."""
    world.build()
    records = ImitatedRecords()
    recovered(world, records)

    assert recovered(world, records).in_words() == "0 restored, 1 known already, 0 left alone\n"


def test_a_build_that_was_asked_for_again_meanwhile_is_left_alone(world: World) -> None:
    """Its record is newer than what lies in the store."""
    world.build()
    later = new_world(world.settings.store_path)
    later.ask()

    assert recovered(world, later.records).known == [world.key]
    assert later.record().state is State.QUEUED


def test_a_record_ends_when_it_would_have_ended(world: World) -> None:
    """Its life is not prolonged by the loss."""
    world.build()
    change_manifest(
        world,
        lambda values: (
            values | {"expires": (datetime.now(UTC) + timedelta(seconds=500)).isoformat()}
        ),
    )
    records = ImitatedRecords()
    recovered(world, records)
    records.let_pass(490)
    assert look(records, world.key)
    records.let_pass(11)

    assert look(records, world.key) is None


def change_manifest(world: World, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    """Change what the store says of the build."""
    path = world.settings.store_path / world.key / MANIFEST
    path.write_text(json.dumps(change(json.loads(path.read_bytes()))), encoding="utf-8")


def test_a_first_boot_script_is_not_in_the_store(world: World) -> None:
    """What was built with one is served to its end, and cannot be built again."""
    world.build(defaults=SCRIPT)
    lying = [
        path
        for path in (world.settings.store_path / world.key).iterdir()
        if path.name.startswith(".") or path.suffix == ".json"
    ]
    assert not any(b"do not tell" in path.read_bytes() for path in lying)
    records = ImitatedRecords()

    assert recovered(world, records).restored == [world.key]
    assert asyncio.run(records.revive(world.key)) is Revived.NOT_DONE
    restored = look(records, world.key)
    assert restored
    assert body_of(restored)["request"]["defaults"] == "(withheld)"


def end_its_life(world: World) -> None:
    """Let the build be over."""
    change_manifest(world, lambda values: values | {"expires": values["published"]})


def damage_the_manifest(world: World) -> None:
    """Write half of it."""
    (world.settings.store_path / world.key / MANIFEST).write_text("{", encoding="utf-8")


def take_an_image(world: World) -> None:
    """Remove one of the images."""
    next((world.settings.store_path / world.key).glob("*sysupgrade*")).unlink()


def take_the_account(world: World) -> None:
    """Leave the build as an earlier version published it."""
    (world.settings.store_path / world.key / ACCOUNT).unlink()


def change_an_image_in_the_account(world: World) -> None:
    """Let it promise what is not there."""
    path = world.settings.store_path / world.key / ACCOUNT
    values = json.loads(path.read_bytes())
    values["body"]["images"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(values), encoding="utf-8")


def name_another_build_in_the_account(world: World) -> None:
    """Let it be of another build."""
    path = world.settings.store_path / world.key / ACCOUNT
    path.write_bytes(path.read_bytes().replace(world.key.encode(), b"0" * 64))


def ask_for_something_else_in_the_account(world: World) -> None:
    """Let the right key stand over another request, which would be built should the images
    vanish.
    """
    path = world.settings.store_path / world.key / ACCOUNT
    values = json.loads(path.read_bytes())
    values["plan"]["request"]["packages"] = ["backdoor"]
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (end_its_life, "its lifetime has ended"),
        (damage_the_manifest, "its manifest is missing"),
        (take_an_image, "not all of its files are there"),
        (take_the_account, "no record lies with it"),
        (name_another_build_in_the_account, "no record lies with it"),
        (ask_for_something_else_in_the_account, "no record lies with it"),
        (change_an_image_in_the_account, "its record names other images"),
    ],
)
def test_what_cannot_be_trusted_is_left_alone_and_told(
    world: World, harm: Callable[[World], None], reason: str
) -> None:
    """A record that promises what is not there would be worse than none."""
    world.build()
    harm(world)
    records = ImitatedRecords()

    told = recovered(world, records)

    assert reason in told.refused[world.key]
    assert told.in_words().startswith(f"build {world.key}: left alone, ")
    assert look(records, world.key) is None
