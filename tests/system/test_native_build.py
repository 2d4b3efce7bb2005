"""One device's upgrade through a system that was started with `make up`, seen from outside over
HTTP alone.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.system.native import (
    CAN_RUN,
    TARGET,
    VERSION,
    Answer,
    NativeSystem,
    running_system,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    not CAN_RUN, reason="needs root, podman, redis-server and debootstrap (make install)"
)

# What LuCI can show; anything else freezes its dialog.
RUNNING_STATES = {
    "init",
    "container_setup",
    "validate_revision",
    "validate_manifest",
    "calculate_packages_hash",
    "building_image",
    "signing_images",
}
REQUEST = {
    "version": VERSION,
    "target": TARGET,
    "profile": "bt,homehub-v5a",
    "packages": ["luci", "auc", "luci-app-opkg", "-ppp-mod-pppoa"],
    "diff_packages": False,
    "rootfs_size_mb": None,
    "client": "luci/undefined",
    "unknown_field": {"is": "ignored"},
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeSystem]:
    """Run one system for all tests of this module."""
    with running_system(tmp_path_factory.mktemp("native")) as system:
        yield system


@pytest.fixture(scope="module")
def preview(system: NativeSystem) -> Answer:
    """Return the preview of the request, from asu-prepare."""
    return system.ask("/api/v1/prepare", REQUEST)


@pytest.fixture(scope="module")
def answers(system: NativeSystem, preview: Answer) -> list[Answer]:
    """Return every answer about the build of the prepared request, from the first to the finished
    image.
    """
    first = system.ask(
        "/api/v1/build?skip_package_resolution=true", preview.json()["prepared_request"]
    )
    return system.follow(first)


def test_preview_says_what_changes_and_why(preview: Answer) -> None:
    """The preview replaces what was renamed and adds the switch driver, each with its reason."""
    assert preview.status == 200, preview.body
    changes = preview.json()["changes"]
    assert {
        (change["action"], change["from_package"], change["to_package"]) for change in changes
    } >= {
        ("replace", "auc", "owut"),
        ("replace", "luci-app-opkg", "luci-app-package-manager"),
    }
    assert "kmod-dsa-gswip" in preview.json()["resolved_packages"]
    assert all(change["reason"] for change in changes)


def test_both_previews_agree(system: NativeSystem, preview: Answer) -> None:
    """The API's preview comes from asu-prepare, and names the hash that the build gets."""
    through_asu = system.ask("/api/v1/build/prepare", REQUEST)

    assert through_asu.status == 200, through_asu.body
    assert through_asu.json()["prepared_request"] == preview.json()["prepared_request"]
    assert through_asu.json()["request_hash"] == preview.json()["request_hash"]


def test_build_goes_through_known_states(answers: list[Answer]) -> None:
    """A client that polls sees the queue, then steps that it knows, then the finished build."""
    assert answers[-1].status == 200, answers[-1].body
    waiting = [answer.json() for answer in answers[:-1]]
    assert waiting[0]["status"] == 202
    assert {
        body["imagebuilder_status"] for body in waiting if "imagebuilder_status" in body
    } <= RUNNING_STATES
    assert all(("queue_position" in body) == (body["detail"] == "queued") for body in waiting)
    assert {
        answer.headers["x-imagebuilder-status"] for answer in answers[:-1]
    } <= RUNNING_STATES | {"queued", "started"}


def test_build_has_what_was_previewed(preview: Answer, answers: list[Answer]) -> None:
    """The image holds the previewed packages, under the previewed hash."""
    build = answers[-1].json()
    installed = set(build["manifest"])
    wanted = preview.json()["resolved_packages"]

    assert build["request_hash"] == build["bin_dir"] == preview.json()["request_hash"]
    assert {name for name in wanted if not name.startswith("-")} <= installed
    assert not {name[1:] for name in wanted if name.startswith("-")} & installed
    assert build["version_number"] == VERSION
    assert build["target"] == TARGET


def test_forecast_is_compared_with_the_build(
    system: NativeSystem, preview: Answer, answers: list[Answer]
) -> None:
    """asu-prepare foretold the manifest, and the worker counts that it was right."""
    assert preview.json()["solved"] is True
    assert preview.json()["manifest"] == answers[-1].json()["manifest"]

    deadline = time.monotonic() + 60  # The worker asks when the build has ended.
    while (
        'asu_forecasts_total{result="agrees"} 1'
        not in system.ask("/metrics", port="ASU_PORT").body.decode()
    ):
        assert time.monotonic() < deadline
        time.sleep(1)


