"""The stand-in ImageBuilder, run by real podman and real make, says and does what the genuine one
does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asu.errors import BuilderIncomplete
from asu.worker.builder_failures import failure
from asu.worker.container import CommandResult
from asu.worker.package_managers import Opkg
from tests.imagebuilder.containers import FALLBACK_CONF, Container, starts
from tests.imagebuilder.messages import APK_ERRORS, OPKG_ERRORS

ROOT = Path(__file__).parents[2]
# Apart from the demo's images, which have other feeds.
BUILDER = "localhost/asu-standin/imagebuilder/test"
OPKG, APK, MAIN = "x86-64-v24.10.4", "x86-64-v25.12.0", "x86-64-master"
OPKG_DEVICE, APK_DEVICE = "ath79-generic-v24.10.4", "ath79-generic-v25.12.0"
DEVICE = "tplink_archer-c7-v5"
Start = Callable[[str], Container]


def missing(reason: str) -> None:
    """Skip on a laptop, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Find the environment in which podman can start a container of the base image."""
    if not shutil.which("podman"):
        missing("podman is not installed")
    made = subprocess.run(
        [ROOT / "tests/imagebuilder/make_base"], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        missing(f"the base image cannot be made here: {made.stderr.strip()}")
    known = dict(os.environ)
    if "CONTAINERS_CONF" not in known and not starts(known):
        conf = tmp_path_factory.mktemp("podman") / "containers.conf"
        conf.write_text(FALLBACK_CONF)
        known["CONTAINERS_CONF"] = str(conf)
    if not starts(known):
        missing("podman cannot start a container here")
    return known


@pytest.fixture(scope="module")
def build_command(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """Make the builders of this module with the documented command, and return it."""
    tree = tmp_path_factory.mktemp("upstream")
    subprocess.run(
        [sys.executable, "-m", "tests.upstream.make_tree", str(tree)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    command = [
        sys.executable,
        "-m",
        "tests.imagebuilder.build",
        "--tree",
        str(tree),
        "--feeds",
        "file:///upstream",
        "--base-container",
        BUILDER,
    ]
    for version in ("24.10.4", "25.12.0", "SNAPSHOT"):
        command += ["--version", version]
    command += ["--target", "x86/64", "--target", "ath79/generic"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return command


@pytest.fixture
def fresh(environment: dict[str, str], build_command: list[str]) -> Iterator[Start]:
    """Start containers of one test; all are removed after it."""
    assert build_command
    started: list[Container] = []

    def start(tag: str) -> Container:
        started.append(Container.start(f"{BUILDER}:{tag}", environment))
        return started[-1]

    yield start
    for container in started:
        container.remove()


@pytest.fixture(scope="module")
def builders(
    environment: dict[str, str], build_command: list[str]
) -> Iterator[dict[str, Container]]:
    """Start one x86 builder per package manager, for the tests that only look at messages."""
    assert build_command
    started = {tag: Container.start(f"{BUILDER}:{tag}", environment) for tag in (OPKG, APK)}
    yield started
    for container in started.values():
        container.remove()


def test_a_second_build_of_the_same_content_does_nothing(
    build_command: list[str], environment: dict[str, str]
) -> None:
    """The command keeps images whose content is unchanged."""
    again = subprocess.run(
        build_command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )

    assert {line.split()[0] for line in again.stdout.splitlines()} == {"kept"}


def test_info_names_target_defaults_and_profiles(builders: dict[str, Container]) -> None:
    """`make info` has the genuine layout, succeeds and says nothing on stderr."""
    done = builders[OPKG].make("info")

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        'Current Target: "x86/64"',
        'Current Architecture: "x86_64"',
        'Current Revision: "r28959-29397011cc"',
    ]
    assert lines[3].startswith("Default Packages: base-files ")
    assert lines[4:8] == ["Available Profiles:", "", "generic:", "    Generic x86/64"]
    assert lines[8].startswith("    Packages: kmod-amazon-ena ")
    assert lines[9:] == ["    hasImageMetadata: 0"]


def test_default_packages_are_not_sorted(builders: dict[str, Container]) -> None:
    """They come in the order of the board, with the package manager at the end."""
    for tag, manager in ((OPKG, "opkg"), (APK, "apk-mbedtls")):
        defaults = builders[tag].make("info").stdout.splitlines()[3].split()[2:]

        assert defaults != sorted(defaults)
        assert (defaults[0], defaults[-1]) == ("base-files", manager)


def test_the_configuration_is_as_long_as_the_genuine_one(builders: dict[str, Container]) -> None:
    """A caller that keeps a part of it loses the file systems in its middle."""
    lines = builders[OPKG].shell("cat .config").splitlines()

    assert 3_950 < len(lines) < 4_050
    assert 1_500 < lines.index("CONFIG_TARGET_ROOTFS_SQUASHFS=y") < 2_500


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("printf '\\0\\0' | dd of={0} bs=1 seek=10 conv=notrunc", "ADB schema error"),
        ("truncate -s 100 {0}", "ADB schema error"),
        ("truncate -s -10 {0}", "ADB block error"),
        ("printf '<html></html>' >{0}", "file format is invalid or inconsistent"),
    ],
    ids=["start", "cut to 100 bytes", "end", "a page in its place"],
)
def test_a_damaged_package_of_apk_has_the_genuine_words(
    fresh: Start, damage: str, words: str
) -> None:
    """The kind of damage decides which of three messages apk prints."""
    container = fresh(APK)
    assert container.make("manifest", "PACKAGES=tmux").returncode == 0
    name = container.shell("basename dl/tmux-*.apk .apk").strip()
    container.shell(damage.format(f"dl/{name}.apk"))

    done = container.make("manifest", "PACKAGES=tmux")

    assert done.returncode == 2
    assert f"ERROR: {name}: {words}\n" in done.stderr


def test_keys_are_made_in_the_first_run_only(fresh: Start) -> None:
    """The first manifest of a container makes keys and a local index, the second does neither."""
    container = fresh(OPKG)

    first, second = container.make("manifest"), container.make("manifest")

    assert first.stderr.startswith(
        "Generate local signing keys...\nGenerate local certificate...\nPackage list missing or not"
        " up-to-date"
    )
    assert "Building package index..." in first.stderr
    assert "Generate" not in second.stderr
    assert "Package list missing" not in second.stderr


@pytest.mark.parametrize("tag", [OPKG, APK])
def test_a_manifest_is_sorted_and_can_lose_abi_versions(
    builders: dict[str, Container], tag: str
) -> None:
    """`make manifest` prints `name - version` lines; STRIP_ABI=1 takes the ABI version off the
    names.
    """
    full = (
        builders[tag]
        .make("manifest", "PACKAGES=vim -ppp -ppp-mod-pppoe -nosuch")
        .stdout.splitlines()
    )
    stripped = builders[tag].make("manifest", "PACKAGES=vim", "STRIP_ABI=1").stdout.splitlines()

    names = [line.split(" - ")[0] for line in full]
    assert names == sorted(names)
    assert {"kernel", "libc", "base-files", "busybox", "libgcc1", "vim"} <= set(names)
    assert "ppp" not in names
    assert any(line.startswith("libgcc - ") for line in stripped)


@pytest.mark.parametrize(
    ("tag", "packages", "expected"),
    [
        *(
            (OPKG, packages, "".join(f" * {line}\n" for line in lines))
            for packages, lines in OPKG_ERRORS.items()
        ),
        *(
            (APK, packages, "".join(f"{line}\n" for line in lines))
            for packages, lines in APK_ERRORS.items()
        ),
    ],
)
def test_package_errors_have_the_genuine_words(
    builders: dict[str, Container], tag: str, packages: str, expected: str
) -> None:
    """A selection that cannot work ends with exit code 2, an empty stdout and the message of opkg
    or apk.
    """
    done = builders[tag].make("manifest", "PROFILE=generic", f"PACKAGES={packages}")

    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    last = {OPKG: (234, 171, 349), APK: (254, 193, 369)}[tag]
    assert re.search(
        rf"make\[2\]: \*\*\* \[Makefile:{last[0]}: package_install\] Error \d+\n", done.stderr
    )
    assert done.stderr.endswith(
        f"make[1]: *** [Makefile:{last[1]}: _call_manifest] Error 2\nmake: *** [Makefile:{last[2]}:"
        " manifest] Error 2\n"
    )


def test_opkg_sees_a_conflict_in_one_order_only(builders: dict[str, Container]) -> None:
    """When the package with the conflict comes first, opkg installs both and succeeds."""
    done = builders[OPKG].make("manifest", "PACKAGES=test-conflict-a test-conflict-b")

    assert done.returncode == 0
    assert "test-conflict-a - 1.0-r1\ntest-conflict-b - 1.0-r1\n" in done.stdout
    assert "Collected errors:" in done.stderr


@pytest.mark.parametrize(("tag", "kept"), [(OPKG, False), (APK, True)])
def test_only_apk_pins_base_files(builders: dict[str, Container], tag: str, *, kept: bool) -> None:
    """`-base-files -libc`: opkg drops base-files, apk keeps its pins; libc stays with both."""
    done = builders[tag].make("manifest", "PACKAGES=-base-files -busybox -libc")

    assert done.returncode == 0
    assert ("base-files - " in done.stdout) is kept
    assert "\nlibc - " in f"\n{done.stdout}"


def test_an_unknown_profile_is_told_on_stdout(builders: dict[str, Container]) -> None:
    """An unknown PROFILE ends before anything is downloaded, with its message on stdout."""
    done = builders[OPKG].make("manifest", "PROFILE=nosuch")

    assert done.returncode == 2
    assert (
        done.stdout
        == 'Profile "nosuch" does not exist!\nUse "make info" to get a list of available profile'
        " names.\n"
    )
    assert (
        done.stderr
        == "make[1]: *** [Makefile:303: _check_profile] Error 1\nmake: *** [Makefile:347: manifest]"
        " Error 2\n"
    )


@pytest.mark.parametrize("tag", [OPKG, APK])
@pytest.mark.parametrize(
    "argument",
    [
        "PACKAGES=`touch canary`",
        "PACKAGES=$(shell touch canary)",
        "PACKAGES=$$(touch canary)",
        'PACKAGES=x";touch canary;"',
        "PACKAGES=tmux;touch canary",
        "PACKAGES=tmux|touch canary",
        "PACKAGES=tmux>canary",
        "PROFILE=x'; touch canary; '",
        "PROFILE=$(shell touch canary)",
    ],
)
def test_values_are_evaluated_as_often_as_in_the_genuine_makefile(
    builders: dict[str, Container], tag: str, argument: str
) -> None:
    """Each known injection runs its command here too, so a test of the service's admission rules
    means something.
    """
    builders[tag].shell("rm -f canary")

    builders[tag].make("manifest", argument)

    assert builders[tag].run("test", "-e", "canary").returncode == 0


def test_a_percent_sign_is_a_pattern(builders: dict[str, Container]) -> None:
    """`-%` removes every package, and a profile with `%` selects those that match."""
    emptied = builders[APK].make("manifest", "PACKAGES=-%")
    matched = builders[APK].make("manifest", "PROFILE=gen%")

    assert (emptied.returncode, matched.returncode) == (0, 0)
    assert len(emptied.stdout.splitlines()) < len(matched.stdout.splitlines()) / 2


@pytest.mark.parametrize(
    ("tag", "file", "words"),
    [
        (OPKG, "repositories.conf", "*** Failed to download the package list from "),
        (APK, "repositories", "ERROR: wget: exited with error 8\n"),
    ],
)
def test_one_missing_feed_is_no_failure(fresh: Start, tag: str, file: str, words: str) -> None:
    """A feed that does not exist is complained about, and the manifest succeeds without it."""
    container = fresh(tag)
    container.shell(f"sed -i s,/telephony,/nofeed, {file}")

    done = container.make("manifest")

    assert done.returncode == 0
    assert words in done.stderr


@pytest.mark.parametrize(
    ("tag", "file", "words"),
    [
        (
            OPKG,
            "repositories.conf",
            "wget returned 4.\n * opkg_download: Check your network settings and connectivity.\n",
        ),
        (
            OPKG,
            "repositories.conf",
            (
                " * opkg_install_cmd: Cannot install package libc.\nmake[2]: *** [Makefile:232:"
                " package_install] Error 255\n"
            ),
        ),
        (
            APK,
            "repositories",
            (
                "ERROR: wget: exited with error 4\nWARNING: updating and opening"
                " http://no.such.host.invalid/"
            ),
        ),
        (APK, "repositories", "  dnsmasq (no such package):\n    required by: world[dnsmasq]\n"),
    ],
)
def test_a_dead_mirror_looks_like_missing_packages(
    fresh: Start, tag: str, file: str, words: str
) -> None:
    """Without any feed the download errors come first, and then packages seem not to exist."""
    container = fresh(tag)
    container.shell(f"sed -i s,file:///upstream,http://no.such.host.invalid, {file}")

    done = container.make("manifest")

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_device_image_holds_packages_and_files(fresh: Start) -> None:
    """The squashfs of a sysupgrade image has the package's files, the files of FILES and the init
    links.
    """
    container = fresh(OPKG_DEVICE)
    container.shell("mkdir -p custom/etc && echo hello >custom/etc/greeting")

    overview = container.image(
        "PROFILE=tplink_archer-c7-v5",
        "PACKAGES=vim",
        "FILES=custom",
        "EXTRA_IMAGE_NAME=Ab_1",
        "DISABLED_SERVICES=dnsmasq",
    )

    prefix = "openwrt-24.10.4-ab-1-ath79-generic-tplink_archer-c7-v5"
    images = overview["profiles"]["tplink_archer-c7-v5"]["images"]
    assert {image["name"] for image in images} == {
        f"{prefix}-squashfs-factory.bin",
        f"{prefix}-squashfs-sysupgrade.bin",
    }
    listing = container.shell(f"unsquashfs -l out/{prefix}-squashfs-sysupgrade.bin")
    assert "squashfs-root/etc/greeting\n" in listing
    assert "squashfs-root/usr/bin/vim\n" in listing
    assert re.search(r"squashfs-root/etc/rc\.d/S\d\ddropbear\n", listing)
    assert not re.search(r"squashfs-root/etc/rc\.d/S\d\ddnsmasq\n", listing)
    assert (
        b"FWx0"
        in container.shell(f"tail -c 16 out/{prefix}-squashfs-sysupgrade.bin | head -c 4").encode()
    )
    container.shell("cd out && sha256sum --check sha256sums")
    assert "vim - " in container.shell(f"cat out/{prefix}.manifest")


@pytest.mark.parametrize(
    ("tag", "profile", "signed"),
    [(OPKG, "generic", True), (OPKG_DEVICE, "tplink_archer-c7-v5", True), (APK, "generic", False)],
)
def test_two_containers_make_the_same_unsigned_images(
    fresh: Start, tag: str, profile: str, *, signed: bool
) -> None:
    """Only the throw-away signature of an opkg builder differs between two containers."""
    first, second = (
        {
            i["name"]: i
            for i in fresh(tag).image(f"PROFILE={profile}")["profiles"][profile]["images"]
        }
        for _ in range(2)
    )

    assert {name: image["sha256_unsigned"] for name, image in first.items()} == {
        name: image["sha256_unsigned"] for name, image in second.items()
    }
    differing = {
        first[name]["type"] for name in first if first[name]["sha256"] != second[name]["sha256"]
    }
    assert bool(differing) is signed
    assert differing <= {"sysupgrade", "combined", "combined-efi"}


def test_an_image_too_big_for_the_flash_is_left_out_with_exit_code_0(fresh: Start) -> None:
    """Nothing but a message on stderr and a missing profiles.json tells that no image fits."""
    container = fresh(OPKG_DEVICE)

    done = container.make(
        "image", "PROFILE=tplink_archer-c7-v5", "PACKAGES=test-big", "BIN_DIR=out"
    )

    assert done.returncode == 0
    assert re.search(
        r"    WARNING: Image file \S+-squashfs-sysupgrade\.bin is too big:  > 15728640\n",
        done.stderr,
    )
    assert "JSON info file script could not find any JSON files for target\n" in done.stdout
    assert "profiles.json" not in container.shell("ls out")


OUT_OF_SPACE = (
    r"error: ext4_allocate_best_fit_partial: failed to allocate \d+ blocks, out of space\?"
)
POSTINST_FAILED = (
    r"postinst script \./usr/lib/opkg/info/test-postinst-fail\.postinst has failed with exit code 1"
)


@pytest.mark.parametrize(
    ("arguments", "words", "lines"),
    [
        (["PACKAGES=test-big", "ROOTFS_PARTSIZE=8"], OUT_OF_SPACE, ("build_image", 268, 163)),
        (["ROOTFS_PARTSIZE=abc"], "Need size of filesystem", ("build_image", 268, 163)),
        (["PACKAGES=test-postinst-fail"], POSTINST_FAILED, ("prepare_rootfs", 247, 162)),
    ],
)
def test_image_errors_have_the_genuine_words(
    builders: dict[str, Container], arguments: list[str], words: str, lines: tuple[str, int, int]
) -> None:
    """A failing `make image` ends with exit code 2 and the messages of the genuine one."""
    done = builders[OPKG].make("image", "PROFILE=generic", *arguments)

    assert done.returncode == 2
    assert re.search(f"^{words}$", done.stderr, re.MULTILINE)
    rule, inner, outer = lines
    assert f"make[2]: *** [Makefile:{inner}: {rule}] Error" in done.stderr
    assert done.stderr.endswith(
        f"make[1]: *** [Makefile:{outer}: _call_image] Error 2\nmake: *** [Makefile:337: image]"
        " Error 2\n"
    )


def test_a_builder_without_the_kernel_of_a_device_is_not_complete(fresh: Start) -> None:
    """Make names the file; the cause is whoever published the builder, not the selection."""
    container = fresh(OPKG_DEVICE)
    container.shell("rm build_dir/target-*/linux-*/*-kernel.bin")
    done = container.make("image", f"PROFILE={DEVICE}")

    error = failure(CommandResult(done.returncode, done.stdout, done.stderr), Opkg())

    assert isinstance(error, BuilderIncomplete), done.stderr
    assert f"it lacks {DEVICE}-kernel.bin" in error.detail


def test_the_configuration_decides_which_file_systems_are_built(fresh: Start) -> None:
    """ROOTFS_FILESYSTEM is ignored by a release; switching ext4 off in .config works."""
    container = fresh(OPKG)

    both = container.image("ROOTFS_FILESYSTEM=squashfs")
    container.shell(
        "rm -r out; sed -i 's/^CONFIG_TARGET_ROOTFS_EXT4FS=y$/# CONFIG_TARGET_ROOTFS_EXT4FS is not"
        " set/' .config"
    )
    one = container.image()

    assert {image["filesystem"] for image in both["profiles"]["generic"]["images"]} == {
        "squashfs",
        "ext4",
    }
    assert {image["filesystem"] for image in one["profiles"]["generic"]["images"]} == {"squashfs"}


def test_main_honours_rootfs_filesystem(fresh: Start) -> None:
    """A snapshot of main builds the one file system asked for, and refuses one that it does not
    have.
    """
    container = fresh(MAIN)

    refused = container.make("image", "ROOTFS_FILESYSTEM=jffs2")
    built = container.image("ROOTFS_FILESYSTEM=ext4")

    assert refused.returncode == 2
    assert (
        refused.stdout
        == 'Filesystem "jffs2" is not available!\nAvailable filesystems: squashfs ext4\n'
    )
    assert {image["filesystem"] for image in built["profiles"]["generic"]["images"]} == {"ext4"}


def test_a_snapshot_image_may_have_to_unpack_its_builder(
    build_command: list[str], environment: dict[str, str]
) -> None:
    """With --setup there is no Makefile until setup.sh has run."""
    name = f"{BUILDER}-setup"
    command = [
        *build_command[: build_command.index("--base-container")],
        "--base-container",
        name,
        "--version",
        "SNAPSHOT",
        "--target",
        "x86/64",
        "--setup",
    ]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    container = Container.start(f"{name}:{MAIN}", environment)

    before = container.make("info")
    container.shell("sh setup.sh")
    after = container.make("info")
    container.remove()

    assert (before.returncode, before.stderr) == (
        2,
        "make: *** No rule to make target 'info'.  Stop.\n",
    )
    assert after.stdout.startswith('Current Target: "x86/64"\n')


def test_apk_builders_tell_the_size_of_each_image(fresh: Start) -> None:
    """Since 25.12 profiles.json has the size of every image, and it is true."""
    container = fresh(APK_DEVICE)

    overview = container.image("PROFILE=tplink_archer-c7-v5")

    for image in overview["profiles"]["tplink_archer-c7-v5"]["images"]:
        assert int(container.shell(f"stat -c %s out/{image['name']}")) == image["size"]
