"""What owut and auc read before they ask: profiles and package lists, in the shapes that they
know.
"""

from typing import Any

import pytest

from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import ATH79, REVISION, metadata, opened

PROFILE = {
    "device_packages": ["kmod-ath10k-ct"],
    "supported_devices": ["tplink,archer-c7-v5"],
    "titles": [{"vendor": "TP-Link"}],
    "images": [],
}
KERNEL = {"version": "6.6.110", "release": "1", "vermagic": "ab"}
BASE = "releases/24.10.4"


def documents() -> dict[str, Any]:
    """Return a downloads server with indexes: modules split off in 24.10.4, an index of the first
    shape in 23.05.10.
    """
    profiles = {
        **ATH79,
        "linux_kernel": KERNEL,
        "source_date_epoch": 1760891865,
        "profiles": {"tplink_archer-c7-v5": PROFILE},
    }
    indexes = {
        f"{BASE}/targets/ath79/generic/packages": {"base-files": "1"},
        f"{BASE}/targets/ath79/generic/kmods/6.6.110-1-ab": {"kmod-usb2": "6.6.110-r1"},
        f"{BASE}/packages/mips_24kc/base": {"busybox": "1.36", "libubox": "2024"},
        f"{BASE}/packages/mips_24kc/luci": {"luci": "24"},
        "snapshots/targets/ath79/generic/packages": {"base-files": "9"},
        "snapshots/packages/mips_24kc/base": {"busybox": "1.37"},
    }
    return {
        **metadata(),
        f"{BASE}/targets/ath79/generic/profiles.json": profiles,
        f"{BASE}/packages/mips_24kc/feeds.conf": (
            "src-git base https://example.org/base.git^01\nsrc-git luci"
            " https://example.org/luci.git^02\n"
        ),
        "snapshots/packages/mips_24kc/feeds.conf": "src-git base https://example.org/base.git^01\n",
        "releases/23.05.10/packages/mips_24kc/feeds.conf": (
            "src-git base https://example.org/base.git^01\n"
        ),
        "releases/23.05.10/packages/mips_24kc/base/index.json": {
            "architecture": "mips_24kc",
            "packages": {"libubox20230523": "2023"},
        },
        **{
            f"{path}/index.json": {"version": 2, "architecture": "mips_24kc", "packages": packages}
            for path, packages in indexes.items()
        },
    }


def get(path: str, **changes: Any) -> Any:
    """Ask the API for a path."""
    with opened(upstream=MemoryUpstream({**documents(), **changes})) as world:
        return world.client.get(path)


def test_a_profile_has_its_own_facts_and_those_of_its_target() -> None:
    """Auc reads images, architecture, target and version from one object, and takes no other
    types.
    """
    answer = get("/json/v1/releases/24.10.4/targets/ath79/generic/tplink_archer-c7-v5.json").json()

    assert {
        **PROFILE,
        "metadata_version": 1,
        "arch_packages": "mips_24kc",
        "target": "ath79/generic",
        "version_code": REVISION,
    }.items() <= answer.items()
    assert (answer["id"], answer["build_at"]) == ("tplink_archer-c7-v5", "2025-10-19T16:37:45Z")
    assert "profiles" not in answer


def test_a_board_name_finds_its_profile_and_an_unknown_one_nothing() -> None:
    """The reference answers an empty object for what it does not know, which auc takes as "not in
    this version".
    """
    assert (
        get("/json/v1/releases/24.10.4/targets/ath79/generic/tplink,archer-c7-v5.json").json()["id"]
        == "tplink_archer-c7-v5"
    )
    unknown = get("/json/v1/releases/24.10.4/targets/ath79/generic/nothing.json")
    assert (unknown.status_code, unknown.json()) == (200, {})


def test_a_targets_index_is_nested_and_holds_the_kernel_modules() -> None:
    """Owut looks for modules there; its architecture must be the one that the branch names."""
    answer = get("/json/v1/releases/24.10.4/targets/ath79/generic/index.json").json()

    assert answer == {
        "architecture": "mips_24kc",
        "packages": {"base-files": "1", "kmod-usb2": "6.6.110-r1"},
    }


def test_an_architectures_index_is_flat_and_holds_all_feeds() -> None:
    """And nothing that belongs to one target."""
    assert get("/json/v1/releases/24.10.4/packages/mips_24kc-index.json").json() == {
        "busybox": "1.36",
        "libubox": "2024",
        "luci": "24",
    }


