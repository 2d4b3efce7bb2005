"""The device search finds what a person types."""

import json
from typing import Any

import pytest

from asu.catalogue.devices import Devices, merged, read_devices
from asu.catalogue.validation import Catalogue
from asu.errors import UnsupportedVersion
from asu.resolution import Gatherer, load_rules
from asu.settings import Settings
from tests.twins.memory_upstream import MemoryUpstream


def overview(*profiles: tuple[str, str, str]) -> dict[str, Any]:
    """Return a release's list of devices: id, target, and "vendor|model|variant"."""
    return {
        "profiles": [
            {
                "id": name,
                "target": target,
                "titles": [
                    dict(zip(("vendor", "model", "variant"), title.split("|"), strict=False))
                ],
            }
            for name, target, title in profiles
        ]
    }


pytestmark = pytest.mark.anyio

DOCUMENTS = {
    ".versions.json": {
        "stable_version": "25.12.1",
        "oldstable_version": "24.10.4",
        "versions_list": ["25.12.1", "25.12.0", "24.10.4"],
    },
    "releases/25.12.1/.targets.json": {"ath79/tiny": "mips_24kc"},
    "releases/25.12.1/.overview.json": overview(
        ("tplink_archer-c7-v5", "ath79/generic", "TP-Link|Archer C7|v5"),
        ("tplink_archer-c7-v2", "ath79/generic", "TP-Link|Archer C7|v2"),
        ("moved_box", "ath79/tiny", "Moved|Box"),
        ("generic", "x86/64", "Generic|x86/64"),
        ("generic", "x86/generic", "Generic|x86"),
    ),
    "releases/24.10.4/.overview.json": overview(
        ("tplink_archer-c7-v5", "ath79/generic", "TP-Link|Archer C7|v5"),
        ("moved_box", "ath79/generic", "Moved|Box"),
        ("gone_box", "ath79/generic", "Gone|Box"),
        ("generic", "x86/64", "Generic|x86/64"),
    ),
}


@pytest.fixture
def devices() -> Devices:
    """Return the search over two branches."""
    upstream = MemoryUpstream(DOCUMENTS)
    catalogue = Catalogue(upstream, Gatherer(upstream), Settings(), load_rules())
    return Devices(upstream, catalogue)


async def profiles(devices: Devices, query: str, version: str | None = None) -> list[str]:
    """Return the profiles that a search finds, in its order."""
    return [found["profile"] for found in await devices.search(query, version, 10)]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("archer c7 v5", "tplink_archer-c7-v5"),
        ("ArcherC7", "tplink_archer-c7-v2"),
        ("tplink,archer-c7-v2", "tplink_archer-c7-v2"),
        ("tp-link v5", "tplink_archer-c7-v5"),
    ],
    ids=["words", "one word", "board name", "vendor with a hyphen"],
)
async def test_a_device_is_found_as_people_write_it(
    devices: Devices, query: str, first: str
) -> None:
    """Case, hyphens, commas and missing spaces do not matter."""
    assert (await profiles(devices, query))[0] == first


async def test_a_device_that_moved_is_one_with_both_targets(devices: Devices) -> None:
    """It is named as in the newest release."""
    [found] = await devices.search("moved", None, 10)

    assert found["target"] == "ath79/tiny"
    assert [release["target"] for release in found["releases"]] == ["ath79/tiny", "ath79/generic"]


async def test_a_profile_of_several_targets_is_a_device_in_each(devices: Devices) -> None:
    """`generic` of x86/64 and of x86/generic are two machines."""
    found = await devices.search("generic x86", None, 10)

    assert sorted(device["target"] for device in found) == ["x86/64", "x86/generic"]


async def test_a_device_that_was_dropped_shows_where_it_still_is(devices: Devices) -> None:
    """Its releases end before the newest."""
    [found] = await devices.search("gone", None, 10)

    assert [release["version"] for release in found["releases"]] == ["24.10.4"]


async def test_with_a_version_only_its_devices_are_found(devices: Devices) -> None:
    """A dropped device is not in the newest release, and an unknown version is refused."""
    assert await profiles(devices, "box", "25.12.1") == ["moved_box"]
    with pytest.raises(UnsupportedVersion):
        await devices.search("box", "25.12.9", 10)


def test_a_list_that_is_none_is_refused() -> None:
    """The caller keeps its last good copy."""
    with pytest.raises((ValueError, LookupError, TypeError)):
        read_devices(json.dumps({"profiles": [{"target": "x86/64"}]}).encode())
    assert merged([]) == ()


async def test_a_half_published_release_hides_no_branch() -> None:
    """The release before it is shown until the newest has its list of devices."""
    documents = json.loads(json.dumps(DOCUMENTS))
    del documents["releases/25.12.1/.overview.json"]
    documents["releases/25.12.0/.overview.json"] = DOCUMENTS["releases/25.12.1/.overview.json"]
    upstream = MemoryUpstream(documents)
    gatherer = Gatherer(upstream)
    catalogue = Catalogue(upstream, gatherer, Settings(), load_rules())
    [found] = await Devices(upstream, catalogue).search("archer c7 v5", None, 9)

    assert [release["version"] for release in found["releases"]] == ["25.12.0", "24.10.4"]
