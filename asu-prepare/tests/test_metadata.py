"""Previews that know the downloads server's metadata: the device, its defaults, what exists, in
which version.
"""

import gc
import json
import uuid
from typing import Any

import pytest
from starlette.testclient import TestClient

from asu_prepare.answers import PreviewAnswer
from asu_prepare.config import Settings
from asu_prepare.main import create_app
from asu_prepare.upstream import MemoryDocuments

PREPARE = "/api/v1/prepare"
OLD_DEFAULTS = ["base-files", "dnsmasq", "netifd", "opkg", "swconfig", "kmod-ltq-vmmc"]


@pytest.fixture
def upgrade() -> dict[str, Any]:
    """Return the absolute list of a Home Hub 5A with its defaults, one of them removed, and two
    packages of its owner's.
    """
    packages = [*(name for name in OLD_DEFAULTS if name != "dnsmasq"), "luci", "luci-app-opkg"]
    return {
        "from_version": "23.05.5",
        "version": "25.12.0",
        "target": "lantiq/xrx200",
        "profile": "bt_homehub-v5a",
        "packages": packages,
        "diff_packages": True,
    }


def prepared(client: TestClient, request: dict[str, Any]) -> dict[str, Any]:
    """Return the preview of a request that must succeed, in the form that is documented."""
    answer = client.post(PREPARE, json=request)
    assert answer.status_code == 200, answer.text
    preview: dict[str, Any] = answer.json()
    PreviewAnswer.model_validate(preview, strict=False)
    return preview


def test_an_absolute_list_becomes_explicit(informed: TestClient, upgrade: dict[str, Any]) -> None:
    """The new driver comes, the removed default stays away by name, an ended default goes, and the
    builder needs no guess.
    """
    preview = prepared(informed, upgrade)

    assert preview["resolved_packages"] == [
        *(
            "base-files",
            "netifd",
            "apk-mbedtls",
            "kmod-ltq-vmmc",
            "luci",
            "luci-app-package-manager",
        ),
        *("kmod-dsa-gswip", "xrx200-rev1.1-phy11g-firmware", "xrx200-rev1.2-phy11g-firmware"),
        "-dnsmasq",
    ]
    assert preview["prepared_request"]["diff_packages"] is False
    assert preview["checked"] is True
    assert preview["problems"] == []


def test_each_change_has_its_reason(informed: TestClient, upgrade: dict[str, Any]) -> None:
    """Rules, new defaults, ended defaults and what the user had removed all say why."""
    changes = {change["rule"]: change for change in prepared(informed, upgrade)["changes"]}

    assert {
        "luci-app-opkg-luci-app-package-manager",
        "absent-dnsmasq",
        "gone-default-swconfig",
    } <= changes.keys()
    assert changes["absent-dnsmasq"]["reason"] == "removed by the user before the upgrade"
    assert any(change["to_package"] == "kmod-dsa-gswip" for change in changes.values())


def test_the_old_release_is_inferred_from_the_list(
    informed: TestClient, upgrade: dict[str, Any]
) -> None:
    """A client that does not say what runs now keeps its driver too, and is told what was inferred
    and why.
    """
    del upgrade["from_version"]
    preview = prepared(informed, upgrade)

    assert (preview["from_version"]["version"], preview["from_version"]["inferred"]) == (
        "23.05.5",
        True,
    )
    assert "23.05.5" in preview["from_version"]["evidence"]
    assert "kmod-dsa-gswip" in preview["resolved_packages"]


def test_a_prepared_request_prepares_to_itself(
    informed: TestClient, upgrade: dict[str, Any]
) -> None:
    """Preparing twice gives the same request and the same hash."""
    once = prepared(informed, upgrade)
    again = prepared(informed, once["prepared_request"])

    assert again["prepared_request"] == once["prepared_request"]
    assert (again["request_hash"], again["changes"]) == (once["request_hash"], [])


def test_a_veto_is_obeyed_and_told(informed: TestClient, upgrade: dict[str, Any]) -> None:
    """A change whose id the request names is left out."""
    vetoed = prepared(
        informed,
        {
            **upgrade,
            "ignored_changes": ["luci-app-opkg-luci-app-package-manager", "gone-default-swconfig"],
        },
    )

    assert set(vetoed["ignored_changes"]) == {
        "luci-app-opkg-luci-app-package-manager",
        "gone-default-swconfig",
    }
    assert {"luci-app-opkg", "swconfig"} <= set(vetoed["resolved_packages"])