def test_an_architectures_index_needs_no_target() -> None:
    """Lists of targets and profiles may be broken or late; the feeds are there all the same."""
    broken = {
        f"{BASE}/.targets.json": "<html>",
        f"{BASE}/targets/ath79/generic/profiles.json": "<html>",
    }
    path = "/json/v1/releases/24.10.4/packages/mips_24kc-index.json"

    assert get(path, **broken).json()["luci"] == "24"


@pytest.mark.parametrize("name", ["..%2f..", "mips 24kc", "%2e%2e", "a" * 300])
def test_an_architecture_is_a_name(name: str) -> None:
    """It becomes a part of a path on the downloads server."""
    assert get(f"/json/v1/releases/24.10.4/packages/{name}-index.json").status_code == 404


NAMES = (
    "luci-i18n-base-de",
    "luci-i18n-base-pt-br",
    "luci-i18n-opkg-ja",
    "luci-i18n-package-manager-de",
    "libubox",
)


def test_changes_of_many_names_have_an_entry_for_each() -> None:
    """Clients know plain names only: owut refuses an upgrade with a name that is nowhere."""
    feeds = {
        f"{BASE}/packages/x86_64/feeds.conf": "src-git luci https://example.org/luci.git^02\n",
        f"{BASE}/packages/x86_64/luci/index.json": {
            "version": 2,
            "packages": dict.fromkeys(NAMES, "1"),
        },
    }
    branches = get("/json/v1/overview.json", **feeds).json()["branches"]
    changes = {
        name: {one["source"]: one for one in branch["package_changes"]}
        for name, branch in branches.items()
    }

    renamed = {"target": "luci-i18n-package-manager-de", "revision": 27897}
    assert changes["24.10"]["luci-i18n-opkg-de"] == {"source": "luci-i18n-opkg-de", **renamed}
    assert changes["25.12"]["luci-i18n-opkg-ja"]["target"] == "luci-i18n-package-manager-ja"
    assert "luci-i18n-opkg-de" not in changes["23.05"]
    assert changes["23.05"]["luci-i18n-base-en"].keys() == {"source", "revision"}
    assert not [name for name in changes["25.12"] if name in NAMES and "opkg" not in name]
    for branch in branches.values():
        entries = branch["package_changes"]
        assert all(type(one["revision"]) is int for one in entries)
        assert len({one["source"] for one in entries}) == len(entries)


@pytest.mark.parametrize("index", ["<html>", {"packages": 7}])
def test_without_indexes_the_overview_still_has_the_plain_changes(index: object) -> None:
    """It is asked for before every upgrade, so trouble with a feed must not take it down."""
    conf = {f"{BASE}/packages/x86_64/feeds.conf": "src-git luci https://example.org/x.git^02\n"}
    broken = {f"{BASE}/packages/x86_64/luci/index.json": index}
    branches = get("/json/v1/overview.json", **conf, **broken).json()["branches"]

    assert {one["source"] for one in branches["24.10"]["package_changes"]} >= {"auc", "firewall"}


def test_old_indexes_tell_names_without_their_abi() -> None:
    """Clients ask for `libubox`, whatever version of its interface an old index carries in the
    name.
    """
    assert (
        get("/json/v1/releases/23.05.10/packages/mips_24kc-index.json").json()["libubox"] == "2023"
    )


def test_the_snapshot_has_lists_too() -> None:
    """Its path has no version."""
    assert get("/json/v1/snapshots/packages/mips_24kc-index.json").json() == {"busybox": "1.37"}
    assert get("/json/v1/snapshots/targets/ath79/generic/index.json").json()["packages"] == {
        "base-files": "9"
    }


@pytest.mark.parametrize(
    "path",
    [
        "/json/v1/releases/24.10.4/targets/ath79/tiny/index.json",
        "/json/v1/releases/24.10.4/targets/ath79/tiny/any.json",
        "/json/v1/releases/24.10.4/packages/sparc-index.json",
        "/json/v1/releases/latest/packages/mips_24kc-index.json",
    ],
)
def test_what_there_is_not_is_not_found(path: str) -> None:
    """In the one shape of errors."""
    answer = get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_one_missing_feed_does_not_hide_the_others() -> None:
    """Most devices have nothing from it; without any list at all, no device could upgrade."""
    answer = get(
        "/json/v1/releases/24.10.4/packages/mips_24kc-index.json",
        **{f"{BASE}/packages/mips_24kc/luci/index.json": "broken"},
    )

    assert answer.json() == {"busybox": "1.36", "libubox": "2024"}
