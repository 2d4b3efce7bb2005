"""The ImageBuilder's names and commands: what is asked of make, and what never reaches it."""

from __future__ import annotations

from typing import Any

import pytest

from asu.errors import BuildFailed, ImpossibleSelection, ProfileMissingInBuilder, UnknownFilesystem
from asu.worker.builder_image import builder_image
from asu.worker.imagebuilder import (
    BuilderInfo,
    filesystem_command,
    image_command,
    manifest_command,
    output_directory,
    parse_info,
    parse_manifest,
    selection,
)

KEY = "0123456789abcdef" * 4
INFO = """\
Current Target: "ath79/generic"
Current Architecture: "mips"
Current Revision: "r28959-29397011cc"
Default Packages: base-files ca-bundle dnsmasq dropbear opkg
Available Profiles:

8dev_carambola2:
    8devices Carambola2
    Packages:\x20
    hasImageMetadata: 1
    SupportedDevices: 8dev,carambola2 carambola2
generic:
    Packages: kmod-usb2 -dnsmasq
    hasImageMetadata: 0
tplink_archer-c7-v5:
    TP-Link Archer C7 v5
    Packages: kmod-usb2 kmod-ath10k-ct -kmod-ath10k ath10k-firmware-qca988x-ct
    hasImageMetadata: 1
    SupportedDevices: tplink,archer-c7-v5 archer-c7-v5
"""

# Most of these ran a command, or meant something, when they reached the genuine Makefile.
PAYLOADS = (
    "`touch canary`",
    "$(shell touch canary)",
    "$$(touch canary)",
    'x";touch canary;"',
    "x'; touch canary; '",
    "tmux;touch canary",
    "tmux|touch canary",
    "tmux>canary",
    "tmux<canary",
    "tmux&touch canary",
    "%",
    "-%",
    "tplink_%",
    "tmux\ntouch canary",
    "tmux\n",
    "two words",
    "/x.ipk",
    "http://host/x.ipk",
    "tmux=1.0",
    "tmux~1.0",
    "!tmux",
    "tmux@edge",
    "so:libc.so",
    "--force-overwrite",
    "--",
    "-",
    "",
    ".hidden",
    "../up",
    "a" * 129,
    "tmüx",
    "tmux\u0660",
    "tmux\x00",
    "${PATH}",
    "\\x",
    "*",
    "~",
    "#",
)


def request(**values: Any) -> dict[str, Any]:
    """Return a plan's request."""
    fields = {
        "version": "24.10.4",
        "target": "ath79/generic",
        "profile": "tplink_archer-c7-v5",
        "packages": ["vim"],
        "diff_packages": False,
        "rootfs_size_mb": None,
        "defaults": None,
        "filesystem": None,
    }
    return {**fields, **values}


@pytest.mark.parametrize(
    ("version", "tag"),
    [
        ("24.10.4", "ath79-generic-v24.10.4"),
        ("25.12.0-rc2", "ath79-generic-v25.12.0-rc2"),
        ("24.10-SNAPSHOT", "ath79-generic-openwrt-24.10"),
        ("SNAPSHOT", "ath79-generic-master"),
    ],
)
def test_image_names_are_those_of_the_registry(version: str, tag: str) -> None:
    """Releases, branches and the main branch have their own kinds of tags."""
    base = "registry.example:5000/openwrt/imagebuilder"
    image = builder_image(base, {"version": version, "target": "ath79/generic"})

    assert image.name == f"{base}:{tag}"
    assert image.is_moving is version.endswith("SNAPSHOT")


def test_manifest_lines_of_both_forms() -> None:
    """A manifest is read with either separator; other lines are ignored."""
    output = (
        "base-files - 1652-r28959\nlibblkid - 2.40.2-r1\ncurl 8.17.0-r1\n\n"
        "some other line here\nlonely\n"
    )

    assert parse_manifest(output) == {
        "base-files": "1652-r28959",
        "libblkid": "2.40.2-r1",
        "curl": "8.17.0-r1",
    }