def test_versions_and_counts_sum_it_up(informed: TestClient) -> None:
    """Old and new version stand beside one another, and a step back is flagged."""
    request = {
        "version": "25.12.0",
        "target": "lantiq/xrx200",
        "profile": "bt_homehub-v5a",
        "packages_versions": {"vim": "9-r1", "luci": "1-r1"},
    }
    preview = prepared(informed, request)

    assert preview["versions"]["vim"] == {"new": "2-r1", "old": "9-r1", "downgrade": True}
    assert preview["versions"]["luci"] == {"new": "2-r1", "old": "1-r1", "downgrade": False}
    assert preview["versions"]["kmod-dsa-gswip"] == {"new": "2-r1"}
    assert [problem["kind"] for problem in preview["problems"]] == ["version", "version"]
    assert preview["counts"] == {
        "installed": 5,
        "added": 3,
        "replaced": 0,
        "removed": 0,
        "problems": 2,
        "warnings": 1,  # An index.json has no dependencies to solve.
        "downgrades": 1,
    }


def test_what_a_feed_of_ones_own_may_hold_is_a_warning(informed: TestClient) -> None:
    """Where the package is expected from, and what it means that the feeds of OpenWrt are
    replaced.
    """
    request = {
        "version": "25.12.0",
        "target": "lantiq/xrx200",
        "profile": "bt_homehub-v5a",
        "packages": ["luci", "own-package"],
    }
    preview = prepared(
        informed,
        {**request, "repositories": {"mine": "HTTPS://Feeds.example.org:443/packages.adb"}},
    )

    assert (preview["checked"], preview["problems"]) == (True, [])
    assert preview["warnings"][0].startswith(
        "OpenWrt's own feeds are not used, as repositories_mode is replace"
    )
    assert preview["warnings"][1].endswith("own-package is expected from the feed mine.")
    assert preview["prepared_request"]["repositories"] == {
        "mine": "https://feeds.example.org/packages.adb"
    }


def test_what_does_not_exist_is_told_all_at_once(
    informed: TestClient, upgrade: dict[str, Any]
) -> None:
    """Each name that cannot be had is a problem, with a near one where there is any."""
    preview = prepared(
        informed, {**upgrade, "packages": [*upgrade["packages"], "lucii", "no-such-thing"]}
    )

    assert [
        (problem["package"], problem["kind"], problem["suggestion"])
        for problem in preview["problems"]
    ] == [
        ("lucii", "unknown", "luci"),
        ("no-such-thing", "unknown", None),
    ]


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("bt_homehub-v5a", "bt_homehub-v5a"),
        ("bt,homehub-v5a", "bt_homehub-v5a"),
        ("zyxel,old-name", "zyxel_p-2812hnu-f3"),
    ],
)
def test_a_device_is_known_by_all_its_names(
    informed: TestClient, upgrade: dict[str, Any], name: str, profile: str
) -> None:
    """Id, board name and a name that one device alone claims lead to one profile and one
    identity.
    """
    preview = prepared(informed, {**upgrade, "profile": name})

    assert preview["resolved_profile"] == preview["prepared_request"]["profile"] == profile
    assert (
        preview["request_hash"]
        == prepared(informed, {**upgrade, "profile": profile})["request_hash"]
    )


def test_a_name_that_two_devices_claim_is_refused(
    informed: TestClient, upgrade: dict[str, Any]
) -> None:
    """The refusal names both; nothing is guessed."""
    answer = informed.post(PREPARE, json={**upgrade, "profile": "zyxel,p-2812hnu"})

    assert (answer.status_code, answer.json()["code"]) == (400, "ambiguous-profile")
    assert "zyxel_p-2812hnu-f1, zyxel_p-2812hnu-f3" in answer.json()["detail"]


