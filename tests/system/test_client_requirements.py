"""The twenty things that are easiest to break for clients in the field, each with its number, on
the whole system.

A client cannot be updated for a server. What is tested here is what one of them was seen to fail
without.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.system.native import Answer, NativeSystem

BUILD = "/api/v1/build"
JSON = {"Content-Type": "application/json"}
X86 = {"version": "24.10.4", "target": "x86/64", "profile": "generic"}
C7 = {"version": "24.10.4", "target": "ath79/generic", "profile": "tplink,archer-c7-v5"}
BY_GATEWAY_AND_WITHOUT = pytest.mark.parametrize("port", ["GATEWAY_PORT", "ASU_PORT"])
STEPS = {
    "init",
    "container_setup",
    "validate_revision",
    "validate_manifest",
    "calculate_packages_hash",
    "building_image",
    "signing_images",
}


def raw(
    system: NativeSystem,
    port: str,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: Iterable[bytes] | bytes | None = None,
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send a request with these headers and no others; an iterable body goes in chunks, without a
    length.
    """
    connection = http.client.HTTPConnection("127.0.0.1", int(system.environment[port]), timeout=60)
    connection.putrequest(method, path, skip_accept_encoding=True)
    is_chunked = body is not None and not isinstance(body, bytes)
    sent = dict(headers or {})
    if is_chunked:
        sent["Transfer-Encoding"] = "chunked"
    elif isinstance(body, bytes):
        sent["Content-Length"] = str(len(body))
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders(body, encode_chunked=is_chunked)
    response = connection.getresponse()
    try:
        return response, response.read()
    finally:
        connection.close()


def finished(system: NativeSystem, **request: Any) -> Answer:
    """Build to the end."""
    return system.follow(system.ask(BUILD, request))[-1]


@pytest.fixture(scope="module")
def build(clients_system: NativeSystem) -> dict[str, Any]:
    """Return a finished build of an x86 image."""
    answer = finished(clients_system, **X86, packages=["vim"])
    assert answer.status == 200, answer.body
    return answer.json()


@BY_GATEWAY_AND_WITHOUT
def test_01_a_body_in_chunks_is_read(
    clients_system: NativeSystem, build: dict[str, Any], port: str
) -> None:
    """Every request of owut and auc comes without a length."""
    text = json.dumps({**X86, "packages": ["vim"]}).encode()
    response, body = raw(
        clients_system, port, "POST", BUILD, JSON, (text[i : i + 7] for i in range(0, len(text), 7))
    )

    assert response.status == 200
    assert json.loads(body)["request_hash"] == build["request_hash"]


@BY_GATEWAY_AND_WITHOUT
@pytest.mark.parametrize(
    "query", ["?1795421294847", "?a=b&c", "?" + urlencode({"x": "ä/../"}), "?=&&"]
)
def test_02_a_query_is_left_alone(
    clients_system: NativeSystem, build: dict[str, Any], port: str, query: str
) -> None:
    """LuCI puts a time behind every path, those of POST and of images included."""
    image = f"/store/{build['bin_dir']}/{build['images'][0]['name']}"
    key = build["request_hash"]
    paths = [f"{BUILD}/{key}", "/json/v1/overview.json", "/api/v1/revision/24.10.4/x86/64", image]

    assert [clients_system.ask(path + query, port=port).status for path in paths] == [200] * 4
    assert (
        clients_system.ask(BUILD + query, {**X86, "packages": ["vim"]}, port=port).json()[
            "request_hash"
        ]
        == key
    )


def test_03_the_status_is_a_number_in_every_body(
    clients_system: NativeSystem, build: dict[str, Any]
) -> None:
    """It equals that of HTTP: owut decides by the one in the body."""
    answers = [
        clients_system.ask(f"{BUILD}/{build['request_hash']}"),
        clients_system.ask(BUILD, {**X86, "packages": ["tmux"]}),
        clients_system.ask(BUILD, {**X86, "version": "1.0"}),
        clients_system.ask(BUILD, {**X86, "profile": "x" * 500}),
        clients_system.ask(f"{BUILD}/{'0' * 64}"),
        clients_system.ask("/nowhere"),
    ]

    assert answers[0].status == 200
    assert all(
        answer.json()["status"] == answer.status and isinstance(answer.json()["status"], int)
        for answer in answers
    )


