"""What both services say of a device that is not where the request looks for it."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from asu_prepare.config import Settings
from asu_prepare.main import create_app
from asu_prepare.upstream import MemoryDocuments
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import ATH79, TARGETS, VERSIONS, opened

OLD, NEW = "23.05.10", "24.10.4"
# Target → profile → other names of the device, in the old release and in the new one.
BEFORE: dict[str, dict[str, list[str]]] = {
    "ipq807x/generic": {"xiaomi_ax3600": ["xiaomi,ax3600"], "acme_lost": []},
    "realtek/generic": {"zyxel_gs1900-8": ["zyxel,gs1900-8"], "zyxel_gs1900-24-v1": []},
    "ath79/generic": {"tplink_small": ["tplink,small"], "luxul_abr-4500": ["luxul,abr-4500"]},
    "mips/twin": {"twin_a": []},
    "lantiq/xrx200": {"bt_homehub": []},
}
AFTER: dict[str, dict[str, list[str]]] = {
    "qualcommax/ipq807x": {"xiaomi_ax3600": ["xiaomi,ax3600"]},
    "realtek/rtl838x": {
        "zyxel_gs1900-8": ["zyxel,gs1900-8"],
        "zyxel_gs1900-24-a1": ["zyxel,gs1900-24-v1"],
    },
    "ath79/generic": {"luxul_abr-4500": ["luxul,abr-4500"]},
    "ath79/tiny": {"tplink_small": ["tplink,small"]},
    "one/of": {"twin_a": []},
    "two/of": {"twin_a": []},
    "lantiq/xrx200": {},
}
MOVED = [
    ("ipq807x/generic", "xiaomi,ax3600", "qualcommax/ipq807x", "xiaomi_ax3600"),
    ("realtek/generic", "zyxel_gs1900-8", "realtek/rtl838x", "zyxel_gs1900-8"),
    ("realtek/generic", "zyxel,gs1900-24-v1", "realtek/rtl838x", "zyxel_gs1900-24-a1"),
    ("ath79/generic", "tplink,small", "ath79/tiny", "tplink_small"),
    ("ath79/generc", "luxul_abr-4500", "ath79/generic", "luxul_abr-4500"),
]
DOORS = ("/api/v1/build", "/api/v1/build/prepare", "/api/v1/prepare")


def documents(*, has_overview: bool = True) -> dict[str, Any]:
    """Return the metadata of both releases; a private mirror may lack the list of devices."""
    found: dict[str, Any] = {".versions.json": VERSIONS}
    for version, places in ((OLD, BEFORE), (NEW, AFTER)):
        base = f"releases/{version}"
        found[f"{base}/.targets.json"] = dict.fromkeys(places, "mips_24kc")
        if has_overview:
            found[f"{base}/.overview.json"] = {
                "profiles": [
                    {"id": profile, "target": target}
                    for target, profiles in places.items()
                    for profile in profiles
                ]
            }
        for target, profiles in places.items():
            devices = {
                profile: {"device_packages": [], "supported_devices": names}
                for profile, names in profiles.items()
            }
            document = {**ATH79, "target": target, "profiles": devices}
            found[f"{base}/targets/{target}/profiles.json"] = document
    return copy.deepcopy(found)


def answers(found: dict[str, Any], **fields: str) -> Iterator[dict[str, Any]]:
    """Ask at every door for a device, and yield each answer."""
    raw = {path: json.dumps(document).encode() for path, document in found.items()}
    request = {"version": NEW, "packages": ["luci"], **fields}
    with (
        opened(upstream=MemoryUpstream(found)) as world,
        TestClient(create_app(Settings(), MemoryDocuments(raw))) as prepare,
    ):
        for door in DOORS:
            client = prepare if door == DOORS[-1] else world.client
            yield client.post(door, json=request).json()


def refusal(found: dict[str, Any], **fields: str) -> dict[str, Any]:
    """Return the refusal, which all doors give in the same words."""
    one, *others = answers(found, **fields)
    assert others == [one, one]
    assert one["status"] == 400, one
    assert len(one["detail"]) < 300
    return one


@pytest.mark.parametrize("has_overview", [True, False])
@pytest.mark.parametrize("moved", MOVED, ids=str)
def test_a_moved_device_is_found(moved: tuple[str, str, str, str], *, has_overview: bool) -> None:
    """Its target or its subtarget has another name, or it has another name in another target."""
    target, profile, place, name = moved

    answer = refusal(documents(has_overview=has_overview), target=target, profile=profile)

    assert answer["code"] == "device-moved"
    assert answer["suggested"] == {"target": place, "profile": name}
    assert answer["detail"].startswith("Unsupported ")
    assert place in answer["detail"]
    assert name in answer["detail"]


@pytest.mark.parametrize(
    ("target", "profile", "code", "words", "suggested"),
    [
        ("ath79/generic", "luxul,abr-4500-v1", "profile", "did you mean luxul_abr-4500?", True),
        ("lantiq/xrx200", "bt_homehub", "profile", "23.05.10 has it, but 24.10.4 does not", False),
        ("ipq807x/generic", "acme_lost", "target", "23.05.10 has it, but 24.10.4 does not", False),
        ("ath79/tinny", "no_such", "target", "did you mean ath79/tiny?", False),
        ("ath79/generic", "no_such", "profile", "no release that this server knows has it", False),
        ("no/such", "no_such", "target", "no release that this server knows has it", False),
        ("x" * 64 + "/" + "y" * 64, "z" * 128, "target", "no release", False),
        ("ath79/generic", "z" * 128, "profile", "no release", False),
        ("mips/twin", "twin_a", "target", "one/of (as twin_a) and two/of (as twin_a)", False),
    ],
)
def test_an_unknown_device_is_refused_in_friendly_words(
    target: str, profile: str, code: str, words: str, *, suggested: bool
) -> None:
    """They say what is near, or whether it was dropped or never there."""
    answer = refusal(documents(), target=target, profile=profile)

    assert answer["code"] == f"unsupported-{code}"
    assert words in answer["detail"]
    assert re.match(r"Unsupported (target|profile): \S+;", answer["detail"])
    assert ("suggested" in answer) is suggested


def test_a_target_that_is_being_published_is_not_called_unsupported() -> None:
    """The release before it has the target, so the newest one will have it in some hours."""
    found = documents()
    found["releases/24.10.3/.targets.json"] = {**TARGETS, "mediatek/filogic": "aarch64"}

    build, preview, direct = answers(found, target="mediatek/filogic", profile="one")

    for answer in (build, preview):
        assert (answer["code"], answer["retry_after"]) == ("half-published", 600)
    assert direct["checked"] is False
    assert "not checked" in " ".join(direct["warnings"])
    del found["releases/24.10.3/.targets.json"]
    assert refusal(found, target="mediatek/filogic", profile="one")["code"] == "unsupported-target"