def test_info_tells_revision_defaults_and_devices() -> None:
    """Each device has its packages, whether or not it has a name, packages or supported devices."""
    info = parse_info(INFO)

    assert info.revision == "r28959-29397011cc"
    assert info.default_packages == ("base-files", "ca-bundle", "dnsmasq", "dropbear", "opkg")
    assert info.device_packages == {
        "8dev_carambola2": (),
        "generic": ("kmod-usb2", "-dnsmasq"),
        "tplink_archer-c7-v5": (
            "kmod-usb2",
            "kmod-ath10k-ct",
            "-kmod-ath10k",
            "ath10k-firmware-qca988x-ct",
        ),
    }


@pytest.mark.parametrize(
    "output", ["", "nonsense", 'Current Revision: "r1"\n', "Default Packages: a\n"]
)
def test_what_is_no_info_is_refused(output: str) -> None:
    """An output without revision or defaults is a failure of the builder, not an empty one."""
    with pytest.raises(BuildFailed):
        parse_info(output)


@pytest.mark.parametrize(
    ("fields", "packages"),
    [
        ({"version": "24.10.4"}, ["-ppp", "vim", "luci"]),
        ({"version": "24.10.4", "any_order": True}, ["-ppp", "luci", "vim"]),
        ({"version": "25.12.0"}, ["-ppp", "luci", "vim"]),
    ],
    ids=str,
)
def test_packages_are_handed_on_once_and_in_the_order_of_their_identity(
    fields: dict[str, Any], packages: list[str]
) -> None:
    """The order of a person's list counts for opkg, and for nothing else."""
    asked = request(packages=["vim", "-ppp", "luci", "vim"], **fields)

    assert selection(asked, parse_info(INFO)) == packages


def test_an_absolute_list_removes_each_default_that_it_lacks() -> None:
    """With diff_packages all defaults of target and device are named that are not to be
    installed.
    """
    wanted = ["base-files", "ca-bundle", "dropbear", "opkg", "kmod-usb2", "vim"]

    packages = selection(request(packages=wanted, diff_packages=True), parse_info(INFO))

    assert packages == sorted(
        [*wanted, "-dnsmasq", "-kmod-ath10k-ct", "-ath10k-firmware-qca988x-ct"]
    )


def test_a_default_that_the_device_takes_away_needs_no_removal() -> None:
    """A device's own removal of a default stands already; and what the request removes is not
    removed twice.
    """
    packages = selection(
        request(profile="generic", packages=["kmod-usb2", "-opkg"], diff_packages=True),
        parse_info(INFO),
    )

    assert packages == ["-base-files", "-ca-bundle", "-dropbear", "-opkg", "kmod-usb2"]


def test_a_package_that_the_device_takes_away_can_be_asked_for() -> None:
    """A request may bring back what its device removes."""
    packages = selection(request(profile="generic", packages=["dnsmasq"]), parse_info(INFO))

    assert packages == ["dnsmasq"]


def test_a_profile_that_the_builder_lacks_is_refused() -> None:
    """A profile must be an exact one of the builder's, not a pattern of make's."""
    for profile in ("nosuch", "%", "DEVICE_generic", "generic generic", ""):
        with pytest.raises(ProfileMissingInBuilder):
            selection(request(profile=profile), parse_info(INFO))


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("mark", ["", "-"])
def test_no_odd_package_name_reaches_make(payload: str, mark: str) -> None:
    """Every name that a make or a shell could understand is refused, as an addition and as a
    removal.
    """
    hostile = mark + payload
    info = BuilderInfo("r1", (), {"tplink_archer-c7-v5": ()}, {})

    with pytest.raises(ImpossibleSelection, match="a name is malformed"):
        selection(request(packages=["vim", hostile]), info)
    with pytest.raises(ImpossibleSelection, match="a name is malformed"):
        manifest_command(request(), [hostile])
    with pytest.raises(ImpossibleSelection, match="a name is malformed"):
        image_command(request(), [hostile], KEY)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_odd_profile_reaches_make(payload: str) -> None:
    """A profile passes the same admission, even if a builder claimed to have it."""
    with pytest.raises(BuildFailed, match="malformed"):
        manifest_command(request(profile=payload), [])
    with pytest.raises(BuildFailed, match="malformed"):
        image_command(request(profile=payload), [], KEY)


@pytest.mark.parametrize(
    "key", ["", "0123", KEY.upper(), KEY + "\n", "$(id)" + KEY[5:], "../" + KEY[3:]]
)
def test_only_a_hash_names_the_output(key: str) -> None:
    """What becomes a directory and part of file names is a hash of ours and nothing else."""
    with pytest.raises(BuildFailed, match="malformed"):
        image_command(request(), [], key)


