"""What is admitted and what is refused, field by field."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

PREPARE = "/api/v1/prepare"
NASTY = [
    "$(touch x)", "${x}", "`id`", "a;b", "a|b", "a>b", "a b", "a%b", "a\nb", "a\n", "\na", "a/b",
    "a:b", "a=b", "a'b", 'a"b', "a\\b", "a\x00b", "--x",
    "+x", ".x", "-", "käse", "\uff41bc", "\u0661\u0662", "x" * 129, "\u202eabc",
]  # fmt: skip
SINGLE: dict[str, list[Any]] = {
    "version": ["24", "24.10.4\n", "latest", "", "24.10.4;id", None, 24.10, "9" * 40],
    "target": ["ath79", "a" * 65 + "/b", None, 1,
               "ath79/generic/x", "ATH79/generic", "ath79/", "/generic", "ath79/gen eric",
               "ath79/$(id)", "ath79/generic\n"],
    "profile": [*NASTY, "", None, 1],
    "packages": [None, "luci", {"luci": 1}, [1], [None], ["luci"] * 1_001, [["luci"]]],
    "packages_versions": [None, [], {"luci": None}, {"luci": "1:2"}, {"luci": ""}, {"luci": "1\n"},
        {"-luci": "1"}, {"a$(id)": "1"},
                          {"luci": "$(id)"}],
    "diff_packages": [None, "perhaps", [], 2],
    "version_code": [None, "r1;id", "r1\n", "-r1", "$(id)", "x" * 65],
    "defaults": [1, [], "(withheld)", "x" * (64 * 1024 + 1)],
    "rootfs_size_mb": ["", 0, -1, 10**10, 1.5, True, False, "many", [], "1e3", "33x"],
    "filesystem": ["", "tmpfs", 1, "squashfs\n"],
    "repositories": [None, [], {"a b": "https://x"}, {"a": "https://x y"}, {"a": 'https://"'},
        {"a": "https://ä"}, {"a": "h" * 513},
                     {str(n): "x" for n in range(17)}, {"a.sig": "x"}, {"-a": "x"}, {"_a": "x"},
                     {"a" * 65: "x"}],
    "repositories_mode": [None, "", "prepend"],
    "repository_keys": [None, "key", [1], ["x" * 4_097], ["k"] * 17],
    "client": [1, [], "x" * 257],
    "from_version": ["24", "x", 1, "24.10.4\n"],
    "ignored_changes": [None, "a", ["a" * 161], ["a b"], ["a\n"], ["-a"], ["a"] * 101],
    "any_order": [None, "perhaps", [], 2],
    "leave_out_missing": [None, "perhaps", [], 2],
    "distro": [None, 1, "x" * 33],
}  # fmt: skip
ADMITTED: dict[str, list[Any]] = {
    "version": ["24.10.4", "25.12.0-rc2", "24.10-SNAPSHOT", "SNAPSHOT"],
    "target": ["x86/64", "mediatek/mt7622", "lantiq/xrx200_legacy"],
    "profile": [
        "generic",
        "tplink,archer-c7-v5",
        "asus_rt-ac51u",
        "8dev_jalapeno",
        "dlink_dir-825+b1",
    ],
    "packages": [
        [],
        ["", "luci,vim"],
        ["libstdc++6", "-ppp", "kmod-usb2", "perl-www.x", "luci", "luci"],
        ["a"] * 1_000,
        ["x" * 128, "-" + "x" * 128],
    ],
    "packages_versions": [
        {},
        {"libstdc++6": "13.3.0-r4", "kernel": "6.6.73~4c1b-r1", "x": "2024.01,1+git"},
    ],
    "diff_packages": [True, False, 1, 0, "true"],
    "version_code": ["", "r28739-d9340319c6"],
    "defaults": [None, "", "#!/bin/sh\necho $(id) `id` ä", "x" * (64 * 1024)],
    "rootfs_size_mb": [None, 1, 256, "256", 256.0, 57_000],
    "filesystem": [None, "squashfs", "ext4", "ubifs", "jffs2"],
    "repositories": [{}, {"my-feed_1": "https://user@example.org:8443/a%20b/?c=d&e=f"}],
    "repositories_mode": ["append", "replace"],
    "repository_keys": [[], ["untrusted comment: key\nRWQ+/=="]],
    "client": [None, "luci/undefined", "ofs/%GIT_VERSION%"],
    "from_version": [None, "", "23.05.5", "SNAPSHOT"],
    "ignored_changes": [
        [],
        ["auc-owut", "ipq-wifi-tplink_archer-c6-v2", "new-default-libstdc++6"],
        ["gone-default-" + "x" * 128],
    ],
    "distro": ["openwrt"],
    "surprise": [1, None, {"a": []}],
}
BASE = {"version": "24.10.4", "target": "x86/64", "profile": "generic"}


def cases(values: dict[str, list[Any]]) -> list[Any]:
    """Return one case per field and value, named by both."""
    return [
        pytest.param(field, value, id=f"{field}-{number}")
        for field, some in values.items()
        for number, value in enumerate(some)
    ]


@pytest.mark.parametrize(("field", "value"), cases(SINGLE))
def test_a_malformed_field_is_refused(client: TestClient, field: str, value: Any) -> None:
    """Each wrong value gets a 422 that names its field and says what to do, in a sentence."""
    answer = client.post(PREPARE, json={**BASE, field: value})
    body = answer.json()

    assert answer.status_code == body["status"] == 422
    assert body["code"] == "invalid-request"
    assert body["detail"].startswith(f"`{field}`")
    assert isinstance(body["detail"], str)
    assert {error["loc"][0] for error in body["errors"]} == {field}


@pytest.mark.parametrize("name", NASTY)
def test_no_name_of_a_package_can_reach_a_shell(client: TestClient, name: str) -> None:
    """Names that a shell, make or a path would understand are refused, alone and behind the removal
    mark.
    """
    assert client.post(PREPARE, json={**BASE, "packages": [name]}).status_code == 422
    assert client.post(PREPARE, json={**BASE, "packages": ["luci", f"-{name}"]}).status_code == 422
    assert client.post(PREPARE, json={**BASE, "packages_versions": {name: "1"}}).status_code == 422


@pytest.mark.parametrize(("field", "value"), cases(ADMITTED))
def test_what_clients_send_is_admitted(client: TestClient, field: str, value: Any) -> None:
    """The spellings of real clients, and each limit itself, are fine; unknown fields are
    ignored.
    """
    assert client.post(PREPARE, json={**BASE, field: value}).status_code == 200


@pytest.mark.parametrize("field", BASE)
def test_a_missing_field_is_named(client: TestClient, field: str) -> None:
    """Version, target and profile are needed."""
    answer = client.post(PREPARE, json={key: value for key, value in BASE.items() if key != field})

    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["type"], error["loc"]) == ("missing", [field])
    assert error["msg"].startswith(f"`{field}` is missing.")


def test_another_distribution_is_refused(client: TestClient) -> None:
    """Only OpenWrt's packages are known here, which is no mistake of form."""
    answer = client.post(PREPARE, json={**BASE, "distro": "debian"})

    assert (answer.status_code, answer.json()["code"]) == (400, "unsupported-distro")


