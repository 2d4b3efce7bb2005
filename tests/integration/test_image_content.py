"""Builds through the real make in a real container: what is in the images, opened with
unsquashfs.
"""

from __future__ import annotations

import gzip
import hashlib
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from asu.provenance.envelope import PROVENANCE_FILE
from asu.stores.manifest import ACCOUNT, MANIFEST
from tests.integration.podman_world import APK, OPKG
from tests.requirements import required_program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.worker_world import WorkerWorld

SCRIPT = "uci set system.@system[0].hostname='rooftop'\nuci commit\n"
FIRST_BOOT = "etc/uci-defaults/99-asu-defaults"
DEVICE = "tplink_archer-c7-v5"


def opened(image: Path, directory: Path) -> Path:
    """Return the root file system of an image, unpacked."""
    if image.suffix == ".gz":
        unzipped = directory / "image"
        unzipped.write_bytes(gzip.decompress(image.read_bytes()))
        image = unzipped
    root = directory / "root"
    subprocess.run(
        [required_program("unsquashfs"), "-no-xattrs", "-quiet", "-dest", root, image],
        check=True,
        capture_output=True,
    )
    return root


def has(root: Path, package: str) -> bool:
    """Whether a package was installed into a root file system, by the record of either package
    manager.
    """
    databases = [root / "usr/lib/opkg/status", root / "lib/apk/db/installed"]
    lines = {
        line
        for database in databases
        if database.exists()
        for line in database.read_text().splitlines()
    }
    return not lines.isdisjoint({f"Package: {package}", f"P:{package}"})


@pytest.mark.parametrize("version", [OPKG, APK])
def test_the_image_holds_what_was_asked_for(
    worker: WorkerWorld, tmp_path: Path, version: str
) -> None:
    """Added packages and the first-boot script are in the image, removed defaults are not, the
    other defaults are.
    """
    body = worker.build(
        version=version,
        target="ath79/generic",
        profile=DEVICE,
        packages=["tmux", "-ppp", "-ppp-mod-pppoe"],
        defaults=SCRIPT,
    )

    assert body["status"] == 200, body
    root = opened(worker.images(body, "sysupgrade"), tmp_path)
    assert {
        name: has(root, name)
        for name in ("tmux", "ppp", "ppp-mod-pppoe", "dropbear", "kmod-usb2", "base-files")
    } == {
        "tmux": True,
        "ppp": False,
        "ppp-mod-pppoe": False,
        "dropbear": True,
        "kmod-usb2": True,
        "base-files": True,
    }
    assert (root / "usr/bin/tmux").exists()
    assert (root / FIRST_BOOT).read_text() == SCRIPT
    assert (root / FIRST_BOOT).stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("version", [OPKG, APK])
def test_the_manifest_is_the_image(worker: WorkerWorld, tmp_path: Path, version: str) -> None:
    """Each package that the answer lists is in the image under that name; nothing else was asked to
    be.
    """
    body = worker.build(version=version, packages=["vim", "-dnsmasq"])

    root = opened(worker.images(body, "rootfs"), tmp_path)
    plain = [
        name
        for name in ("vim", "busybox", "netifd", "dropbear", "kernel")
        if name in body["manifest"]
    ]
    assert len(plain) == 5
    assert all(has(root, name) for name in plain)
    assert "dnsmasq" not in body["manifest"]
    assert not has(root, "dnsmasq")
    assert not (root / FIRST_BOOT).exists()


def test_an_absolute_list_is_all_there_is(worker: WorkerWorld, tmp_path: Path) -> None:
    """With diff_packages no default comes back that the list does not name, unless another package
    needs it.
    """
    body = worker.build(
        target="ath79/generic",
        profile=DEVICE,
        packages=["base-files", "kernel", "libc", "netifd", "dropbear", "opkg"],
        diff_packages=True,
    )

    assert body["status"] == 200, body
    root = opened(worker.images(body, "sysupgrade"), tmp_path)
    assert has(root, "dropbear")
    assert not any(has(root, name) for name in ("dnsmasq", "ppp", "kmod-usb2", "kmod-ath10k-ct"))


def test_the_bytes_in_the_store_are_those_that_were_made(worker: WorkerWorld) -> None:
    """Each image of the answer has the hash that the builder wrote down before it was copied out;
    nothing else lies about.
    """
    body = worker.build(target="ath79/generic", profile=DEVICE)

    directory = worker.settings.store_path / body["bin_dir"]
    for image in body["images"]:
        assert (
            hashlib.sha256((directory / image["name"]).read_bytes()).hexdigest() == image["sha256"]
        )
    sums = dict(
        reversed(line.split(" *")) for line in (directory / "sha256sums").read_text().splitlines()
    )
    assert {MANIFEST, ACCOUNT, PROVENANCE_FILE, "profiles.json", "sha256sums", *sums} == {
        path.name for path in directory.iterdir()
    }
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in directory.iterdir())


