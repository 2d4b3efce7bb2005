"""The stand-in server answers like a static mirror, and breaks only when it is told to."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.upstream.faults import Fault
from tests.upstream.serve import UpstreamServer

VERSIONS = '{"stable_version": "25.12.1"}\n'


@pytest.fixture
def control(tmp_path: Path) -> Path:
    """Return where the faults file would be."""
    return tmp_path / "faults.json"


@pytest.fixture
def upstream(tmp_path: Path, control: Path) -> Iterator[UpstreamServer]:
    """Serve a tree of one file."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / ".versions.json").write_text(VERSIONS, encoding="utf-8")
    (tmp_path / "secret").write_text("not served", encoding="utf-8")
    with UpstreamServer(tree, faults=control) as server:
        yield server


def ask(
    upstream: UpstreamServer, path: str = "/.versions.json", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], str]:
    """Send one request; return status, headers with lower-case names, and body."""
    connection = http.client.HTTPConnection("127.0.0.1", upstream.port, timeout=5)
    try:
        connection.request(
            method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        return (
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.read().decode(),
        )
    finally:
        connection.close()


def test_a_file_is_served_whatever_the_query(upstream: UpstreamServer) -> None:
    """A query string does not change what is found."""
    status, headers, body = ask(upstream, "/.versions.json?1795421294847")

    assert (status, headers["content-type"], body) == (200, "application/json", VERSIONS)
    assert headers["last-modified"].endswith("GMT")


def test_head_has_the_length_and_no_body(upstream: UpstreamServer) -> None:
    """HEAD answers as GET does, without the body."""
    status, headers, body = ask(upstream, method="HEAD")

    assert (status, headers["content-length"], body) == (200, str(len(VERSIONS)), "")


def test_a_known_etag_is_not_sent_again(upstream: UpstreamServer) -> None:
    """If-None-Match with the current ETag gets 304 and nothing else."""
    _, headers, _ = ask(upstream)

    status, _, body = ask(upstream, If_None_Match=headers["etag"])

    assert (status, body) == (304, "")


@pytest.mark.parametrize(
    "path", ["/nothing.json", "/", "/../secret", "/%2e%2e/secret", "//etc/passwd"]
)
def test_nothing_but_files_below_the_tree(upstream: UpstreamServer, path: str) -> None:
    """Missing files, directories and anything outside are 404."""
    assert ask(upstream, path)[0] == 404


def test_requests_are_remembered(upstream: UpstreamServer) -> None:
    """A test can count what was asked for."""
    ask(upstream, method="HEAD")
    ask(upstream, "/x?y=1")

    assert upstream.requests == [("HEAD", "/.versions.json"), ("GET", "/x")]


def test_the_faults_file_is_read_at_each_request(upstream: UpstreamServer, control: Path) -> None:
    """A fault begins when the file appears and ends when it goes away."""
    control.write_text(json.dumps([{"path": "*.json", "fault": "500"}]), encoding="utf-8")
    assert ask(upstream)[0] == 500

    control.unlink()
    assert ask(upstream)[0] == 200


def test_a_fault_may_strike_a_number_of_times(upstream: UpstreamServer) -> None:
    """With `times` the server recovers by itself, which is what a retry hopes for."""
    upstream.faults.set([Fault(path=".versions.json", fault="503", times=2)])

    assert [ask(upstream)[0] for _ in range(3)] == [503, 503, 200]


def test_a_truncated_answer_breaks_off(upstream: UpstreamServer) -> None:
    """The promised length does not arrive."""
    upstream.faults.set([Fault(path="*", fault="truncated")])

    with pytest.raises(http.client.IncompleteRead):
        ask(upstream)


def test_garbage_looks_like_success(upstream: UpstreamServer) -> None:
    """A captive portal answers 200 with a page of its own."""
    upstream.faults.set([Fault(path="*", fault="garbage")])

    status, headers, body = ask(upstream)

    assert (status, headers["content-type"]) == (200, "text/html")
    assert body.startswith("<!DOCTYPE html>")


def test_a_redirect_leads_to_the_file(upstream: UpstreamServer) -> None:
    """A redirect without a location points at the same file, once."""
    upstream.faults.set([Fault(path="*", fault="redirect")])

    status, headers, _ = ask(upstream)

    assert status == 302
    assert ask(upstream, headers["location"])[2] == VERSIONS


@pytest.mark.parametrize(("fault", "arrives"), [("slow", True), ("hang", False)])
def test_slow_arrives_and_hang_does_not(
    upstream: UpstreamServer,
    fault: str,
    arrives: bool,  # noqa: FBT001
) -> None:
    """Both take their time; after a hang the connection closes without an answer."""
    upstream.faults.set([Fault(path="*", fault=fault, seconds=0.2)])
    begin = time.monotonic()

    if arrives:
        assert ask(upstream)[0] == 200
    else:
        with pytest.raises(http.client.RemoteDisconnected):
            ask(upstream)

    assert time.monotonic() - begin >= 0.2


def test_a_wrong_faults_file_is_no_silence(upstream: UpstreamServer, control: Path) -> None:
    """A misspelt fault shows at once instead of testing nothing."""
    control.write_text(json.dumps([{"path": "*", "fault": "slwo"}]), encoding="utf-8")

    status, _, body = ask(upstream)

    assert status == 501
    assert "slwo" in body