def test_all_mistakes_come_in_one_answer(client: TestClient) -> None:
    """A client need not mend one mistake after the other; beyond a hundred nobody reads on."""
    answer = client.post(PREPARE, json={"version": "x", "target": "x", "packages": ["$"] * 500})

    assert {error["loc"][0] for error in answer.json()["errors"]} <= {
        "version",
        "target",
        "profile",
        "packages",
    }
    assert len(answer.json()["errors"]) == 100


def test_a_first_boot_script_is_in_no_error(client: TestClient) -> None:
    """Scripts hold passwords, so no error repeats one, whatever else is wrong."""
    for request in (
        {**BASE, "defaults": "secret-1" * 10_000},
        {**BASE, "defaults": {"secret-1": 2}},
        {"defaults": "secret-1"},
    ):
        answer = client.post(PREPARE, json=request)
        assert answer.status_code == 422
        assert "secret-1" not in answer.text
    assert (
        "secret-1"
        not in client.post(
            PREPARE, content=b'{"defaults": "secret-1', headers={"content-type": "application/json"}
        ).text
    )


def test_markup_that_a_caller_sent_is_not_repeated(client: TestClient) -> None:
    """An error page that shows the answer cannot be made to show the caller's markup."""
    answer = client.post(
        PREPARE,
        json={
            **BASE,
            "packages": ["<b>"],
            "packages_versions": {"<b>": "<b>"},
            "version": "<b>",
            "filesystem": "<b>",
        },
    )

    assert len(answer.json()["errors"]) == 5
    assert "<b>" not in answer.text


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=8,
)


# The client keeps no state between examples.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(st.sampled_from([*SINGLE, "other"]), json_values, max_size=6))
def test_no_json_makes_the_service_fail(client: TestClient, fields: dict[str, Any]) -> None:
    """Whatever JSON comes, the answer is a preview or a refusal, in JSON."""
    answer = client.post(PREPARE, json={**BASE, **fields})

    assert answer.status_code in {200, 400, 422}
    assert isinstance(answer.json().get("detail", ""), str)