@pytest.mark.parametrize(
    ("version", "filesystem"), [(OPKG, "ext4"), (OPKG, "squashfs"), (APK, "ext4")]
)
def test_a_chosen_file_system_is_the_only_one(
    worker: WorkerWorld, version: str, filesystem: str
) -> None:
    """Releases that ignore the choice by themselves make the images of that file system and no
    others.
    """
    body = worker.build(version=version, filesystem=filesystem)

    assert body["status"] == 200, body
    assert {image["filesystem"] for image in body["images"]} == {filesystem}
    assert {"combined", "rootfs"} <= {image["type"] for image in body["images"]}


@pytest.mark.parametrize("version", [OPKG, APK])
def test_without_a_choice_all_file_systems_are_made(worker: WorkerWorld, version: str) -> None:
    """Who names no file system gets those that the target has; disk images of an archive, which
    25.12.1 makes too, are not among them.
    """
    body = worker.build(version=version)

    assert body["status"] == 200, body
    assert {image["filesystem"] for image in body["images"]} == {"ext4", "squashfs"}
    lying = {path.name for path in (worker.settings.store_path / body["bin_dir"]).iterdir()}
    assert any("-targz-" in name for name in lying) == (version == APK), "the builder makes them"
    assert any(name.endswith("-rootfs.tar.gz") for name in lying), (
        "and the archive as such, which is of use"
    )


@pytest.mark.parametrize("version", [OPKG, APK])
def test_the_root_file_system_has_the_size_that_was_asked_for(
    worker: WorkerWorld, version: str
) -> None:
    """In the image itself, and where those who read the command look for it."""
    body = worker.build(version=version, filesystem="ext4", rootfs_size_mb=72)

    image = gzip.decompress(worker.images(body, "rootfs", "ext4").read_bytes())
    assert len(image) == 72 * 1024 * 1024
    assert body["build_cmd"][6] == "ROOTFS_PARTSIZE=72"
    assert body["request"]["rootfs_size_mb"] == 72


@pytest.mark.parametrize("version", [OPKG, APK])
def test_versions_and_revision_that_are_right_are_no_obstacle(
    worker: WorkerWorld, tmp_path: Path, version: str
) -> None:
    """Who insists on what the release has gets it, in those versions; a made-up one fails the same
    request.
    """
    plain = worker.build(version=version, packages=["vim"])
    insisted = {name: plain["manifest"][name] for name in ("vim", "busybox", "base-files")}
    body = worker.build(
        version=version,
        packages=["vim"],
        packages_versions=insisted,
        version_code=plain["version_code"],
        filesystem="squashfs",
    )

    assert body["status"] == 200, body
    assert insisted.items() <= body["manifest"].items()
    assert has(opened(worker.images(body, "rootfs"), tmp_path), "vim")
    wrong = worker.build(
        version=version,
        packages=["vim"],
        packages_versions={**insisted, "vim": "0", "busybox": "0"},
    )
    assert [(problem["package"], problem["kind"]) for problem in wrong["problems"]] == [
        ("busybox", "version"),
        ("vim", "version"),
    ]


FAILURES: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown": (
        {"packages": ["no-such-a", "vim", "no-such-b"]},
        "impossible-selection",
        "missing (no-such-a, no-such-b)",
    ),
    "missing dependency": (
        {"packages": ["test-missing-dep"]},
        "broken-dependency",
        "test-missing-dep needs no-such-library, which is in none of the feeds",
    ),
    "version": (
        {"packages": ["test-version-dep"]},
        "broken-dependency",
        "test-version-dep needs curl (>= 99.0)",
    ),
    "clash": (
        {"packages": ["test-clash-a", "test-clash-b"]},
        "impossible-selection",
        "/usr/bin/test-clash of test-clash-b and test-clash-a",
    ),
    "gone": ({"packages": ["test-404"]}, "download-failed", "test-404"),
    "checksum": ({"packages": ["test-badsum"]}, "download-failed", "test-badsum"),
    "script": (
        {"packages": ["test-postinst-fail"]},
        "build-failed",
        "the installation script of test-postinst-fail failed",
    ),
    "too big": (
        {"packages": ["test-big"], "target": "ath79/generic", "profile": "tplink_tl-wr841hp-v2"},
        "image-too-big",
        "more than fit",
    ),
    "revision": ({"version_code": "r1-0000"}, "wrong-revision", "expects r1-0000"),
    "versions": ({"packages_versions": {"vim": "0.1"}}, "wrong-package-versions", "not 0.1"),
    "file system": ({"filesystem": "jffs2"}, "unknown-filesystem", "it makes squashfs, ext4"),
    "profile": ({"profile": "nosuch"}, "profile-missing-in-builder", "has no profile nosuch"),
}


