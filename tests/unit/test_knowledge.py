"""What the downloads server tells, as plain values: a device's defaults, and what can be
installed.
"""

import pytest

from asu.resolution import DeviceDefaults, PackageIndex, Version
from asu.resolution.knowledge import BUILT_IN, is_library, without_abi

VERSION = Version.parse("25.12.5")


def test_defaults_are_the_targets_and_the_devices_own() -> None:
    """The order is the target's first, then the profile's."""
    found = DeviceDefaults.of(VERSION, ["base-files", "dnsmasq"], ["kmod-usb3"])

    assert (list(found.defaults), found.device_packages) == (
        ["base-files", "dnsmasq", "kmod-usb3"],
        frozenset({"kmod-usb3"}),
    )


def test_a_leading_dash_takes_a_default_away() -> None:
    """A removal of the profile is no default, and one of a package that is none does nothing."""
    found = DeviceDefaults.of(VERSION, ["base-files", "dnsmasq"], ["-dnsmasq", "-ppp"])

    assert (list(found.defaults), found.device_packages) == (["base-files"], frozenset())


def test_a_device_package_that_is_a_default_too_is_the_devices_own() -> None:
    """Removing it is then worth a warning."""
    found = DeviceDefaults.of(VERSION, ["base-files", "kmod-usb3"], ["kmod-usb3"])

    assert (list(found.defaults), found.device_packages) == (
        ["base-files", "kmod-usb3"],
        frozenset({"kmod-usb3"}),
    )


def test_the_first_index_that_holds_a_package_tells_its_version() -> None:
    """The parts stand in the builder's order of preference."""
    found = PackageIndex(({"vim": "2"}, {"vim": "1", "nano": "3"}))

    assert (found.version_of("vim"), found.version_of("nano"), found.version_of("emacs")) == (
        "2",
        "3",
        None,
    )


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("libubox20240329", "libubox"),
        ("libusb-1.0-0", "libusb-1.0"),
        ("libopenssl3", "libopenssl"),
        ("jansson4", "jansson"),
        ("libc", "libc"),
        ("ath10k-firmware-qca9887", "ath10k-firmware-qca9887"),
        ("iperf3", "iperf3"),
        ("kmod-usb2", "kmod-usb2"),
    ],
)
def test_only_libraries_end_in_the_version_of_an_interface(name: str, plain: str) -> None:
    """The number at the end of iperf3 or kmod-usb2 is part of the name."""
    assert without_abi(name) == plain


def test_libraries_are_told_by_their_names() -> None:
    """As OpenWrt names them."""
    assert is_library("libubox20240329")
    assert not is_library("luci-lib-base")


def test_the_image_builder_brings_what_no_index_holds() -> None:
    """These three are never looked up."""
    assert {"kernel", "libc", "base-files"} == BUILT_IN