def test_04_a_finished_build_echoes_its_request(build: dict[str, Any]) -> None:
    """Without these three owut ends with an error of its own."""
    assert {"version_code", "rootfs_size_mb", "defaults"} <= build["request"].keys()


@BY_GATEWAY_AND_WITHOUT
def test_05_head_tells_the_same_as_get(
    clients_system: NativeSystem, build: dict[str, Any], port: str
) -> None:
    """It is all that owut polls with, and it never has a body."""
    response, body = raw(clients_system, port, "HEAD", f"{BUILD}/{build['request_hash']}")

    assert (response.status, body) == (200, b"")
    assert (response.headers["X-Imagebuilder-Status"], response.headers["X-Queue-Position"]) == (
        "done",
        "0",
    )
    waiting, _ = raw(clients_system, port, "HEAD", f"{BUILD}/{'0' * 64}")
    assert waiting.status == 404


@BY_GATEWAY_AND_WITHOUT
def test_06_an_image_comes_at_once_whole_and_as_it_is(
    clients_system: NativeSystem, build: dict[str, Any], port: str
) -> None:
    """With its length, no encoding and no redirect, whatever the client says that it takes; auc
    compares lengths.
    """
    image = build["images"][0]
    headers = {"Accept-Encoding": "gzip, deflate, br, zstd"}
    response, body = raw(
        clients_system, port, "GET", f"/store/{build['bin_dir']}/{image['name']}", headers
    )

    assert response.status == 200
    assert build["bin_dir"] == build["request_hash"]
    assert response.headers["Content-Length"] == str(len(body))
    assert not {"Content-Encoding", "Transfer-Encoding", "Location"} & set(response.headers)
    assert hashlib.sha256(body).hexdigest() == image["sha256"]


@BY_GATEWAY_AND_WITHOUT
def test_07_pages_of_any_origin_may_ask_and_read(
    clients_system: NativeSystem, build: dict[str, Any], port: str
) -> None:
    """Preflights succeed, and every answer has the one header: errors, redirects and images too."""
    image = f"/store/{build['bin_dir']}/{build['images'][0]['name']}"
    origin = {"Origin": "http://192.168.1.1"}
    asked = {**origin, "Access-Control-Request-Headers": "content-type"}
    paths = [
        f"{BUILD}/{build['request_hash']}",
        "/json/v1/overview.json",
        "/api/v1/overview",
        image,
        "/nowhere",
        f"/store/{'0' * 64}/x.bin",
    ]
    preflights = [
        raw(
            clients_system, port, "OPTIONS", path, {**asked, "Access-Control-Request-Method": "GET"}
        )[0]
        for path in paths
    ]
    preflights.append(
        raw(
            clients_system,
            port,
            "OPTIONS",
            BUILD,
            {**asked, "Access-Control-Request-Method": "POST"},
        )[0]
    )
    answers = [raw(clients_system, port, "GET", path, origin)[0] for path in paths]
    answers.append(raw(clients_system, port, "POST", BUILD, {**JSON, **origin}, b"{")[0])

    assert all(200 <= answer.status < 300 for answer in preflights)
    assert all(
        re.search(r"content-type|\*", answer.headers["Access-Control-Allow-Headers"])
        for answer in preflights
    )
    assert [answer.status for answer in answers] == [200, 200, 301, 200, 404, 404, 422]
    assert all(
        answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]
        for answer in [*preflights, *answers]
    )


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {**X86, "packages": None},
        {**X86, "packages": ["a;b"]},
        {**X86, "rootfs_size_mb": ""},
        {**X86, "target": "x86"},
        [],
        "text",
    ],
    ids=range(7),
)
def test_08_detail_is_a_text(clients_system: NativeSystem, request_: object) -> None:
    """The Firmware Selector asks it for its beginning; a list there leaves an empty red box."""
    answer = clients_system.ask(BUILD, request_)

    assert answer.status == 422
    assert isinstance(answer.json()["detail"], str)
    assert answer.json()["errors"]


