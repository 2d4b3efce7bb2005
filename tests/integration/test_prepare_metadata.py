"""asu-prepare against a downloads server that is slow, broken, half published or lying: always an
answer, and never a wrong one.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from asu_prepare.config import Settings
from asu_prepare.main import create_app
from asu_prepare.upstream import DownloadsServer
from asu_prepare.web_client import Fetched, FetchError, WebClient
from tests.upstream.faults import Fault
from tests.upstream.serve import UpstreamServer

PREPARE = "/api/v1/prepare"
VERSION, TARGET = "25.12.1", "lantiq/xrx200"
PROFILES = f"releases/{VERSION}/targets/{TARGET}/profiles.json"
BASE_INDEX = f"releases/{VERSION}/packages/mips_24kc/base/index.json"
# Seconds: far more than a local answer takes, far less than a fault lasts; and what a test can
# stand.
BUDGET, PATIENT = 0.4, 5.0
HANGING = 4.0  # Seconds for what does not hang beside what does.
DEVICES = {
    "bt_homehub-v5a": {
        "device_packages": ["kmod-dsa-gswip"],
        "supported_devices": ["bt,homehub-v5a"],
    }
}
KERNEL = {"version": "6.12.78", "release": "1", "vermagic": "4362e98d"}
REQUEST: dict[str, Any] = {
    "from_version": "24.10.4",
    "version": VERSION,
    "target": TARGET,
    "profile": "bt,homehub-v5a",
    "packages": ["base-files", "netifd", "luci"],
    "diff_packages": True,
}


def write_release(root: Path, version: str, *, device_packages: list[str]) -> None:
    """Write the metadata of one release with one device."""
    target, feeds = (
        root / f"releases/{version}/targets/{TARGET}",
        root / f"releases/{version}/packages/mips_24kc",
    )
    devices = {"bt_homehub-v5a": {**DEVICES["bt_homehub-v5a"], "device_packages": device_packages}}
    profiles = {
        "version_code": "r1-1",
        "arch_packages": "mips_24kc",
        "linux_kernel": KERNEL,
        "default_packages": ["base-files", "dnsmasq", "netifd"],
        "profiles": devices,
    }
    write(target / "profiles.json", profiles)
    write(target / "packages/index.json", {"version": 2, "packages": {"kernel": "6"}})
    write(
        target / f"kmods/{'-'.join(KERNEL.values())}/index.json",
        {"version": 2, "packages": dict.fromkeys(device_packages, "6")},
    )
    write(feeds / "base/index.json", {"version": 2, "packages": {"netifd": "1", "dnsmasq": "1"}})
    write(feeds / "luci/index.json", {"version": 2, "packages": {"luci": "1"}})
    (feeds / "feeds.conf").write_text(
        "src-git base https://example.org/base.git^0\nsrc-git luci https://example.org/luci.git^0\n"
    )


def write(path: Path, document: Any) -> None:
    """Write one document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[UpstreamServer]:
    """Serve the metadata of two releases."""
    write(
        tmp_path / ".versions.json",
        {"stable_version": VERSION, "versions_list": ["24.10.4", VERSION]},
    )
    write_release(tmp_path, "24.10.4", device_packages=[])
    write_release(
        tmp_path,
        VERSION,
        device_packages=[
            "kmod-dsa-gswip",
            "xrx200-rev1.1-phy11g-firmware",
            "xrx200-rev1.2-phy11g-firmware",
        ],
    )
    with UpstreamServer(tmp_path) as server:
        yield server


class NotingClient(WebClient):
    """Notes the status of each answer."""

    def __init__(self, *, user_agent: str) -> None:
        super().__init__(user_agent=user_agent)
        self.statuses: list[int] = []

    async def get(
        self, url: str, *, validators: Mapping[str, str], max_bytes: int, deadline: float
    ) -> Fetched:
        """See WebClient."""
        answer = await super().get(
            url, validators=validators, max_bytes=max_bytes, deadline=deadline
        )
        self.statuses.append(answer.status)
        return answer


def service(upstream: UpstreamServer, *, ttl: float = 300, budget: float = BUDGET) -> TestClient:
    """Return a client of a service that reads from this server; answers are decided anew each
    time.
    """
    app = create_app(Settings(upstream_url=upstream.url, metadata_ttl=ttl, metadata_budget=budget))
    return TestClient(app, raise_server_exceptions=False)


def preview(client: TestClient) -> dict[str, Any]:
    """Return the preview of the request; it must succeed whatever the server does."""
    answer = client.post(PREPARE, json=REQUEST)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_driver_is_rescued_with_the_servers_metadata(upstream: UpstreamServer) -> None:
    """What became a default is added, and everything was looked up."""
    with service(upstream, budget=PATIENT) as client:
        found = preview(client)

    assert "kmod-dsa-gswip" in found["resolved_packages"]
    assert "-dnsmasq" in found["resolved_packages"]
    assert (found["checked"], found["resolved_profile"], found["problems"]) == (
        True,
        "bt_homehub-v5a",
        [],
    )


def test_many_requests_at_once_ask_for_each_document_once(upstream: UpstreamServer) -> None:
    """Single flight: release day costs the downloads server one exchange for each document."""
    upstream.faults.set([Fault(path="*", fault="slow", seconds=0.1)])
    with service(upstream, budget=PATIENT) as client, ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: preview(client), range(32)))

    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["checked"]
    assert set(Counter(upstream.requests).values()) == {1}