@pytest.mark.parametrize("version", [OPKG, APK])
@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_build_says_why(worker: WorkerWorld, version: str, name: str) -> None:
    """With either package manager the same mistake ends in the same words, without images and with
    the builder's output.
    """
    fields, code, words = FAILURES[name]

    body = worker.build(version=version, **fields)

    assert (body["status"], body["code"]) == (500, code), body
    assert body["detail"].startswith("Error: ")
    assert words in body["detail"]
    assert "Traceback" not in body["stderr"]
    assert not worker.store.has(body["request_hash"])


PROBLEMS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "unknown": (
        {"packages": ["no-such-a", "vim", "no-such-b"]},
        [("no-such-a", "missing"), ("no-such-b", "missing")],
    ),
    "missing dependency": ({"packages": ["test-missing-dep"]}, [("no-such-library", "missing")]),
    "version": ({"packages": ["test-version-dep"]}, [("test-version-dep", "version")]),
    "clash": ({"packages": ["test-clash-a", "test-clash-b"]}, [("test-clash-b", "clash")]),
    "versions": (
        {"packages": ["vim"], "packages_versions": {"vim": "0.1", "nope": "1"}},
        [("nope", "missing"), ("vim", "version")],
    ),
}


@pytest.mark.parametrize("version", [OPKG, APK])
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_failed_selection_is_told_to_programs(
    worker: WorkerWorld, version: str, name: str
) -> None:
    """The same problems are listed with either package manager, all in one answer."""
    fields, problems = PROBLEMS[name]

    body = worker.build(version=version, **fields)

    assert [(problem["package"], problem["kind"]) for problem in body["problems"]] == problems


# File system, and which sizes are told, of each image; the device's tool decides what it says.
SIZES: dict[str, tuple[dict[str, Any], list[tuple[str, set[str]]]]] = {
    "check-size": (
        {"target": "ath79/generic", "profile": "ubnt_unifiac-lite"},
        [("squashfs", {"bytes", "limit", "excess"})],
    ),
    "tplink-safeloader": (
        {"target": "ath79/generic", "profile": DEVICE},
        [("squashfs", {"limit"})] * 2,
    ),
    "mktplinkfw": (
        {"target": "ath79/generic", "profile": "tplink_tl-wr841hp-v2"},
        [("squashfs", {"excess"})] * 2,
    ),
    "make_ext4fs": ({"filesystem": "ext4", "rootfs_size_mb": 8}, [("ext4", {"limit", "excess"})]),
}


@pytest.mark.parametrize("version", [OPKG, APK])
@pytest.mark.parametrize("tool", SIZES)
def test_what_is_too_big_is_told_in_numbers(worker: WorkerWorld, version: str, tool: str) -> None:
    """Each image that does not fit stands in the answer, with what its tool told of it."""
    fields, sizes = SIZES[tool]

    body = worker.build(version=version, packages=["test-big"], **fields)

    assert body["code"] == "image-too-big", body
    assert [
        (entry["filesystem"], {name for name in ("bytes", "limit", "excess") if entry[name]})
        for entry in body["too_big"]
    ] == sizes
    assert all(
        entry["image"] is None or "-sysupgrade" in entry["image"] or "-factory" in entry["image"]
        for entry in body["too_big"]
    )
    assert "ask for fewer packages" in body["detail"]
    assert ("`rootfs_size_mb`" in body["detail"]) == (tool == "make_ext4fs")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (OPKG, "conflicts (test-conflict-a with test-conflict-b)"),
        (APK, "conflicts (test-conflict-b with test-conflict-a)"),
    ],
)
def test_a_conflict_names_both(worker: WorkerWorld, version: str, words: str) -> None:
    """Which of two packages refuses the other is the package manager's to say; both are named."""
    body = worker.build(version=version, packages=["test-conflict-a", "test-conflict-b", "vim"])

    if version == OPKG and body["status"] == 200:
        # opkg looks one way only, in the order of the list.
        assert {"test-conflict-a", "test-conflict-b"} <= set(body["manifest"])
    else:
        assert words in body["detail"]
