"""One build that ends well: its steps, its answer, its images."""

from __future__ import annotations

import hashlib
import json
import tarfile
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asu.records.build_record import State
from asu.stores.manifest import MANIFEST, read_manifest
from asu.worker.container import CommandResult
from tests.stored import stored_bytes
from tests.unit.job_world import ENQUEUED, SCRIPT, World, body_of, new_world

if TYPE_CHECKING:
    from pathlib import Path

STEPS = [
    "init",
    "container_setup",
    "validate_revision",
    "validate_manifest",
    "building_image",
    "signing_images",
    "done",
]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a world with an empty store."""
    return new_world(tmp_path)


def test_a_build_shows_its_steps_in_order_and_ends_done(world: World) -> None:
    """Those who poll see the steps of the closed vocabulary, one after the other."""
    record = world.build()

    assert ["init", *world.records.steps, record.step] == STEPS
    assert record.state is State.DONE
    assert world.goals() == ["info", "manifest", "prepare_rootfs"]


def test_a_builder_image_is_asked_once_what_it_can_build(world: World) -> None:
    """`make info` depends on the image alone; another image of the same name is asked again."""
    world.build()
    world.build(packages=["tmux"])
    assert world.goals() == ["info", "manifest", "prepare_rootfs", "manifest", "prepare_rootfs"]

    world.script.revision = "r1-0123456789"
    assert world.build(packages=["nano"]).state is State.DONE
    assert world.goals()[5:] == ["info", "manifest", "prepare_rootfs"]


def test_what_was_kept_of_a_builder_and_is_broken_is_asked_for_again(world: World) -> None:
    """A disk may lose the end of a file."""
    world.build()
    for kept in (world.settings.store_path / ".builders").iterdir():
        kept.write_bytes(kept.read_bytes()[:-20])

    assert world.build(packages=["tmux"]).state is State.DONE
    assert world.goals()[3:] == ["info", "manifest", "prepare_rootfs"]


def test_each_step_is_a_complete_answer(world: World) -> None:
    """What pollers get on the way is a 202 that never says done, with what is known so far."""
    world.build()

    bodies = [json.loads(body) for body in world.records.bodies]
    assert all(
        (body["status"], body["detail"], body["request_hash"], body["enqueued_at"])
        == (202, "started", world.key, ENQUEUED)
        for body in bodies
    )
    assert [body["imagebuilder_status"] for body in bodies] == STEPS[1:-1]
    assert not any("stdout" in body for body in bodies)
    assert "manifest" not in bodies[2]
    assert bodies[3]["manifest"] == bodies[4]["manifest"]


def test_the_answer_has_all_that_clients_read(world: World) -> None:
    """Every field that a known client reads from a finished build is there, in the type that it
    expects.
    """
    body = body_of(world.build(packages=["vim", "-dnsmasq"], version_code="r28959-29397011cc"))

    assert body["status"] == 200
    assert body["detail"] == body["imagebuilder_status"] == "done"
    assert body["request_hash"] == body["bin_dir"] == world.key
    assert body["id"] == "tplink_archer-c7-v5"
    assert body["target"] == "ath79/generic"
    assert (body["version_number"], body["version_code"], body["metadata_version"]) == (
        "24.10.4",
        "r28959-29397011cc",
        1,
    )
    assert body["titles"] == [{"vendor": "TP-Link", "model": "Archer C7", "variant": "v5"}]
    assert body["manifest"] == {"base-files": "1.0-r1", "kmod-usb2": "1.0-r1", "vim": "1.0-r1"}
    assert body["build_at"] == "2025-10-19T16:37:45Z"
    assert body["enqueued_at"] == ENQUEUED
    assert body["build_cmd"][:4] == [
        "make",
        "image",
        "PROFILE=tplink_archer-c7-v5",
        "PACKAGES=-dnsmasq vim",
    ]
    assert body["build_cmd_packages"] == ["-dnsmasq", "vim"]
    assert {"version_code", "rootfs_size_mb", "defaults"} <= set(body["request"])
    assert [set(image) for image in body["images"]] == [
        {"filesystem", "name", "sha256", "sha256_unsigned", "type"}
    ] * 2
    assert "Calculating checksums" in body["stdout"]
    assert "Building package index" in body["stderr"]
    assert "profiles" not in body


def test_of_what_a_good_build_printed_the_two_ends_are_kept(world: World) -> None:
    """The rest would fill the memory of Redis for a day; a failure keeps all of it, for the mistake
    may lie anywhere.
    """
    printed = [f"Installing package {number}" for number in range(4_000)]
    world.script.noise = "\n".join(printed)
    good = body_of(world.build())
    world.script.failures["image"] = CommandResult(2, "", world.script.noise)
    failed = body_of(world.build())

    assert len(json.dumps(good)) < 8_000
    assert good["stderr"].startswith(printed[0])
    assert good["stderr"].endswith(printed[-1])
    assert "bytes left out" in good["stderr"]
    assert all(line in failed["stderr"] for line in printed)


def test_the_images_are_published_as_they_were_made(world: World) -> None:
    """Each image of the answer lies in the store, with the hash that the answer tells."""
    body = body_of(world.build())

    for image in body["images"]:
        content = stored_bytes(world.store, world.key, image["name"])
        assert hashlib.sha256(content).hexdigest() == image["sha256"]


def test_odd_members_of_the_output_are_not_published(world: World) -> None:
    """A link in the builder's output directory leads nowhere in the store."""
    link = tarfile.TarInfo(f"{world.key}/evil.bin")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    world.script.extra.append((link, b""))

    record = world.build()

    assert record.state is State.DONE
    assert world.store.find(world.key, "evil.bin") is None