@pytest.mark.parametrize("size", ["$(id)", "1;id", "1.5", ["2"]])
def test_only_a_number_is_a_size(size: object) -> None:
    """The size of the root file system is an integer before make sees it."""
    with pytest.raises((ValueError, TypeError)):
        image_command(request(rootfs_size_mb=size), [], KEY)


def test_the_commands_have_the_order_that_clients_index() -> None:
    """Packages stand fourth, the root file system's size seventh; the first-boot script is a
    directory.
    """
    wanted = request(rootfs_size_mb=256, defaults="echo hi")

    assert manifest_command(wanted, ["-ppp", "vim"]) == [
        "make",
        "manifest",
        "PROFILE=tplink_archer-c7-v5",
        "PACKAGES=-ppp vim",
        "STRIP_ABI=1",
    ]
    assert image_command(wanted, ["-ppp", "vim"], KEY) == [
        "make",
        "image",
        "PROFILE=tplink_archer-c7-v5",
        "PACKAGES=-ppp vim",
        "EXTRA_IMAGE_NAME=0123456789ab",
        f"BIN_DIR={output_directory(KEY)}",
        "ROOTFS_PARTSIZE=256",
        "FILES=asu-files",
    ]


CONFIG = (
    "CONFIG_TARGET_ROOTFS_EXT4FS=y\nCONFIG_TARGET_ROOTFS_PARTSIZE=104\n"
    "CONFIG_TARGET_ROOTFS_SQUASHFS=y\nCONFIG_TARGET_ROOTFS_TARGZ=y\n"
)


def test_a_chosen_file_system_switches_the_others_off() -> None:
    """Only the lines of the other file systems are edited."""
    command = filesystem_command(CONFIG, "ext4")

    assert command[:2] == ["sed", "-i"]
    assert [part for part in command if part.startswith("s/")] == [
        "s/^CONFIG_TARGET_ROOTFS_SQUASHFS=y$/# CONFIG_TARGET_ROOTFS_SQUASHFS is not set/",
        "s/^CONFIG_TARGET_ROOTFS_TARGZ=y$/# CONFIG_TARGET_ROOTFS_TARGZ is not set/",
    ]


@pytest.mark.parametrize("symbol", ["EROFS", "JFFS2_NAND", "TARGZ", "CPIOGZ", "UBIFS", "JFFS2"])
def test_every_file_system_of_a_builder_can_be_chosen(symbol: str) -> None:
    """The one that is asked for stays; nothing else is made beside it."""
    filesystem = symbol.lower().replace("_", "-")
    config = f"CONFIG_TARGET_ROOTFS_{symbol}=y\nCONFIG_TARGET_ROOTFS_SQUASHFS=y\n"
    command = filesystem_command(config, filesystem)

    assert [part for part in command if part.startswith("s/")] == [
        "s/^CONFIG_TARGET_ROOTFS_SQUASHFS=y$/# CONFIG_TARGET_ROOTFS_SQUASHFS is not set/"
    ]


def test_the_only_file_system_needs_no_edit() -> None:
    """An editor without an order ends with an error."""
    assert filesystem_command("CONFIG_TARGET_ROOTFS_SQUASHFS=y\n", "squashfs") == ["true"]


def test_names_joined_with_commas_are_one_name_that_nobody_has() -> None:
    """As the package manager says of them; there is none to take away either."""
    with pytest.raises(ImpossibleSelection, match=r"missing \(luci,vim\)"):
        manifest_command(request(), ["luci,vim"])
    assert manifest_command(request(), ["-luci,vim", "tmux"])[3] == "PACKAGES=tmux"


@pytest.mark.parametrize(
    ("config", "available"),
    [
        (CONFIG, "squashfs, ext4"),
        ("# CONFIG_TARGET_ROOTFS_UBIFS is not set\n", "none"),
        ("CONFIG_TARGET_ROOTFS_UBIFS=m\n", "none"),
    ],
)
def test_a_file_system_that_the_builder_lacks_is_refused(config: str, available: str) -> None:
    """The user learns which there are, before anything is built."""
    with pytest.raises(UnknownFilesystem, match=f"it makes {available}"):
        filesystem_command(config, "ubifs")
