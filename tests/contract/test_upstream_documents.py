"""The downloads server's documents: the in-memory twin behaves as the adapter does over HTTP; and
HTTP as it really goes wrong.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asu.build_request import BuildRequest
from asu.catalogue.devices import Devices
from asu.catalogue.listings import Listings
from asu.catalogue.validation import Catalogue
from asu.resolution import (
    DocumentMissingError,
    DocumentUnavailableError,
    Gatherer,
    Version,
    load_rules,
)
from asu.upstream.downloads_server import DownloadsServer, Upstream
from asu.upstream.http_client import WebClient, WebError
from tests.documents import write_documents
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.worlds import REQUEST, metadata, settings
from tests.upstream.faults import Fault
from tests.upstream.serve import UpstreamServer

pytestmark = pytest.mark.anyio

Serve = Callable[[dict[str, Any]], Upstream]
PROFILES = "releases/24.10.4/targets/ath79/generic/profiles.json"


def read_name(raw: bytes) -> str:
    """Read a document that must have a name."""
    return str(json.loads(raw)["name"])


def read_time(raw: bytes) -> datetime:
    """Read a document that must have a time."""
    document = json.loads(raw)
    return datetime.fromtimestamp(
        int((json.loads(document) if isinstance(document, str) else document)["seconds"]), UTC
    )


def catalogue_of(upstream: Upstream) -> Catalogue:
    """Return a catalogue that looks things up here."""
    return Catalogue(upstream, Gatherer(upstream), settings(), load_rules())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return the directory that is served."""
    return tmp_path


@pytest.fixture
def server(tree: Path) -> Iterator[UpstreamServer]:
    """Serve the directory."""
    with UpstreamServer(tree) as server:
        yield server


@pytest.fixture
async def web() -> AsyncIterator[WebClient]:
    """Return an HTTP client."""
    async with WebClient(user_agent="test") as client:
        yield client


class UpstreamContract:
    """What every implementation does; a subclass brings the fixture `serve`."""

    async def test_a_document_is_read(self, serve: Serve) -> None:
        """Callers get what the reader makes of it."""
        assert await serve({"a/b.json": {"name": "found"}}).read("a/b.json", read_name) == "found"

    async def test_a_missing_document_is_missing(self, serve: Serve) -> None:
        """That is no failure: there is no such thing."""
        with pytest.raises(DocumentMissingError):
            await serve({}).read("a/b.json", read_name)

    @pytest.mark.parametrize("document", [None, [], {}, "text", 17])
    async def test_a_document_of_another_shape_is_as_good_as_none(
        self, serve: Serve, document: object
    ) -> None:
        """The server is broken, not the caller."""
        with pytest.raises(DocumentUnavailableError) as caught:
            await serve({"a/b.json": document}).read("a/b.json", read_name)
        assert "a/b.json" in str(caught.value)

    @pytest.mark.parametrize(
        "number", ["1e400", "-1e400", "NaN", "Infinity", "9" * 5000, "1" + "0" * 400, "[" * 100_000]
    )
    async def test_a_number_beyond_all_bounds_is_as_good_as_none(
        self, serve: Serve, number: str
    ) -> None:
        """JSON has numbers that no program can hold; what a reader makes of them is no mistake of
        ours.
        """
        with pytest.raises(DocumentUnavailableError):
            await serve({"a/b.json": f'{{"seconds": {number}}}'}).read("a/b.json", read_time)

    async def test_there_is_an_age(self, serve: Serve) -> None:
        """At most some seconds after the first document."""
        upstream = serve({"a/b.json": {"name": "found"}})
        await upstream.read("a/b.json", read_name)

        assert 0 <= upstream.oldest() < 10

    async def test_a_request_is_validated(self, serve: Serve) -> None:
        """The catalogue works over either."""
        catalogue = catalogue_of(serve(metadata()))

        assert (await catalogue.validate(BuildRequest(**REQUEST))).fields["profile"] == REQUEST[
            "profile"
        ]


class TestMemoryUpstream(UpstreamContract):
    """The in-memory twin."""

    @pytest.fixture
    def serve(self) -> Serve:
        """Return what serves documents."""
        return MemoryUpstream

    async def test_down_is_unreachable(self) -> None:
        """As over HTTP without a copy."""
        with pytest.raises(DocumentUnavailableError):
            await MemoryUpstream({"a": {"name": "x"}}, down=True).read("a", read_name)