def test_images_can_be_downloaded(system: NativeSystem, answers: list[Answer]) -> None:
    """Each image comes through the gateway, as the bytes that its sha256 promises."""
    build = answers[-1].json()
    assert any(image["type"] == "sysupgrade" for image in build["images"])
    for image in build["images"]:
        answer = system.ask(f"/store/{build['bin_dir']}/{image['name']}")
        assert answer.status == 200
        assert hashlib.sha256(answer.body).hexdigest() == image["sha256"]
        assert answer.headers["content-length"] == str(len(answer.body))


def test_gateway_and_asu_send_the_same_headers_with_an_image(
    system: NativeSystem, answers: list[Answer]
) -> None:
    """A client cannot tell whether the gateway or asu serves an image, except by the form of its
    ETag.
    """
    build = answers[-1].json()
    path = f"/store/{build['bin_dir']}/{build['images'][0]['name']}"
    by_gateway, by_asu = (system.ask(path, port=port) for port in ("GATEWAY_PORT", "ASU_PORT"))

    assert by_gateway.body == by_asu.body
    names = [
        "content-type",
        "content-length",
        "content-disposition",
        "x-content-type-options",
        "accept-ranges",
        "last-modified",
    ]
    names += ["access-control-allow-origin", "cache-control"]
    assert [by_gateway.headers.get(name) for name in names] == [
        by_asu.headers.get(name) for name in names
    ]


def test_equal_request_is_served_at_once(system: NativeSystem, answers: list[Answer]) -> None:
    """The same wish, prepared or not, in another order, meets the finished build."""
    build = answers[-1].json()
    shuffled = {
        **REQUEST,
        "packages": list(reversed(REQUEST["packages"])),  # type: ignore[call-overload]
        "client": "owut/2026.07.08-r1",
    }

    again = system.ask("/api/v1/build", shuffled)

    assert (again.status, again.json()["request_hash"]) == (200, build["request_hash"])


def test_finished_build_is_polled_with_head(system: NativeSystem, answers: list[Answer]) -> None:
    """HEAD tells owut the same as GET, in headers."""
    answer = system.ask(f"/api/v1/build/{answers[-1].json()['request_hash']}", method="HEAD")

    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["x-imagebuilder-status"] == "done"


def test_a_hundred_equal_requests_at_once_are_one_build(
    system: NativeSystem, preview: Answer
) -> None:
    """Whoever asks, and however many at the same moment: one container builds, and all are told of
    the same images.
    """
    prepared = preview.json()["prepared_request"]
    # podman remembers the containers of other runs, so this run has a wish of its own.
    own_size = 100 + secrets.randbelow(900)
    wish = {**prepared, "packages": [*prepared["packages"], "tcpdump"], "rootfs_size_mb": own_size}
    with ThreadPoolExecutor(100) as clients:
        first = list(
            clients.map(
                lambda _: system.ask("/api/v1/build?skip_package_resolution=true", wish), range(100)
            )
        )
        assert {answer.status for answer in first} <= {200, 202}, first
        [key] = {answer.json()["request_hash"] for answer in first}
        last = list(clients.map(lambda answer: system.follow(answer)[-1], first))

    assert {answer.status for answer in last} == {200}, last[0].body
    assert len({json.dumps(answer.json()["images"]) for answer in last}) == 1
    assert len(builders_made(key)) == 1


def builders_made(key: str) -> list[str]:
    """Return the containers that podman has made for a build, those that close the network of
    another aside.
    """
    command = [
        "podman",
        "events",
        "--stream=false",
        "--since=30m",
        "--filter=event=create",
        f"--filter=label=asu.build={key}",
        "--format=json",
    ]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    made = [json.loads(line) for line in listed.splitlines()]
    return [str(event["ID"]) for event in made if "asu.fence" not in event["Attributes"]]


@pytest.mark.parametrize(
    ("path", "status"),
    [(f"/store/{'0' * 64}/none.bin", 404), (f"/api/v1/build/{'0' * 64}", 404), ("/nowhere", 404)],
)
def test_what_is_not_there_is_said_in_json(system: NativeSystem, path: str, status: int) -> None:
    """Every error is JSON with the four keys that clients need, readable from any page."""
    answer = system.ask(path)

    assert answer.status == status
    assert answer.json().items() >= {"status": status}.items()
    assert {"title", "detail", "code"} <= answer.json().keys()
    assert answer.headers["access-control-allow-origin"] == "*"
