"""The downloads server's documents, read: each shape that they come in, and where they are."""

import json
from typing import Any

import pytest

from asu.resolution import (
    AmbiguousProfileError,
    UnknownProfileError,
    Version,
    directory,
)
from asu.resolution.metadata import (
    TargetProfiles,
    feeds_path,
    index_paths,
    profiles_path,
    read_feeds,
    read_index,
    read_profiles,
    read_targets,
    read_versions,
)
from asu.resolution.package_feed import Shared

RELEASE, SNAPSHOT = Version.parse("24.10.7"), Version.parse("SNAPSHOT")
KERNEL = {"version": "6.6.93", "release": "1", "vermagic": "7ec7"}


def document(**fields: Any) -> dict[str, Any]:
    """Return a profiles.json with a few devices."""
    profiles = {
        "glinet_gl-ar300m-nand": {
            "supported_devices": ["glinet,gl-ar300m-nand", "glinet,gl-ar300m"],
            "device_packages": ["kmod-usb2"],
        },
        "glinet_gl-ar300m-nor": {
            "supported_devices": ["glinet,gl-ar300m-nor", "glinet,gl-ar300m"],
            "device_packages": ["kmod-usb2"],
        },
        "tplink_archer-c7-v5": {
            "supported_devices": ["tplink,archer-c7-v5", "archer-c7-v5", "archer-c7-v5"],
            "device_packages": ["-dnsmasq"],
        },
    }
    common = ["base-files", "dnsmasq", "base-files"]
    return {
        "version_code": "r28427",
        "arch_packages": "mips_24kc",
        "default_packages": common,
        "profiles": profiles,
        **fields,
    }


def profiles(**fields: Any) -> TargetProfiles:
    """Return the same, read."""
    return read_profiles(document(**fields))


def test_profiles_tell_the_defaults_of_each_device() -> None:
    """Target and device together, doubles once, what the device takes away left out."""
    found = profiles().defaults_of(RELEASE, "tplink_archer-c7-v5")

    assert found is not None
    assert list(found.defaults) == ["base-files"]
    assert profiles().defaults_of(RELEASE, "other") is None


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("glinet_gl-ar300m-nand", "glinet_gl-ar300m-nand"),
        ("glinet,gl-ar300m-nand", "glinet_gl-ar300m-nand"),
        ("glinet_gl-ar300m-nor", "glinet_gl-ar300m-nor"),
        ("tplink,archer-c7-v5", "tplink_archer-c7-v5"),
        ("archer-c7-v5", "tplink_archer-c7-v5"),
    ],
)
def test_a_profile_is_found_by_each_of_its_names(name: str, profile: str) -> None:
    """An exact id wins over any other profile's claim: who asks for -nand never gets -nor."""
    assert profiles().find(name) == profile


def test_a_name_that_two_profiles_claim_is_refused_with_both() -> None:
    """Flashing the wrong one would brick the device."""
    with pytest.raises(
        AmbiguousProfileError, match="glinet_gl-ar300m-nand, glinet_gl-ar300m-nor"
    ) as raised:
        profiles().find("glinet,gl-ar300m")

    assert raised.value.candidates == ("glinet_gl-ar300m-nand", "glinet_gl-ar300m-nor")


def test_a_name_that_nobody_claims_is_unknown() -> None:
    """Nothing is guessed."""
    with pytest.raises(UnknownProfileError):
        profiles().find("glinet_gl-ar300")


def test_a_target_with_one_generic_profile_takes_any_name() -> None:
    """Every PC is an x86 generic, whatever its maker calls it."""
    assert profiles(profiles={"generic": {}}).find("qemu-standard-pc") == "generic"


def test_kernel_modules_are_where_the_kernel_says() -> None:
    """profiles.json tells the directory; older ones do not, and have none."""
    assert profiles(linux_kernel=KERNEL).kmods == "6.6.93-1-7ec7"
    assert profiles().kmods is None


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {},
        {"profiles": []},
        document(profiles=None),
        document(profiles={"a": None}),
        document(linux_kernel={"version": "6"}),
    ],
)
def test_a_document_of_another_shape_is_refused(broken: Any) -> None:
    """Whoever reads it knows what can be raised."""
    with pytest.raises((KeyError, TypeError, AttributeError, ValueError)):
        read_profiles(broken)


@pytest.mark.parametrize(
    "part",
    [
        "",
        "..",
        "../../x",
        "a/b",
        "a b",
        "a?b",
        "a#b",
        "mips\n",
        "mips\0",
        "\u00e9",
        "x" * 129,
        None,
        17,
    ],
)
def test_what_becomes_a_part_of_a_path_can_lead_nowhere_else(part: Any) -> None:
    """A server that lies about its architecture or kernel is a broken server, not a way to other
    documents.
    """
    for lie in ({"arch_packages": part}, {"linux_kernel": {**KERNEL, "version": f"/{part}"}}):
        with pytest.raises(ValueError, match="part of a path"):
            profiles(**lie)


