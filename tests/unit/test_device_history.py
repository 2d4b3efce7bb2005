"""Where an older release has a device: under another name, in another target, or nowhere."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from asu.resolution import Gatherer, PackageRequest, Resolution, Version, load_rules
from tests.unit.fixtures.small_world import COMMON, FewDocuments, absolute

NEW, OLD, OLDEST = "25.12.5", "24.10.7", "23.05.6"
TARGET = "realtek/rtl838x"
DEVICE = (TARGET, "zyxel_gs1900-24hp-a1")
POE = "realtek-poe"  # A default of the switch since 24.10.
VERSIONS = json.dumps({"stable_version": NEW, "versions_list": [NEW, OLD, OLDEST]})


def profiles(devices: Mapping[str, Iterable[str]], own: Mapping[str, Iterable[str]]) -> str:
    """Return a profiles.json of devices with their supported names; some have `own` packages."""
    document: dict[str, Any] = {
        "version_code": "r1",
        "arch_packages": "mips_4kec",
        "default_packages": COMMON,
        "profiles": {
            profile: {
                "device_packages": list(own.get(profile, ())),
                "supported_devices": list(names),
            }
            for profile, names in devices.items()
        },
    }
    return json.dumps(document)


def release(version: str, target: str, *devices: str, own: Iterable[str] = ()) -> dict[str, str]:
    """Return the documents of a release in which one target has these devices."""
    names = {profile: [profile.replace("_", ",", 1)] for profile in devices}
    entries = [{"id": profile, "target": target, "titles": []} for profile in devices]
    base = f"releases/{version}"
    return {
        f"{base}/targets/{target}/profiles.json": profiles(names, dict.fromkeys(devices, own)),
        f"{base}/.overview.json": json.dumps({"release": version, "profiles": entries}),
        f"{base}/.targets.json": json.dumps({target: "mips_4kec"}),
    }


def newest(*supported: str) -> dict[str, str]:
    """Return the documents of the newest release, whose device supports these names."""
    base = f"releases/{NEW}"
    index = {"version": 2, "packages": dict.fromkeys((*COMMON, POE, "luci"), "1")}
    return {
        ".versions.json": VERSIONS,
        f"{base}/targets/{TARGET}/profiles.json": profiles(
            {DEVICE[1]: supported}, {DEVICE[1]: (POE,)}
        ),
        f"{base}/targets/{TARGET}/packages/index.json": json.dumps(index),
        f"{base}/packages/mips_4kec/feeds.conf": "src-git base https://example.org/base.git\n",
        f"{base}/packages/mips_4kec/base/index.json": json.dumps(index),
    }


def decide(documents: Mapping[str, str], request: PackageRequest) -> Resolution:
    """Return what a new service would decide."""
    return asyncio.run(Gatherer(FewDocuments(documents)).decide(request, load_rules()))


def upgrade(since: str | None, *, without: Iterable[str] = ()) -> PackageRequest:
    """Return the upgrade of a switch with the defaults of an old release, or some of them."""
    packages = [name for name in (*COMMON, "luci") if name not in without]
    return absolute(packages, NEW, since=since, device=DEVICE)


RENAMED = {
    "with its old name as its board's": release(OLD, TARGET, "zyxel_gs1900-24hp-v1"),
    "with a name that the old one supported, too": {
        **release(OLD, TARGET, "zyxel_gs1900"),
        f"releases/{OLD}/targets/{TARGET}/profiles.json": profiles(
            {"zyxel_gs1900": ["zyxel,gs1900-24hp-v1"]}, {}
        ),
    },
    "moved from another target": release(OLD, "realtek/generic", "zyxel_gs1900-24hp-v1"),
    "moved under its own name": release(OLD, "elsewhere/generic", DEVICE[1]),
    "moved, on a server without lists of devices": {
        path: text
        for path, text in release(OLD, "realtek/generic", "zyxel_gs1900-24hp-v1").items()
        if "overview" not in path
    },
}


@pytest.mark.parametrize("since", [OLD, None])
@pytest.mark.parametrize("old", RENAMED.values(), ids=RENAMED)
def test_a_renamed_device_keeps_what_became_a_default(
    old: dict[str, str], since: str | None
) -> None:
    """Its old defaults are found, so the new one is new, and a removed one stays away."""
    documents = {**newest("zyxel,gs1900-24hp-v1"), **old}
    resolution = decide(documents, upgrade(since, without=["dnsmasq"]))

    assert resolution.packages == (*upgrade(since, without=["dnsmasq"]).packages, POE, "-dnsmasq")
    assert resolution.why("dnsmasq") == "removed by the user before the upgrade"
    assert resolution.warnings == ()
    assert resolution.from_version is not None
    assert resolution.from_version.version == OLD


def test_the_own_profile_is_surer_than_a_supported_name() -> None:
    """Another device of the old release may support the same name."""
    names = {DEVICE[1]: ["zyxel,gs1900-24hp-v1"], "zyxel_gs1900-24hp-v1": []}
    own = {"zyxel_gs1900-24hp-v1": [POE]}
    old = {
        **release(OLD, TARGET, *names),
        f"releases/{OLD}/targets/{TARGET}/profiles.json": profiles(names, own),
    }

    assert POE in decide({**newest(*names[DEVICE[1]]), **old}, upgrade(OLD)).packages


@pytest.mark.parametrize("since", [OLD, None])
def test_a_device_that_no_older_release_has_loses_nothing(since: str | None) -> None:
    """What only the device has is added with a warning; what its whole target had was removed."""
    documents = {**newest("zyxel,other"), **release(OLD, TARGET, "zyxel_gs1900-24hp-v1")}
    resolution = decide(documents, upgrade(since, without=["dnsmasq"]))

    assert POE in resolution.packages
    assert "-dnsmasq" in resolution.packages
    [warning] = resolution.warnings
    assert "No older release has this device" in warning
    assert POE in warning


@pytest.mark.parametrize("since", [OLD, None])
def test_a_device_of_a_new_target_loses_nothing(since: str | None) -> None:
    """No older release shows anything, so no default counts as removed by the user."""
    documents = {**newest(), **release(OLD, "ath79/generic", "other_device")}
    resolution = decide(documents, upgrade(since, without=["dnsmasq"]))

    assert not [name for name in resolution.packages if name.startswith("-")]
    assert {POE, "dnsmasq"} <= set(resolution.packages)
    assert "dnsmasq, realtek-poe" in resolution.warnings[0]


def test_only_a_device_that_is_not_in_its_target_is_looked_for_elsewhere() -> None:
    """Nearly all devices stay where they are."""
    documents = FewDocuments({**newest(), **release(OLD, TARGET, DEVICE[1])})
    asyncio.run(Gatherer(documents).decide(upgrade(OLD), load_rules()))

    assert not [path for path in documents.reads if "overview" in path or ".targets" in path]


def test_a_moved_device_can_be_asked_for() -> None:
    """The API names the new place to a client that asks for the old one."""
    documents = release("24.10.7", "qualcommax/ipq807x", "xiaomi_ax3600")
    history = Gatherer(FewDocuments(documents)).history
    asked = history.places(Version.parse("24.10.7"), "ipq807x/generic", ("xiaomi_ax3600",))

    assert asyncio.run(asked) == [("qualcommax/ipq807x", "xiaomi_ax3600")]
