"""What a request may hold: both services say it in their own words, so the same corpus goes to
both.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from asu.build_request import BuildRequest
from asu_prepare.prepare_request import PrepareRequest
from tests.unit.worlds import REQUEST

SERVICES: list[type[BaseModel]] = [BuildRequest, PrepareRequest]

# Each means something to make, to one of the two shells behind it, to a file system, or to a log.
METACHARACTERS = [
    *"$`;|&<>(){}[]*?!#'\"\\%^=@/: \t\n\r\0\x1b\x7f\u00e9\u2028",
    "$(shell id)",
    "$$(id)",
    "${HOME}",
    "`id`",
    "../..",
    "\n-x",
]


def injected(field: str, character: str) -> list[dict[str, Any]]:
    """Return requests with a metacharacter at the beginning, in the middle and at the end of a
    field.
    """
    values = [f"{character}a", f"a{character}a", f"a{character}"]
    if field == "packages_versions":
        return [{field: {value: "1"}} for value in values] + [
            {field: {"a": value}} for value in values
        ]
    if field == "repositories":
        return [{field: {value: "https://example.org"}} for value in values] + [
            {field: {"a": value}} for value in values
        ]
    if field == "target":
        return [{field: f"ath79/{value}"} for value in values] + [
            {field: f"{value}/generic"} for value in values
        ]
    if field in ("version", "from_version"):
        return [
            {field: f"{character}24.10.4"},
            {field: f"24.10{character}.4"},
            {field: f"24.10.4{character}"},
        ]
    if field in ("packages", "ignored_changes"):
        return [{field: [value]} for value in values]
    return [{field: value} for value in values]


def verdict(service: type[BaseModel], fields: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a service makes of a request with these fields changed; None if it refuses."""
    try:
        return service.model_validate_json(json.dumps({**REQUEST, **fields})).model_dump(
            mode="json"
        )
    except ValidationError:
        return None


STRICT = [
    "version",
    "from_version",
    "version_code",
    "target",
    "profile",
    "packages",
    "packages_versions",
    "ignored_changes",
    "filesystem",
]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("field", [*STRICT, "repositories_mode"])
def test_no_metacharacter_gets_through(service: type[BaseModel], field: str) -> None:
    """What ends up in a command line, a path or a file of the builder is plain ASCII."""
    attempts = [fields for character in METACHARACTERS for fields in injected(field, character)]

    assert attempts
    assert [fields for fields in attempts if verdict(service, fields) is not None] == []


@pytest.mark.parametrize("service", SERVICES)
def test_addresses_of_repositories_stay_on_one_line(service: type[BaseModel]) -> None:
    """They stand in a configuration file, one a line."""
    characters = [*" \n\r\t\0'\"\\", "\u00e9", "\x7f"]
    attempts = [fields for one in characters for fields in injected("repositories", one)]

    assert attempts
    assert [fields for fields in attempts if verdict(service, fields) is not None] == []


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "name",
    [
        "-",
        "--",
        "--force",
        "--force-overwrite",
        "--" * 64,
        ".",
        "..",
        ".hidden",
        "+x",
        "_x",
        ",b",
        "a=1.0",
        "a<2",
        "a~b",
    ],
)
def test_no_package_is_an_option(service: type[BaseModel], name: str) -> None:
    """One dash takes a package away; two would be an option of the package manager."""
    assert verdict(service, {"packages": [name]}) is None
    assert verdict(service, {"packages_versions": {name: "1"}}) is None


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".hidden",
        "a.sig",
        "a.ipk",
        "a.apk",
        "luci_1.0_all.ipk",
        "-",
        "-a",
        "--option",
        "_a",
        "a/b",
        "../a",
        "a@b",
    ],
)
def test_no_feed_is_a_path_or_an_option(service: type[BaseModel], name: str) -> None:
    """For opkg the name is that of a file, beside NAME.sig and the packages."""
    assert verdict(service, {"repositories": {name: "https://example.org"}}) is None


