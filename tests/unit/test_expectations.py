"""An ImageBuilder that is not what the request expects: whoever has the older of the two is to
blame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.job_world import World, body_of, new_world

if TYPE_CHECKING:
    from pathlib import Path

HAD = "r28959-29397011cc"  # The builder's.
MOVING = "23.05-SNAPSHOT"  # A builder that becomes another each day; that of a release never does.


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world with an empty store."""
    return new_world(tmp_path)


@pytest.mark.parametrize(
    "expected", ["r28960-0425664679", "r100000-0425664679", "r28959+1-0425664679", "r28960"]
)
def test_a_builder_older_than_what_is_expected_is_upstreams(world: World, expected: str) -> None:
    """The user has the newer list of versions, so reloading it would not help; the failure is soon
    forgotten, and asking again later does.
    """
    record = world.build(version=MOVING, version_code=expected)

    body = body_of(record)
    assert (record.fault, body["code"], body["status"]) == ("upstream", "builder-outdated", 500)
    assert (
        f"Received inconsistent revision: the request expects {expected}, the ImageBuilder has"
        f" {HAD};" in body["detail"]
    )
    assert "reload" not in body["detail"]
    assert body["retry_after"] == 600
    assert world.records.lifetimes == [world.settings.retry_failure_ttl]
    assert world.goals() == ["info"]


@pytest.mark.parametrize(
    "expected",
    [
        "r28958-0425664679",
        "r9999-0425664679",
        "r28959-0425664679",
        "r1",
        "0425664679",
        "r-1",
        "r28960x",
        "R28960-a",
    ],
)
@pytest.mark.parametrize("version", [MOVING, "24.10.4"])
def test_a_list_of_yesterday_is_the_users(world: World, version: str, expected: str) -> None:
    """So is what cannot be compared: trying again would end in the same way."""
    record = world.build(version=version, version_code=expected)

    assert (record.fault, body_of(record)["code"]) == ("user", "wrong-revision")
    assert world.records.lifetimes == [world.settings.build_failure_ttl]


@pytest.mark.parametrize("pull_fails", [False, True])
# As below.
def test_a_release_is_never_another_later(world: World, pull_fails: bool) -> None:  # noqa: FBT001
    """Whoever expects a newer revision of it asks for what there is not."""
    world.engine.pull_fails = pull_fails

    record = world.build(version="24.10.4", version_code="r99999-0425664679")

    assert (record.fault, body_of(record)["code"]) == ("user", "wrong-revision")


@pytest.mark.parametrize("revision", ["unknown", "28958", ""])
def test_a_builder_that_does_not_say_how_old_it_is_blames_nobody_else(
    world: World, revision: str
) -> None:
    """Somebody's own builder may have any revision."""
    world.script.revision = revision

    assert (
        body_of(world.build(version=MOVING, version_code="r28960-0425664679"))["code"]
        == "wrong-revision"
    )


def test_a_builder_that_could_not_be_renewed_is_ours(world: World) -> None:
    """The old copy is better than nothing for most, and who needs the newer one learns why there is
    none.
    """
    world.engine.pull_fails = True

    record = world.build(version=MOVING, version_code="r28960-0425664679")

    body = body_of(record)
    assert (record.fault, body["code"], body["status"]) == ("infra", "builder-not-renewed", 500)
    assert (
        f"the ImageBuilder has {HAD}; this server's ImageBuilder is old, and a newer one could"
        " not be had" in body["detail"]
    )
    assert world.records.lifetimes == [world.settings.retry_failure_ttl]


def test_a_snapshot_that_fetches_its_builder_is_upstreams(world: World) -> None:
    """However old the image is that only fetches it, and whether or not it could be pulled anew:
    what it fetched is today's.
    """
    world.script.needs_setup, world.engine.pull_fails = True, True

    assert (
        body_of(world.build(version="SNAPSHOT", version_code="r28960-0425664679"))["code"]
        == "builder-outdated"
    )
    world.script.needs_setup = False
    assert (
        body_of(world.build(version=MOVING, version_code="r28960-0425664679"))["code"]
        == "builder-not-renewed"
    )


@pytest.mark.parametrize(
    ("expected", "told"), [("r1-aaaa", "wrong-revision"), (HAD, None), ("", None)]
)
def test_a_failed_pull_matters_to_nobody_else(
    world: World, expected: str, told: str | None
) -> None:
    """Neither to those for whom the old copy is good, nor to those whose list is older still."""
    world.engine.pull_fails = True

    assert body_of(world.build(version=MOVING, version_code=expected)).get("code") == told


@pytest.mark.parametrize(
    ("wanted", "pull_fails", "fault", "code"),
    [
        ({"vim": "9.2-r1"}, False, "upstream", "builder-outdated"),
        ({"vim": "9.1-r10", "dnsmasq": "2.0-r1"}, False, "upstream", "builder-outdated"),
        ({"vim": "9.2-r1"}, True, "upstream", "builder-outdated"),
        ({"vim": "9.2-r1", "kmod-usb2": "6.7-r1"}, True, "upstream", "builder-outdated"),
        ({"base-files": "1651-r1", "kmod-usb2": "6.7-r1"}, True, "infra", "builder-not-renewed"),
        ({"base-files": "1651-r1", "kmod-usb2": "6.7-r1"}, False, "upstream", "builder-outdated"),
        ({"vim": "9.0-r1", "dnsmasq": "2.0-r1"}, False, "user", "wrong-package-versions"),
        ({"vim": "9.2-r1", "no-such": "1"}, False, "user", "wrong-package-versions"),
        ({"vim": "9.0-r1"}, True, "user", "wrong-package-versions"),
    ],
)
def test_versions_that_are_not_there_yet_are_no_fault_of_the_user(
    world: World,
    wanted: dict[str, str],
    pull_fails: bool,  # noqa: FBT001  # pytest passes parameters by name.
    fault: str,
    code: str,
) -> None:
    """Where each package is older in the image than its user has seen it; what cannot be had at all
    is left out by the user alone.

    That a newer builder was not pulled explains only what comes with the builder; the feeds are
    upstream's.
    """
    world.script.versions |= {"vim": "9.1-r2", "base-files": "1650-r1", "kmod-usb2": "6.6-r1"}
    world.engine.pull_fails = pull_fails

    record = world.build(packages_versions=wanted)

    body = body_of(record)
    assert (record.fault, body["code"]) == (fault, code)
    assert "Impossible package selection: " in body["detail"]
    assert {problem["package"] for problem in body["problems"]} == set(wanted)
    assert world.goals() == ["info", "manifest"]