@pytest.mark.parametrize("fault", ["500", "404", "truncated", "garbage", "redirect", "hang"])
@pytest.mark.parametrize(
    "path", ["*", "*/profiles.json", "*/index.json", "*/feeds.conf", ".versions.json"]
)
def test_no_fault_makes_an_error(upstream: UpstreamServer, fault: str, path: str) -> None:
    """Without a copy the preview says that it could not look, within the budget; what could be had
    is used.
    """
    upstream.faults.set([Fault(path=path, fault=fault)])
    # Only a server that hangs uses the budget up; where all else answers, a busy machine may take
    # its time.
    with service(upstream, budget=HANGING if fault == "hang" else PATIENT) as client:
        found = preview(client)

    assert found["checked"] is (path == ".versions.json")
    if path == "*":
        assert found["prepared_request"]["diff_packages"] is True
        assert found["warnings"]


@pytest.mark.parametrize("fault", ["500", "404", "truncated", "garbage", "redirect"])
def test_the_last_good_copy_stands_in(upstream: UpstreamServer, fault: str) -> None:
    """A server that breaks later takes nothing away."""
    with service(upstream, ttl=0.01, budget=PATIENT) as client:
        good = preview(client)
        time.sleep(0.02)
        upstream.faults.set([Fault(path="*", fault=fault)])
        assert preview(client) == good
        assert preview(client) == good


def test_a_half_published_release_is_not_checked(upstream: UpstreamServer) -> None:
    """Where an index is not there yet, nothing is called unknown."""
    (upstream.root / BASE_INDEX).unlink()
    with service(upstream, budget=PATIENT) as client:
        found = preview(client)

    assert (found["checked"], found["problems"]) == (False, [])
    assert "kmod-dsa-gswip" in found["resolved_packages"]


def test_a_slow_document_is_there_for_the_next_request(upstream: UpstreamServer) -> None:
    """The first request does not wait for it; the exchange goes on."""
    upstream.faults.set([Fault(path=BASE_INDEX, fault="slow", seconds=1.0)])
    with service(upstream) as client:
        assert preview(client)["checked"] is False
        give_up = time.monotonic() + 60
        while not preview(client)["checked"]:
            assert time.monotonic() < give_up, "the exchange did not go on"

    assert Counter(upstream.requests)["GET", f"/{BASE_INDEX}"] == 1


def test_unchanged_documents_are_not_sent_again(upstream: UpstreamServer) -> None:
    """A stale copy is revalidated with what the server said of it; that is a 304, and the same
    value goes on.
    """
    client = NotingClient(user_agent="test")
    documents = DownloadsServer(client, url=upstream.url, ttl=0.0)

    async def read_twice() -> bool:
        try:
            return await documents.read(PROFILES, json.loads) is await documents.read(
                PROFILES, json.loads
            )
        finally:
            await documents.close()

    assert asyncio.run(read_twice())
    assert client.statuses == [200, 304]


def test_a_new_publication_is_seen(upstream: UpstreamServer) -> None:
    """Once a copy's time is over, what the server has now counts."""
    with service(upstream, ttl=0.01, budget=PATIENT) as client:
        assert (
            client.post(PREPARE, json={**REQUEST, "profile": "bt_homehub-v7"}).json()["code"]
            == "unsupported-profile"
        )
        document = json.loads((upstream.root / PROFILES).read_text())
        document["profiles"]["bt_homehub-v7"] = {"device_packages": []}
        write(upstream.root / PROFILES, document)
        time.sleep(0.02)
        assert client.post(PREPARE, json={**REQUEST, "profile": "bt_homehub-v7"}).status_code == 200


def test_previews_need_no_server(upstream: UpstreamServer) -> None:
    """Nothing listens: the first request learns it, and the others get the same answer."""
    with UpstreamServer(upstream.root) as gone:
        url = gone.url
    app = create_app(Settings(upstream_url=url))
    with TestClient(app, raise_server_exceptions=False) as client:
        assert [preview(client)["checked"] for _ in range(3)] == [False] * 3


class Packed(BaseHTTPRequestHandler):
    """Answers with what the test has set, packed."""

    body, encoding = b"", "gzip"

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Encoding", self.encoding)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    # The base class names it so.
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay quiet."""


@pytest.mark.parametrize(
    ("body", "encoding", "fate"),
    [
        (gzip.compress(b"x" * 1_000), "gzip", b"x" * 1_000),
        (gzip.compress(b"x" * 50_000_000), "gzip", "larger than"),
        (gzip.compress(b"x" * 1_000)[:-9], "gzip", "too early"),
        (b"no gzip", "gzip", "error"),
        (b"x", "br", "not asked for"),
        (b"x" * 3_000, "identity", "larger than"),
    ],
    ids=["good", "bomb", "cut", "not packed", "another packing", "large"],
)
def test_bodies_are_bounded_as_they_are_unpacked(
    body: bytes, encoding: str, fate: bytes | str
) -> None:
    """A small packed body cannot fill the memory, and what cannot be unpacked is no document."""
    handler = type("Handler", (Packed,), {"body": body, "encoding": encoding})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

        async def fetch() -> bytes:
            client = WebClient(user_agent="test")
            try:
                return (
                    await client.get(
                        f"http://127.0.0.1:{server.server_port}/",
                        validators={},
                        max_bytes=2_000,
                        deadline=5,
                    )
                ).body
            finally:
                await client.close()

        try:
            if isinstance(fate, bytes):
                assert asyncio.run(fetch()) == fate
            else:
                with pytest.raises(FetchError, match=fate):
                    asyncio.run(fetch())
        finally:
            server.shutdown()
