"""The gateway's rules about images, seen through a real nginx with the shipped template."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.gateway_world import (
    BUILD,
    CAN_RUN,
    CONTENT,
    IMAGE,
    Gateway,
    error_of,
    running_gateway,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Run one gateway for all tests of this module."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def gateway(running: Gateway) -> Gateway:
    """Return the gateway, with nothing seen yet."""
    running.forget()
    return running


@pytest.mark.parametrize(
    "path",
    [
        f"/store/{BUILD}/{IMAGE}",
        f"//store//{BUILD}/{IMAGE}",
        f"/store/{BUILD}/{IMAGE}?1795421294847",
    ],
)
def test_image_is_served_by_the_gateway(gateway: Gateway, path: str) -> None:
    """An image of the local store comes from nginx, with the headers that clients rely on."""
    answer = gateway.ask(
        "GET", path, headers={"Accept-Encoding": "gzip, br", "Origin": "http://192.168.1.1"}
    )

    assert answer.status == 200
    assert answer.body == CONTENT
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{IMAGE}"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Last-Modified"]
    assert answer.headers["ETag"]
    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert "Content-Encoding" not in answer.headers
    assert "Transfer-Encoding" not in answer.headers
    assert not gateway.asu.seen


def test_image_head_has_the_same_headers(gateway: Gateway) -> None:
    """HEAD says of an image what GET says."""
    head, get = (gateway.ask(method, f"/store/{BUILD}/{IMAGE}") for method in ("HEAD", "GET"))

    assert head.status == 200
    assert head.body == b""
    volatile = {"Date"}
    assert {k: v for k, v in head.headers.items() if k not in volatile} == {
        k: v for k, v in get.headers.items() if k not in volatile
    }


def test_image_can_be_resumed(gateway: Gateway) -> None:
    """A part of an image can be fetched; a range beyond its end is an error in JSON."""
    part = gateway.ask("GET", f"/store/{BUILD}/{IMAGE}", headers={"Range": "bytes=100-199"})
    beyond = gateway.ask("GET", f"/store/{BUILD}/{IMAGE}", headers={"Range": "bytes=999999-"})

    assert (part.status, part.body) == (206, CONTENT[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(CONTENT)}"
    assert part.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert beyond.status == 416
    assert error_of(beyond)["code"] == "range-not-satisfiable"


def test_unchanged_image_is_not_sent_again(gateway: Gateway) -> None:
    """A client that has the image is told so."""
    etag = gateway.ask("HEAD", f"/store/{BUILD}/{IMAGE}").headers["ETag"]
    answer = gateway.ask("GET", f"/store/{BUILD}/{IMAGE}", headers={"If-None-Match": etag})

    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]


def test_image_preflight_is_answered(gateway: Gateway) -> None:
    """A browser's preflight for an image is answered without troubling asu."""
    answer = gateway.ask(
        "OPTIONS", f"/store/{BUILD}/{IMAGE}", headers={"Access-Control-Request-Method": "GET"}
    )

    assert answer.status == 204
    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert not gateway.asu.seen


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_images_are_read_only(gateway: Gateway, method: str) -> None:
    """An image can only be read."""
    answer = gateway.ask(method, f"/store/{BUILD}/{IMAGE}", body=b"")

    assert answer.status == 405
    assert error_of(answer)["code"] == "method-not-allowed"
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert (gateway.store / BUILD / IMAGE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "path",
    [
        f"/store/{BUILD}/missing.bin",
        f"/store/{BUILD}/",
        f"/store/{BUILD}",
        "/store/",
        f"/store/{BUILD}/.hidden",
        f"/store/{BUILD}/link.bin",
        f"/store/{'00' * 32}/{IMAGE}",
    ],
)
def test_what_the_store_lacks_is_left_to_asu(gateway: Gateway, path: str) -> None:
    """No listing, no hidden file, no link: asu answers for all that is no image here, since it may
    lie elsewhere.
    """
    answer = gateway.ask("GET", path)

    assert json.loads(answer.body)["service"] == "asu"
    assert [seen.target for seen in gateway.asu.seen] == [path]


def test_store_cannot_be_left(gateway: Gateway) -> None:
    """No spelling of `..` leads out of the store."""
    for path in (
        f"/store/{BUILD}/../../../etc/hostname",
        f"/store/{BUILD}/..%2f..%2f..%2fetc%2fhostname",
        "/store/..%2f..%2fetc/hostname",
    ):
        answer = gateway.ask("GET", path)
        assert answer.status == 400 or json.loads(answer.body)["service"] == "asu"


def test_gateway_does_not_tell_its_version(gateway: Gateway) -> None:
    """No answer names nginx's version."""
    assert gateway.ask("GET", f"/store/{BUILD}/{IMAGE}").headers["Server"] == "nginx"


@pytest.mark.parametrize(
    "condition", [{"If-Match": '"x"'}, {"If-Unmodified-Since": "Tue, 24 Nov 2009 00:00:00 GMT"}]
)
def test_a_condition_that_fails_is_said_in_json(
    gateway: Gateway, condition: dict[str, str]
) -> None:
    """Readable from any page, as every error."""
    answer = gateway.ask("GET", f"/store/{BUILD}/{IMAGE}", headers=condition)

    assert (answer.status, json.loads(answer.body)["code"]) == (412, "precondition-failed")
    assert answer.headers.get_all("Access-Control-Allow-Origin") == ["*"]


def test_several_ranges_are_answered_with_the_whole_file(gateway: Gateway) -> None:
    """As asu does; no client asks for them, and every one reads the whole."""
    answer = gateway.ask("GET", f"/store/{BUILD}/{IMAGE}", headers={"Range": "bytes=0-0,2-3"})

    assert answer.status == 200
