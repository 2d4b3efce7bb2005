"""The preview through the service's public face."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from asu_prepare.answers import PreviewAnswer
from asu_prepare.prepare_request import PrepareRequest
from asu_prepare.resolution.request_hash import IDENTITY, LATER_IDENTITY, NOT_IDENTITY

PREPARE = "/api/v1/prepare"
GOLDEN = json.loads(Path(__file__).with_name("golden_hashes.json").read_text(encoding="utf-8"))
OLD_LIST = [
    "firewall", "libustream-wolfssl", "px5g-wolfssl", "wpad-basic-wolfssl", "auc", "luci-app-opkg",
    "luci-i18n-opkg-de", "luci-i18n-base-en", "opkg",
]  # fmt: skip


def prepared(client: TestClient, request: dict[str, Any]) -> dict[str, Any]:
    """Return the preview of a request that must succeed."""
    answer = client.post(PREPARE, json=request)
    assert answer.status_code == 200, answer.text
    preview: dict[str, Any] = answer.json()
    return preview


def test_a_home_hub_keeps_its_network(client: TestClient, home_hub: dict[str, Any]) -> None:
    """The drivers that became packages of their own are added, with reason, rule and reference."""
    preview = prepared(client, home_hub)

    assert preview["resolved_packages"] == [
        "luci",
        "apk-mbedtls",
        "-ppp",
        "kmod-dsa-gswip",
        "xrx200-rev1.1-phy11g-firmware",
        "xrx200-rev1.2-phy11g-firmware",
    ]
    assert preview["changes"][1] == {
        "type": "addition",
        "action": "add",
        "package": "kmod-dsa-gswip",
        "from_package": None,
        "to_package": "kmod-dsa-gswip",
        "reason": "The switch driver became a package of its own; without it there is no LAN.",
        "automatic": True,
        "rule": "lantiq-xrx200-dsa-gswip",
        "reference": "openwrt/openwrt@62bf0287326d, openwrt/openwrt@a18d95f35bd5",
    }


def test_the_answer_has_exactly_the_documented_keys(
    client: TestClient, home_hub: dict[str, Any]
) -> None:
    """What the interface describes is what is answered, in that order."""
    preview = prepared(client, home_hub)

    PreviewAnswer.model_validate(preview, strict=False)
    assert set(preview) == set(PreviewAnswer.model_fields)
    assert preview["status"] == "prepared"
    assert preview["checked"] is False
    assert preview["from_version"] == {"version": "24.10.4", "inferred": False, "evidence": None}


def test_a_jump_over_four_releases_is_explained_in_one_answer(client: TestClient) -> None:
    """From 21.02 to 25.12 each old name is migrated or removed."""
    preview = prepared(
        client,
        {
            "from_version": "21.02.7",
            "version": "25.12.0",
            "target": "x86/64",
            "profile": "generic",
            "packages": OLD_LIST,
        },
    )

    assert [(change["from_package"], change["to_package"]) for change in preview["changes"]] == [
        ("firewall", "firewall4"),
        ("libustream-wolfssl", "libustream-mbedtls"),
        ("px5g-wolfssl", "px5g-mbedtls"),
        ("wpad-basic-wolfssl", "wpad-basic-mbedtls"),
        ("auc", "owut"),
        ("luci-app-opkg", "luci-app-package-manager"),
        ("luci-i18n-opkg-de", "luci-i18n-package-manager-de"),
        ("luci-i18n-base-en", None),
        ("opkg", "apk-mbedtls"),
    ]


def test_a_short_jump_touches_only_what_had_changed_by_then(client: TestClient) -> None:
    """From 21.02 to 22.03 the later renames do not apply."""
    preview = prepared(
        client,
        {
            "from_version": "21.02.7",
            "version": "22.03.7",
            "target": "x86/64",
            "profile": "generic",
            "packages": OLD_LIST,
        },
    )

    assert [change["package"] for change in preview["changes"]] == ["firewall", "luci-i18n-base-en"]


def test_without_the_old_version_every_change_up_to_the_new_one_applies(
    client: TestClient, home_hub: dict[str, Any]
) -> None:
    """A client that does not say what runs now is not left without its drivers."""
    del home_hub["from_version"]
    preview = prepared(client, home_hub)

    assert preview["from_version"] is None
    assert "kmod-dsa-gswip" in preview["resolved_packages"]


def test_a_prepared_request_prepares_to_itself(
    client: TestClient, home_hub: dict[str, Any]
) -> None:
    """Preparing twice gives the same request and the same hash, without a change."""
    once = prepared(client, home_hub)
    again = prepared(client, once["prepared_request"])

    assert again["changes"] == []
    assert again["prepared_request"] == once["prepared_request"]
    assert again["request_hash"] == once["request_hash"]


def test_the_same_request_gets_the_same_bytes(client: TestClient, home_hub: dict[str, Any]) -> None:
    """Two requests, also with their keys in another order, are answered byte for byte alike."""
    reordered = dict(reversed(home_hub.items()))

    assert (
        client.post(PREPARE, json=home_hub).content == client.post(PREPARE, json=reordered).content
    )


@pytest.mark.parametrize(
    ("request_", "expected"),
    [(request, entry["hash"]) for entry in GOLDEN for request in entry["requests"]],
)
def test_golden_vectors(client: TestClient, request_: dict[str, Any], expected: str) -> None:
    """The service announces the identity that the build server computes; each side reads its own
    copy of these vectors.
    """
    pinned = {**request_, "from_version": request_["version"]}

    assert prepared(client, pinned)["request_hash"] == expected


def test_every_field_passes_through(client: TestClient) -> None:
    """A prepared request is complete: whatever the client sent is in it, and nothing that it did
    not know.
    """
    request = {
        "distro": "openwrt", "version": "24.10.4", "version_code": "r28739-d9340319c6",
        "target": "ath79/generic",
        "profile": "tplink_archer-c7-v5", "packages": ["luci"],
        "packages_versions": {"luci": "25.1~a"}, "diff_packages": True,
        "defaults": "uci commit\n", "rootfs_size_mb": 256, "filesystem": "squashfs",
        "repositories": {"extra": "https://example.org/x"},
        "repositories_mode": "append", "repository_keys": ["key"], "client": "owut/2026.07.08-r1",
        "from_version": "24.10.3",
        "ignored_changes": ["auc-owut"], "leave_out_missing": True,
        "any_order": True,
    }  # fmt: skip

    assert set(request) == set(PrepareRequest.model_fields)
    assert (
        prepared(client, {**request, "advanced_mode": 1, "efi": None})["prepared_request"]
        == request
    )


def test_a_short_request_is_completed(client: TestClient) -> None:
    """Fields that were not sent stand with their defaults."""
    request = prepared(client, {"version": "24.10.4", "target": "x86/64", "profile": "generic"})[
        "prepared_request"
    ]

    assert set(request) == set(PrepareRequest.model_fields)
    assert (
        request["packages"],
        request["defaults"],
        request["repositories"],
        request["diff_packages"],
    ) == ([], None, {}, False)


def test_the_names_of_versions_stand_for_packages(client: TestClient) -> None:
    """Some clients (owut, auc) send names with versions and no list; the versions of replaced names
    are forgotten.
    """
    preview = prepared(
        client,
        {
            "version": "24.10.4",
            "target": "x86/64",
            "profile": "generic",
            "packages_versions": {"auc": "1", "vim": "9.1-r1"},
        },
    )

    assert preview["original_packages"] == ["auc", "vim"]
    assert preview["resolved_packages"] == ["owut", "vim"]
    assert preview["prepared_request"]["packages_versions"] == {"vim": "9.1-r1"}


def test_what_luci_really_sends_is_understood(client: TestClient) -> None:
    """A board name with a comma, a size as text, doubled names and an undefined client version are
    LuCI's ways.
    """
    preview = prepared(
        client,
        {
            "version": "24.10.4",
            "target": "ath79/generic",
            "profile": "tplink,archer-c7-v5",
            "rootfs_size_mb": "256",
            "client": "luci/undefined",
            "packages": ["luci", "luci"],
        },
    )

    assert (
        preview["resolved_profile"]
        == preview["prepared_request"]["profile"]
        == "tplink_archer-c7-v5"
    )
    assert preview["prepared_request"]["rootfs_size_mb"] == 256
    assert preview["original_packages"] == preview["resolved_packages"] == ["luci"]


def test_a_downgrade_is_warned_of(client: TestClient, home_hub: dict[str, Any]) -> None:
    """Going back is possible, and the user is told that it may not work."""
    assert "downgrade" in prepared(client, {**home_hub, "version": "23.05.5"})["warnings"][0]


def test_every_field_is_decided_on() -> None:
    """A new field is either part of the identity or on the list of exceptions with its reason."""
    hashed = {*IDENTITY, *LATER_IDENTITY}

    assert hashed | NOT_IDENTITY.keys() == set(PrepareRequest.model_fields)