def test_the_container_is_removed_after_the_outcome_stands(world: World) -> None:
    """Nobody waits for the removal, and nothing stays behind."""
    seen: list[State] = []
    world.script.before["remove"] = lambda: seen.append(world.record().state)

    world.build()

    assert seen == [State.DONE]
    assert world.engine.containers[0].removed


def test_the_first_boot_script_is_a_file_and_is_never_told(world: World) -> None:
    """The script reaches the image as an executable file, and neither a step nor the answer repeats
    it.
    """
    record = world.build(defaults=SCRIPT)

    assert world.engine.containers[0].files == {
        "asu-files/etc/uci-defaults/99-asu-defaults": (SCRIPT.encode(), 0o755)
    }
    assert "FILES=asu-files" in body_of(record)["build_cmd"]
    assert body_of(record)["request"]["defaults"] == "(withheld)"
    assert not any(b"do not tell" in body for body in [*world.records.bodies, record.body])


def test_no_first_boot_script_means_no_files(world: World) -> None:
    """Without a script nothing is put into the container."""
    record = world.build()

    assert world.engine.containers[0].files == {}
    assert not any(word.startswith("FILES=") for word in body_of(record)["build_cmd"])


def test_packages_are_installed_once(world: World) -> None:
    """After the manifest only the remaining steps are run, with the values of `make image`."""
    body = body_of(world.build(defaults=SCRIPT, rootfs_size_mb=64))

    profile, packages, *_ = (word.partition("=")[2] for word in body["build_cmd"][2:])
    assert body["build_cmd"][:2] == ["make", "image"]
    assert body["image_cmd"] == [
        "make",
        "-s",
        "prepare_rootfs",
        "build_image",
        "json_overview_image_info",
        "checksum",
        f"USER_PROFILE=DEVICE_{profile}",
        f"USER_PACKAGES={packages}",
        f"EXTRA_IMAGE_NAME={world.key[:12]}",
        f"BIN_DIR=/builder/{world.key}",
        "CONFIG_TARGET_ROOTFS_PARTSIZE=64",
        "USER_FILES=asu-files",
    ]
    assert world.engine.containers[0].commands[-1] == body["image_cmd"]


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ("\t$(MAKE) -s checksum\n", "\t$(MAKE) -s checksum\n\t$(MAKE) -s sign\n"),
        ("\t$(MAKE) -s json_overview_image_info\n", ""),
        ("$(MAKE) package_install >/dev/null", "$(APK) add --simulate"),
        ("$(MAKE) package_install\n", "$(OPKG) install\n"),
        ('USER_FILES="$(FILES)"', 'COPY_FILES="$(FILES)"'),
        ('CONFIG_TARGET_ROOTFS_PARTSIZE="$(ROOTFS_PARTSIZE)"', 'SIZE="$(ROOTFS_PARTSIZE)"'),
        ('USER_PROFILE="$(PROFILE_FILTER)"', 'USER_PROFILE="$(PROFILE)"'),
        ("_call_image:", "_make_image:"),
    ],
    ids=[
        "another step",
        "a step less",
        "the manifest installs nothing",
        "the image installs otherwise",
        "other name for files",
        "other name for the size",
        "other name for the profile",
        "no such rule",
    ],
)
def test_a_builder_with_another_makefile_runs_make_image(
    world: World, line: str, other: str
) -> None:
    """What is not known of a builder's steps is left to the builder; packages are installed
    twice.
    """
    assert line in world.script.makefile
    world.script.makefile = world.script.makefile.replace(line, other)

    body = body_of(world.build())

    assert world.goals() == ["info", "manifest", "image"]
    assert body["image_cmd"] == body["build_cmd"]