def test_paths_lie_below_the_directory_of_the_version() -> None:
    """Releases and snapshots have different ones."""
    assert (directory(RELEASE), directory(SNAPSHOT)) == ("releases/24.10.7", "snapshots")
    assert directory(Version.parse("24.10-SNAPSHOT")) == "releases/24.10-SNAPSHOT"
    assert (
        profiles_path(RELEASE, "ath79/generic")
        == "releases/24.10.7/targets/ath79/generic/profiles.json"
    )
    assert feeds_path(SNAPSHOT, "mips_24kc") == "snapshots/packages/mips_24kc/feeds.conf"


def test_indexes_are_those_of_the_target_the_modules_and_the_feeds() -> None:
    """In the builder's order of preference."""
    assert list(
        index_paths(RELEASE, "ath79/generic", profiles(linux_kernel=KERNEL), ["base", "luci"])
    ) == [
        "releases/24.10.7/targets/ath79/generic/packages",
        "releases/24.10.7/targets/ath79/generic/kmods/6.6.93-1-7ec7",
        "releases/24.10.7/packages/mips_24kc/base",
        "releases/24.10.7/packages/mips_24kc/luci",
    ]


def test_modules_that_are_not_split_off_have_no_index_of_their_own() -> None:
    """Without a kernel in profiles.json there is nothing more to look at."""
    assert list(index_paths(RELEASE, "ath79/generic", profiles(), [])) == [
        "releases/24.10.7/targets/ath79/generic/packages"
    ]


def test_versions_are_sorted_by_age_and_the_distant_past_is_left_out() -> None:
    """Names such as 8.09 and trunk have no place in today's order."""
    listed = ["23.05.9", "23.05.10", "8.09", "trunk", "24.10.0-rc7", "24.10.0"]
    releases = read_versions(
        {"stable_version": "24.10.0", "oldstable_version": "23.05.10", "versions_list": listed}
    )

    assert releases.latest == ("24.10.0", "23.05.10")
    assert list(map(str, releases.versions)) == ["24.10.0", "24.10.0-rc7", "23.05.10", "23.05.9"]


def test_a_device_may_come_from_the_newest_release_of_each_older_branch() -> None:
    """Candidates are none, newer releases are none; the wanted version itself is one."""
    listed = [
        "22.03.7",
        "23.05.9",
        "23.05.10",
        "24.10.0",
        "24.10.4",
        "25.12.0-rc1",
        "25.12.0",
        "25.12.1",
    ]
    releases = read_versions({"stable_version": "25.12.1", "versions_list": listed})

    assert list(map(str, releases.candidates(Version.parse("25.12.0")))) == [
        "25.12.0",
        "24.10.4",
        "23.05.10",
        "22.03.7",
    ]
    assert list(map(str, releases.candidates(SNAPSHOT)))[:2] == ["SNAPSHOT", "25.12.1"]


def test_targets_have_an_architecture() -> None:
    """As .targets.json says."""
    assert read_targets({"ath79/generic": "mips_24kc"}) == {"ath79/generic": "mips_24kc"}


def test_feeds_are_the_second_word_of_their_lines() -> None:
    """Comments are none, and a name that would lead to another directory is none either."""
    text = (
        "# feeds\nsrc-git luci https://example.org/luci.git^1\nsrc-git-full packages"
        " https://example.org/p.git\nsrc-git ../../x https://e\nsrc-git .. https://e\nsrc-git a?b"
        " https://e\nsrc-git a\0b https://e\nsrc-git\n"
    )

    assert read_feeds(text) == ("luci", "packages")


def test_an_index_of_version_2_is_taken_as_it_stands() -> None:
    """It names libraries without the version of their interface."""
    found = read_index(
        {"version": 2, "architecture": "mips_24kc", "packages": {"libubox": "1", "iperf3": "3"}},
        Shared(),
    )

    assert found == {"libubox": "1", "iperf3": "3"}


def test_an_index_of_version_1_knows_libraries_by_both_names() -> None:
    """It names them with the version of their interface, which few clients send."""
    found = read_index(
        {
            "architecture": "mips_24kc",
            "packages": {"libubox20240329": "1", "libusb-1.0-0": "2", "iperf3": "3"},
        },
        Shared(),
    )

    assert found == {
        "libubox20240329": "1",
        "libubox": "1",
        "libusb-1.0-0": "2",
        "libusb-1.0": "2",
        "iperf3": "3",
    }


def test_equal_names_are_kept_once() -> None:
    """Releases and architectures share nearly all of them, and memory is bounded."""
    names = Shared()
    one, other = (
        read_index(json.loads('{"version": 2, "packages": {"libubox": "1"}}'), names)
        for _ in range(2)
    )

    assert next(iter(one)) is next(iter(other))