def test_09_10_11_a_running_build_speaks_the_closed_vocabulary(
    clients_system: NativeSystem,
) -> None:
    """LuCI's dialog freezes at a word that it does not know, shows a place in the line for as long
    as there is one, and no poll fails.
    """
    answers = clients_system.follow(clients_system.ask(BUILD, {**X86, "packages": ["htop"]}))

    assert {answer.status for answer in answers} == {200, 202}
    assert any(answer.json()["detail"] == "started" for answer in answers)
    for body in (answer.json() for answer in answers[:-1]):
        assert body["detail"] in {"queued", "started"}
        assert isinstance(body.get("queue_position", 0), int)
        assert ("queue_position" in body) == (body["detail"] == "queued")
        assert ("imagebuilder_status" in body) == (body["detail"] == "started")
        assert body.get("imagebuilder_status", "init") in STEPS
    assert (answers[-1].json()["imagebuilder_status"], "queue_position" in answers[-1].json()) == (
        "done",
        False,
    )


def test_12_asking_again_is_answered_with_the_present_state(clients_system: NativeSystem) -> None:
    """LuCI of 22.03 never polls; it asks anew every five seconds, and must meet one build, not
    many.
    """
    request = {**C7, "packages": ["htop", "tmux"]}
    answers = [clients_system.ask(BUILD, request)]
    while answers[-1].status == 202:
        answers.append(clients_system.ask(BUILD, request))

    assert answers[-1].status == 200
    assert len({answer.json()["request_hash"] for answer in answers}) == 1


@pytest.mark.parametrize(
    "oddity",
    [
        {"rootfs_size_mb": "256"},
        {"rootfs_size_mb": 256.0},
        {"client": "luci/undefined"},
        {"efi": None, "system_board": {}, "url": "x", "sha256_unsigned": 0},
    ],
    ids=range(4),
)
def test_13_14_oddities_are_taken(clients_system: NativeSystem, oddity: dict[str, Any]) -> None:
    """Sizes as texts, board names with a comma, fields of other answers: clients send them all, and
    the Firmware Selector its empty fields.
    """
    request = {**C7, "packages": ["vim"], "rootfs_size_mb": 256, "filesystem": "squashfs"}
    empty = {"defaults": "", "repositories": {}, "repository_keys": []}
    plain, odd = (
        clients_system.ask(BUILD, request),
        clients_system.ask(BUILD, {**request, **oddity, **empty}),
    )

    assert odd.status in {200, 202}, odd.body
    assert odd.json()["request_hash"] == plain.json()["request_hash"]


def test_15_branches_have_all_that_clients_insist_on(clients_system: NativeSystem) -> None:
    """An object in the one document, an array of the same in the other; auc skips a branch without
    `path_packages`.
    """
    overview = clients_system.ask("/json/v1/overview.json").json()
    branches = json.loads(clients_system.ask("/json/v1/branches.json").body)

    assert list(overview["branches"].values()) == branches
    assert all(name == branch["name"] for name, branch in overview["branches"].items())
    for branch in branches:
        assert isinstance(branch["package_changes"], list)
        assert all(
            isinstance(value, str)
            for value in [branch["path"], branch["path_packages"], *branch["targets"].values()]
        )
        assert branch["enabled"] is True
        assert branch["versions"]
    assert {"24.10.4", "24.10-SNAPSHOT"} <= set(overview["branches"]["24.10"]["versions"])
    # Its snapshot's list is missing; its releases' are not.
    assert overview["branches"]["25.12"]["targets"]