def test_an_unknown_device_is_refused(informed: TestClient, upgrade: dict[str, Any]) -> None:
    """A device that the target does not have can never be built."""
    answer = informed.post(PREPARE, json={**upgrade, "profile": "bt_homehub-v6"})

    assert (answer.status_code, answer.json()["code"]) == (400, "unsupported-profile")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"version": "25.12.9"}, "unsupported-version"),
        ({"version": "26.10.1"}, "unsupported-branch"),
        ({"target": "lantiq/none", "profile": "no-such"}, "unsupported-target"),
        ({"target": "lantiq/none"}, "device-moved"),
    ],
)
def test_what_the_downloads_server_does_not_list_is_refused(
    documents: MemoryDocuments, upgrade: dict[str, Any], fields: dict[str, str], code: str
) -> None:
    """A preview of what can never be built helps nobody; the API refuses the same."""
    documents.documents["releases/25.12.0/.targets.json"] = b'{"lantiq/xrx200": "mips_24kc"}'
    client = TestClient(create_app(Settings(), documents))

    answer = client.post(PREPARE, json={**upgrade, **fields})

    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("gone", [".versions.json", "releases/25.12.0/.targets.json", "profiles"])
def test_what_cannot_be_looked_up_is_said(
    documents: MemoryDocuments, upgrade: dict[str, Any], gone: str
) -> None:
    """A preview that checked less says what it did not check."""
    for path in [path for path in documents.documents if gone in path]:
        del documents.documents[path]
    client = TestClient(create_app(Settings(), documents))

    preview = prepared(client, {**upgrade, "profile": "bt,homehub-v5a"})

    assert preview["resolved_profile"] == "bt_homehub-v5a"
    assert preview["checked"] or "not checked" in " ".join(preview["warnings"])
    assert preview["checked"] is (gone != "profiles")


@pytest.mark.parametrize(
    "text",
    [b"", b"<html>", b"[]", b"null", b'{"packages": 1}', b'{"packages": {"a": {}}', b"[" * 100_000],
)
def test_a_lying_server_makes_no_error(
    documents: MemoryDocuments, upgrade: dict[str, Any], text: bytes
) -> None:
    """Whatever document is nonsense, the answer is a preview."""
    for path in list(documents.documents):
        lying = MemoryDocuments({**documents.documents, path: text})
        client = TestClient(create_app(Settings(), lying), raise_server_exceptions=False)

        assert client.post(PREPARE, json=upgrade).status_code == 200, path


@pytest.mark.parametrize(
    "text",
    [
        "1e400",
        "-1",
        "NaN",
        "1" + "0" * 400,
        "9" * 5000,
        "[" * 400 + "]" * 400,
        '{"a": {"b": -1e999}}',
        '"\\ud800"',
    ],
)
def test_a_number_beyond_all_bounds_makes_no_error(
    documents: MemoryDocuments, upgrade: dict[str, Any], text: str
) -> None:
    """Wherever in a document it stands."""
    failed = []
    for path, raw in documents.documents.items():
        for key in json.loads(raw) if path.endswith(".json") else ():
            document = json.dumps({**json.loads(raw), key: "HERE"}).replace('"HERE"', text)
            lying = MemoryDocuments({**documents.documents, path: document.encode()})
            client = TestClient(create_app(Settings(), lying), raise_server_exceptions=False)
            if client.post(PREPARE, json=upgrade).status_code >= 500:
                failed.append((path, key))

    assert failed == []


def test_an_unchecked_answer_is_not_kept(
    documents: MemoryDocuments, upgrade: dict[str, Any]
) -> None:
    """As soon as the server is back, the same request gets the whole answer."""
    client = TestClient(create_app(Settings(), documents))
    documents.down = True
    assert prepared(client, upgrade)["checked"] is False
    documents.down = False

    assert prepared(client, upgrade)["checked"] is True


def test_no_request_stays_in_memory(documents: MemoryDocuments, upgrade: dict[str, Any]) -> None:
    """A first-boot script holds passwords; after the answer nothing in the process holds it."""
    client = TestClient(create_app(Settings(), documents))
    mark = uuid.uuid4().hex
    prepared(client, {**upgrade, "defaults": f"echo {mark} {mark}"})
    gc.collect()

    held = [
        part
        for found in gc.get_objects()
        for part in gc.get_referents(found)
        if isinstance(part, (str, bytes))
        # This test itself holds the mark once.
        and (part if isinstance(part, str) else part.decode(errors="replace")).count(mark) > 1
    ]

    assert held == []