def test_a_chosen_file_system_is_set_before_the_image_is_made(world: World) -> None:
    """The builder's configuration is changed before anything is downloaded."""
    world.build(filesystem="squashfs")

    commands = [
        command[0] if command[0] != "make" else command[1]
        for command in world.engine.containers[0].commands
    ]
    assert commands == ["info", "tail", "grep", "sed", "manifest", "find", "-s"]


def test_an_absolute_list_is_handed_to_make_with_its_removals(world: World) -> None:
    """diff_packages becomes explicit: each default that is not wanted is taken away."""
    body = body_of(world.build(packages=["base-files", "vim"], diff_packages=True))

    assert body["build_cmd"][3] == "PACKAGES=-dnsmasq -kmod-usb2 base-files vim"
    assert set(body["manifest"]) == {"base-files", "vim"}


@pytest.mark.parametrize(
    ("version", "moving"), [("24.10.4", False), ("SNAPSHOT", True), ("24.10-SNAPSHOT", True)]
)
def test_images_of_snapshots_move(world: World, version: str, *, moving: bool) -> None:
    """A release's container image stays what it is, a snapshot's is to be looked for anew."""
    world.build(version=version)

    assert list(world.engine.images.values()) == [moving]


@pytest.mark.parametrize(
    ("version", "defaults", "ttl"),
    [
        ("24.10.4", None, 86_400),
        ("SNAPSHOT", None, 3_600),
        ("24.10-SNAPSHOT", None, 3_600),
        ("24.10.4", SCRIPT, 1_800),
        ("SNAPSHOT", SCRIPT, 1_800),
    ],
)
def test_a_finished_build_is_remembered(
    world: World, version: str, defaults: str | None, ttl: int
) -> None:
    """Releases for long; snapshots change, and a first-boot script is of use to one device only."""
    world.build(version=version, defaults=defaults)

    assert world.records.lifetimes == [ttl]


def test_disk_images_of_an_archive_are_not_told(world: World) -> None:
    """What 25.12 makes by mistake, and starts nothing, is in no answer."""
    world.script.filesystem_of["factory"] = "targz"

    assert [image["type"] for image in body_of(world.build())["images"]] == ["sysupgrade"]


def test_the_least_lifetime_counts(tmp_path: Path) -> None:
    """A script lengthens no life."""
    world = new_world(tmp_path, build_ttl=900, build_defaults_ttl=1_800)
    world.build(defaults=SCRIPT)

    assert world.records.lifetimes == [900]


def test_record_and_files_share_one_lifetime(world: World, tmp_path: Path) -> None:
    """The manifest beside the files tells when the record ends."""
    world.build(version="SNAPSHOT")

    manifest = read_manifest((tmp_path / world.key / MANIFEST).read_bytes(), world.key)
    assert manifest is not None
    assert manifest.expires - manifest.published == timedelta(seconds=world.records.lifetimes[0])
    assert {image["name"] for image in body_of(world.record())["images"]} <= {
        file.name for file in manifest.files
    }