def test_16_the_two_indexes_have_two_shapes(clients_system: NativeSystem) -> None:
    """That of a target is nested and holds the kernel modules, that of an architecture is flat;
    names are free of ABI versions.
    """
    target = clients_system.ask("/json/v1/releases/24.10.4/targets/ath79/generic/index.json").json()
    flat = clients_system.ask("/json/v1/releases/24.10.4/packages/mips_24kc-index.json").json()

    assert set(target) == {"architecture", "packages"}
    assert target["architecture"] == "mips_24kc"
    assert any(name.startswith("kmod-") for name in target["packages"])
    assert all(isinstance(version, str) for version in flat.values())
    assert {"busybox", "libubox"} <= flat.keys()


def test_17_devices_are_told_where_the_downloads_are(clients_system: NativeSystem) -> None:
    """owut fetches from there itself."""  # noqa: D403  # The name of a program.
    upstream = clients_system.ask("/json/v1/overview.json").json()["upstream_url"]

    assert upstream == f"http://127.0.0.1:{clients_system.environment['UPSTREAM_PORT']}"


def test_18_the_manifest_has_the_versions_of_the_index(
    clients_system: NativeSystem, build: dict[str, Any]
) -> None:
    """Byte for byte, under the same names: owut refuses an image of which one differs."""
    index = clients_system.ask("/json/v1/releases/24.10.4/packages/x86_64-index.json").json()
    index |= clients_system.ask("/json/v1/releases/24.10.4/targets/x86/64/index.json").json()[
        "packages"
    ]
    not_indexed = {"kernel", "libc"}  # Part of the builder; owut passes over them.

    assert {
        name: version for name, version in build["manifest"].items() if name not in not_indexed
    }.items() <= index.items()
    assert (
        build["version_code"]
        == clients_system.ask("/api/v1/revision/24.10.4/x86/64").json()["revision"]
    )


def test_19_a_finished_build_has_every_field_at_the_top(build: dict[str, Any]) -> None:
    """The Firmware Selector throws without titles; a client in Go reads both times with their
    zone.
    """
    assert {
        "titles",
        "images",
        "manifest",
        "build_cmd",
        "bin_dir",
        "version_number",
        "version_code",
        "target",
        "build_at",
        "id",
    } <= build.keys()
    assert build["titles"]
    assert build["build_cmd"][3].startswith("PACKAGES=")
    for image in build["images"]:
        assert {"filesystem", "name", "type", "sha256", "sha256_unsigned"} <= image.keys()
        # What auc has room for.
        assert len(f"https://sysupgrade.example.org/store/{build['bin_dir']}/{image['name']}") < 256
    assert all(
        datetime.fromisoformat(build[name]).utcoffset() is not None
        for name in ("build_at", "enqueued_at")
    )


@BY_GATEWAY_AND_WITHOUT
def test_20_older_addresses_lead_on(clients_system: NativeSystem, port: str) -> None:
    """LuCI of 22.03 asks at /api/overview, which others have long forgotten."""
    for path, place in {
        "/api/overview": "overview",
        "/api/v1/overview": "overview",
        "/overview": "overview",
        "/api/v1/latest": "latest",
        "//api/v1/overview/": "overview",
    }.items():
        response, _ = raw(clients_system, port, "GET", path)
        assert (response.status, response.headers["Location"]) == (
            301,
            f"/json/v1/{place}.json",
        ), path


@BY_GATEWAY_AND_WITHOUT
@pytest.mark.parametrize(
    "path",
    ["//api/v1/build", "/api//v1///build", "/api/v1/build/", "//api/v1/build/?1795421294847"],
)
def test_slashes_too_many_lose_no_request(
    clients_system: NativeSystem, build: dict[str, Any], port: str, path: str
) -> None:
    """Older clients join addresses so; a redirect would turn their POST into a GET."""
    answer = clients_system.ask(path, {**X86, "packages": ["vim"]}, port=port)

    assert (answer.status, answer.json()["request_hash"]) == (200, build["request_hash"])


@BY_GATEWAY_AND_WITHOUT
def test_a_client_without_a_name_is_served(clients_system: NativeSystem, port: str) -> None:
    """Neither a User-Agent nor a field `client` is needed."""
    text = json.dumps({**X86, "packages": ["vim"]}).encode()

    assert raw(clients_system, port, "POST", BUILD, JSON, text)[0].status == 200
