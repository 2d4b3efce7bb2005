"""Kinds of requests that were reported as answered wrongly, each at both services' doors."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from asu.resolution import Version, load_rules
from tests.contract.both_doors import API, Doors, both_doors, posted

OLD, NEW = "24.10.7", "25.12.5"
TARGET, PROFILE = "mediatek/filogic", "openwrt_one"
REQUEST: dict[str, Any] = {"version": NEW, "target": TARGET, "profile": PROFILE}
LIBRARIES = {
    "jansson": ["jansson4"],
    "libblkid": ["libblkid1"],
    "libblobmsg-json": ["libblobmsg-json20240329", "libblobmsg-json20230523"],
    "libgcc": ["libgcc1"],
    "libgmp": ["libgmp10"],
    "libip4tc": ["libip4tc2"],
    "libiptext-nft": ["libiptext-nft0"],
    "libiptext6": ["libiptext6-0"],
    "libiwinfo": ["libiwinfo20230701"],
    "libjson-c": ["libjson-c5"],
    "liblua": ["liblua5.1.5"],
    "libmbedtls": ["libmbedtls12", "libmbedtls21"],
    "libnl-tiny": ["libnl-tiny1"],
    "libopenssl": ["libopenssl3", "libopenssl1.1"],
    "libsqlite3": ["libsqlite3-0"],
    "libubox": ["libubox20240329", "libubox20230523"],
    "libubus": ["libubus20250102", "libubus20230605"],
    "libuci": ["libuci20250120", "libuci20130104"],
    "libusb-1.0": ["libusb-1.0-0"],
    "libustream-mbedtls": ["libustream-mbedtls20201210"],
}


def index(names: Iterable[str]) -> dict[str, Any]:
    """Return an index.json."""
    return {"version": 2, "architecture": "a", "packages": dict.fromkeys(names, "1-r1")}


def documents(*names: str) -> dict[str, Any]:
    """Return two releases; the feed of the newer one has these packages."""
    found: dict[str, Any] = {
        ".versions.json": {"stable_version": NEW, "versions_list": [OLD, NEW]},
    }
    device = {"device_packages": [], "supported_devices": ["openwrt,one"]}
    for version in (OLD, NEW):
        base, feeds = f"releases/{version}", f"releases/{version}/packages/aarch64"
        found |= {
            f"{base}/.targets.json": {TARGET: "aarch64"},
            f"{base}/targets/{TARGET}/profiles.json": {
                "arch_packages": "aarch64",
                "version_code": "r1-a",
                "default_packages": ["base-files", "dnsmasq"],
                "profiles": {PROFILE: device},
            },
            f"{base}/targets/{TARGET}/packages/index.json": index(["base-files", "dnsmasq"]),
            f"{feeds}/feeds.conf": "src-git base https://example.org/base^1\n",
            f"{feeds}/base/index.json": index(["fitblk", "luci", *names]),
        }
    return found


def previews(doors: Doors, **fields: Any) -> list[dict[str, Any]]:
    """Return what both services foretell; their prepared requests are the same."""
    answers = posted(doors, json.dumps({**REQUEST, **fields}))
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    told: list[dict[str, Any]] = [answer.json() for answer in answers]
    assert told[0]["request_hash"] == told[1]["request_hash"]
    return told


@pytest.mark.parametrize("since", [OLD, NEW, None])
def test_the_name_of_an_interface_becomes_that_of_the_library(since: str | None) -> None:
    """Devices list libraries under the names of old releases; both spellings are one build."""
    with both_doors(documents(*LIBRARIES)) as doors:
        for plain, others in LIBRARIES.items():
            wanted = previews(doors, packages=["luci", plain], from_version=since)
            for other in others:
                for told in previews(doors, packages=["luci", other], from_version=since):
                    assert told["problems"] == []
                    assert (other, plain) in {
                        (change["from_package"], change["to_package"]) for change in told["changes"]
                    }
                    assert told["request_hash"] == wanted[0]["request_hash"]


@pytest.mark.parametrize("since", [OLD, NEW, None])
def test_a_name_that_is_gone_leads_on(since: str | None) -> None:
    """What a rule renames and the release lacks is replaced, wherever the device comes from."""
    rules = [
        rule
        for rule in load_rules().rules
        if rule.replace
        and rule.with_package
        and rule.target is None
        and rule.profiles is None
        and rule.lies_between(None, Version.parse(NEW))
    ]
    olds = {rule.replace for rule in rules}
    news = {rule.with_package for rule in rules if rule.with_package} - olds
    assert "luci-app-package-manager" in news
    with both_doors(documents(*news)) as doors:
        for rule in rules:
            for told in previews(doors, packages=["luci", rule.replace], from_version=since):
                assert told["problems"] == []
                assert rule.replace not in told["prepared_request"]["packages"]


@pytest.mark.parametrize(
    "script",
    ["#!/bin/sh\n\nwlan='Home'\nexit 0\n", "echo 1", "a\n\n\nb\n", "printf 'a\rb'\n", "\n"],
)
def test_the_line_ends_of_a_script_mean_nothing(script: str) -> None:
    """A script that came through a browser or an editor of Windows is the same script."""
    with both_doors(documents(), allow_defaults=True) as doors:
        for told in previews(doors, defaults=script.replace("\n", "\r\n")):
            assert told["prepared_request"]["defaults"] == script
            same = previews(doors, defaults=script)[0]
            assert told["request_hash"] == same["request_hash"]


@pytest.mark.parametrize("size", [1025, 5000, 10_240, 57_000, 10**9])
def test_the_limit_of_a_root_partition_is_named_once(size: int) -> None:
    """It is the server's own, whatever a request asks for."""
    with both_doors(documents()) as doors:
        said = doors[API].post(API, json={**REQUEST, "rootfs_size_mb": size}).json()

    assert said["detail"] == f"`rootfs_size_mb` is {size}; this server builds at most 1024 MB."


@pytest.mark.parametrize("packages", [[], ["luci"], ["luci", "no-such"]])
@pytest.mark.parametrize("is_whole_list", [True, False])
@pytest.mark.parametrize("target", [TARGET, "no/such"])
def test_a_preview_that_checked_nothing_says_so(
    packages: list[str],
    target: str,
    *,
    is_whole_list: bool,
) -> None:
    """With any of the documents missing, or all of them, `checked: false` comes with a warning."""
    request = {
        **REQUEST,
        "target": target,
        "packages": packages,
        "diff_packages": is_whole_list,
        "from_version": OLD,
    }
    found = documents()
    for lost in (*found, None):
        kept = {path: each for path, each in found.items() if lost and path != lost}
        with both_doors(kept, down=lost is None) as doors:
            for answer in posted(doors, json.dumps(request)):
                told = answer.json()
                if answer.is_success and not told["checked"]:
                    assert "not checked" in " ".join(told["warnings"]), lost
                else:
                    assert answer.is_success or told["detail"], lost