class TestDownloadsServer(UpstreamContract):
    """The adapter, over HTTP."""

    @pytest.fixture
    def serve(self, tree: Path, server: UpstreamServer, web: WebClient) -> Serve:
        """Return what serves documents."""

        def serve(documents: dict[str, Any]) -> Upstream:
            write_documents(tree, documents)
            return DownloadsServer(web, url=server.url, ttl=300)

        return serve

    @pytest.mark.parametrize("fault", ["500", "404", "302", "truncated", "garbage", "redirect"])
    async def test_known_versions_validate_while_the_server_fails(
        self, tree: Path, server: UpstreamServer, web: WebClient, fault: str
    ) -> None:
        """The last good copy stands in, and the server is asked no more than once per document in
        the meantime.
        """
        write_documents(tree, metadata())
        catalogue = catalogue_of(DownloadsServer(web, url=server.url, ttl=0))
        request = BuildRequest(**REQUEST)
        await catalogue.validate(request)
        # Newer files, so that the server does not get by with a 304.
        write_documents(tree, metadata())
        server.faults.set([Fault(path="*", fault=fault)])
        asked = len(server.requests)

        for _ in range(3):
            assert (await catalogue.validate(request)).fields["profile"] == REQUEST["profile"]
        assert len(server.requests) - asked == 3

    @pytest.mark.parametrize(
        "number", ["1e400", "-1e400", "NaN", "9" * 5000, "1" + "0" * 400, "[" * 100_000]
    )
    async def test_what_cannot_be_read_is_left_alone(
        self, tree: Path, server: UpstreamServer, web: WebClient, number: str
    ) -> None:
        """However often it is asked for, the server hears of it once."""
        write_documents(tree, {"a.json": f'{{"seconds": {number}}}'})
        upstream = DownloadsServer(web, url=server.url, ttl=300)
        for _ in range(3):
            with pytest.raises(DocumentUnavailableError):
                await upstream.read("a.json", read_time)

        assert len(server.requests) == 1

    async def test_a_document_is_revalidated(
        self, tree: Path, server: UpstreamServer, web: WebClient
    ) -> None:
        """What has not changed is not sent again, and what has changed is seen."""
        write_documents(tree, {"a.json": {"name": "one"}})
        upstream = DownloadsServer(web, url=server.url, ttl=0)
        names = [await upstream.read("a.json", read_name) for _ in range(2)]
        write_documents(tree, {"a.json": {"name": "two, longer"}})
        names.append(await upstream.read("a.json", read_name))

        assert names == ["one", "one", "two, longer"]

    async def test_many_who_wait_share_one_request(
        self, tree: Path, server: UpstreamServer, web: WebClient
    ) -> None:
        """However slow the server is."""
        write_documents(tree, {"a.json": {"name": "one"}})
        server.faults.set([Fault(path="*", fault="slow", seconds=0.2)])
        upstream = DownloadsServer(web, url=server.url, ttl=300)

        assert set(
            await asyncio.gather(*(upstream.read("a.json", read_name) for _ in range(50)))
        ) == {"one"}
        assert len(server.requests) == 1

    async def test_the_overview_is_there_at_once_while_the_server_is_slow(
        self, tree: Path, server: UpstreamServer, web: WebClient
    ) -> None:
        """A dozen documents whose copies are all stale cost a moment in all, for the first who asks
        and for those after.
        """
        write_documents(tree, metadata())
        async with DownloadsServer(web, url=server.url, ttl=0) as upstream:
            catalogue = catalogue_of(upstream)
            listings = Listings(upstream, Gatherer(upstream), catalogue, load_rules(), "21.02")
            known = await listings.branches()
            await catalogue.validate(BuildRequest(**REQUEST))
            server.faults.set([Fault(path="*", fault="slow", seconds=30)])

            async with asyncio.timeout(25):  # Less than one answer takes.
                assert [await listings.branches() for _ in range(3)] == [known] * 3
                validated = await catalogue.validate(BuildRequest(**REQUEST))
            assert validated.fields["profile"] == REQUEST["profile"]

    async def test_previews_and_the_device_search_read_one_list_of_devices(
        self, tree: Path, server: UpstreamServer, web: WebClient
    ) -> None:
        """Each reads the same document in its own way, one after the other."""
        entry = {"id": "box", "target": "ath79/generic", "titles": [{"title": "The Box"}]}
        overview = {"releases/24.10.4/.overview.json": {"profiles": [entry]}}
        write_documents(tree, metadata() | overview)
        version = Version.parse("24.10.4")
        for search_first in (True, False):
            async with DownloadsServer(web, url=server.url, ttl=300) as upstream:
                devices = Devices(upstream, catalogue_of(upstream))
                if search_first:
                    assert await devices.search("box", "24.10.4", 5)
                assert await Gatherer(upstream).devices(version) == {"box": ("ath79/generic",)}
                [found] = await devices.search("box", "24.10.4", 5)
                assert found["title"] == "The Box"

    async def test_one_slow_document_holds_up_no_other(
        self, tree: Path, server: UpstreamServer, web: WebClient
    ) -> None:
        """Each document has its own line."""
        write_documents(tree, {"slow.json": {"name": "slow"}, "fast.json": {"name": "fast"}})
        server.faults.set([Fault(path="slow.json", fault="slow", seconds=0.5)])
        upstream = DownloadsServer(web, url=server.url, ttl=300)
        slow = asyncio.create_task(upstream.read("slow.json", read_name))

        assert await upstream.read("fast.json", read_name) == "fast"
        assert not slow.done()
        assert await slow == "slow"


async def test_a_hanging_peer_is_given_up(
    tree: Path, server: UpstreamServer, web: WebClient
) -> None:
    """The deadline holds for the whole exchange."""
    write_documents(tree, {"a.json": {}})
    server.faults.set([Fault(path="*", fault="hang")])

    with pytest.raises(WebError, match=r"within 0\.2 s"):
        await web.get(f"{server.url}/a.json", headers={}, max_bytes=100, deadline=0.2)


async def test_an_endless_answer_is_not_read(
    tree: Path, server: UpstreamServer, web: WebClient
) -> None:
    """More than the bound is not taken into memory."""
    (tree / "a.json").write_bytes(b"x" * 101)

    with pytest.raises(WebError, match="larger than 100"):
        await web.get(f"{server.url}/a.json", headers={}, max_bytes=100, deadline=5)
    assert (
        len((await web.get(f"{server.url}/a.json", headers={}, max_bytes=101, deadline=5)).body)
        == 101
    )