EDGES: list[dict[str, Any]] = [
    {"packages": ["a" * 128]},
    {"packages": ["-" + "a" * 128]},
    {"packages": ["a" * 129]},
    {"packages": ["-" + "a" * 129]},
    {"packages": ["p"] * 1000},
    {"packages": ["p"] * 1001},
    {"packages": None},
    {"packages": "luci"},
    {"packages": {"luci": 1}},
    {"packages_versions": {f"p{number}": "1" for number in range(1000)}},
    {"packages_versions": {f"p{number}": "1" for number in range(1001)}},
    {"packages_versions": {"a" * 129: "1"}},
    {"packages_versions": {"a": "1" * 129}},
    {"packages_versions": {"a": "1.36.1-r2"}},
    {"packages_versions": {"a": "1:2"}},
    {"packages_versions": {"-a": "1"}},
    {"packages_versions": []},
    {"packages_versions": None},
    {"diff_packages": 1},
    {"diff_packages": "true"},
    {"diff_packages": None},
    {"rootfs_size_mb": "256"},
    {"rootfs_size_mb": 256.0},
    {"rootfs_size_mb": 256.5},
    {"rootfs_size_mb": None},
    {"rootfs_size_mb": ""},
    {"rootfs_size_mb": 0},
    {"rootfs_size_mb": True},
    {"rootfs_size_mb": 10_240},
    {"rootfs_size_mb": 10_241},
    {"filesystem": None},
    {"filesystem": ""},
    {"filesystem": "tmpfs"},
    {"filesystem": "ubifs"},
    {"version_code": ""},
    {"version_code": None},
    {"version_code": "r28739-d9340319c6"},
    {"version_code": "r" * 65},
    {"defaults": ""},
    {"defaults": None},
    {"defaults": "x" * 65_536},
    {"defaults": "x" * 65_537},
    {"client": "luci/undefined"},
    {"client": None},
    {"client": "x" * 256},
    {"client": "x" * 257},
    {"client": 17},
    {"repositories": {}},
    {"repositories": {f"r{number}": "https://example.org" for number in range(16)}},
    {"repositories": {f"r{number}": "https://example.org" for number in range(17)}},
    {"repositories": {"a" * 64: "https://example.org"}},
    {"repositories": {"a" * 65: "https://example.org"}},
    {"repositories": {"a": "h" * 512}},
    {"repositories": {"a": "h" * 513}},
    {"repositories": {"a": ""}},
    # For the API to refuse, which knows the operator's list.
    {"repositories": {"openwrt_core": "https://example.org"}},
    {"repositories": {"My-feed_1": "https://user@example.org:8443/a%20b/?c=d&e=f#g"}},
    {"repositories": None},
    {"repositories": []},
    {"repositories_mode": None},
    {"repositories_mode": "append"},
    {"repository_keys": ["k" * 4096]},
    {"repository_keys": ["k" * 4097]},
    {"repository_keys": ["k"] * 16},
    {"repository_keys": ["k"] * 17},
    {"repository_keys": ["untrusted comment: key\nRWQ+/=="]},
    {"repository_keys": [None]},
    {"repository_keys": None},
    {"from_version": ""},
    {"from_version": None},
    {"from_version": "SNAPSHOT"},
    {"from_version": "24.10"},
    {"from_version": 0},
    {"from_version": []},
    {"from_version": False},
    {"version": "24.10.4-rc1"},
    {"version": "24.10"},
    {"version": "snapshot"},
    {"version": "24.10.4 "},
    {"version": "\u0662\u0664.10.4"},
    {"version": "24.10.1000"},
    {"version": None},
    {"target": "ath79"},
    {"target": "ath79/generic/x"},
    {"target": "ATH79/generic"},
    {"target": "a" * 65 + "/generic"},
    {"profile": "a" * 128},
    {"profile": "a" * 129},
    {"profile": ""},
    {"profile": "tplink,archer-c7-v5"},
    {"profile": "-x"},
    {"distro": "lede"},
    {"distro": "x" * 33},
    {"distro": None},
    {"ignored_changes": ["auc-owut"]},
    {"ignored_changes": ["AUC"]},
    {"ignored_changes": ["a"] * 101},
    {"any_order": True},
    {"any_order": None},
    {"leave_out_missing": True},
    {"leave_out_missing": "perhaps"},
    {"leave_out_missing": None},
    {"unknown": {"field": []}},
]


@pytest.mark.parametrize("fields", EDGES, ids=lambda fields: str(fields)[:60])
def test_both_services_say_the_same(fields: dict[str, Any]) -> None:
    """A request that one service takes and the other refuses could be previewed and not built, or
    the reverse.
    """
    assert verdict(BuildRequest, fields) == verdict(PrepareRequest, fields)


def test_the_corpus_has_both_kinds() -> None:
    """Of a corpus of which all is refused, or nothing, nobody would learn anything."""
    taken = [fields for fields in EDGES if verdict(BuildRequest, fields) is not None]

    assert 25 < len(taken) < len(EDGES) - 25


@given(
    st.sampled_from(["version", "target", "profile", "version_code", "client"]),
    st.text(max_size=40),
)
def test_both_services_say_the_same_of_any_text(field: str, text: str) -> None:
    """Nobody thinks of everything: whatever the text, there is one verdict."""
    assert verdict(BuildRequest, {field: text}) == verdict(PrepareRequest, {field: text})


@given(
    st.lists(st.text(max_size=20), max_size=3),
    st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=3),
)
def test_both_services_say_the_same_of_any_packages(
    packages: list[str], versions: dict[str, str]
) -> None:
    """Names and versions of any kind."""
    fields = {"packages": packages, "packages_versions": versions}

    assert verdict(BuildRequest, fields) == verdict(PrepareRequest, fields)


def test_both_services_know_the_same_fields() -> None:
    """A field that one of them does not know would be lost on the way."""
    assert set(BuildRequest.model_fields) == set(PrepareRequest.model_fields)
