"""What an API believes of documents that an earlier one has left, until the server has said whether
they hold.
"""

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asu.build_request import BuildRequest
from asu.catalogue.listings import Listings
from asu.catalogue.validation import Catalogue
from asu.errors import (
    AsuError,
    NotFound,
    UnsupportedBranch,
    UnsupportedProfile,
    UnsupportedTarget,
    UnsupportedVersion,
    UpstreamUnreachable,
)
from asu.resolution import Gatherer, load_rules
from asu.upstream.downloads_server import RECALLED_OLD, RECALLED_PATIENCE, DownloadsServer
from asu.upstream.http_client import WebAnswer, WebError
from asu.upstream.last_good import LastGood
from tests.unit.test_last_good import AWAY, URL, age_by, disk, files
from tests.unit.test_upstream import DOCUMENT, TTL, ScriptedClient, ok
from tests.unit.worlds import REQUEST, metadata, settings

__all__ = ["disk"]  # A fixture.

pytestmark = pytest.mark.anyio

NEWER = {"stable_version": "24.10.5"}
UNKNOWN = [
    ({"version": "24.10.9"}, UnsupportedVersion),
    ({"version": "26.10.0"}, UnsupportedBranch),
    ({"target": "ath79/nand", "profile": "no_device"}, UnsupportedTarget),
    ({"profile": "new_device"}, UnsupportedProfile),
]


class WholeServer(ScriptedClient):
    """A client that is answered with the documents of a whole server, or that they are still what
    they were.
    """

    def __init__(self) -> None:
        super().__init__(ok())
        self.documents = metadata()

    async def get(
        self, url: str, *, headers: Mapping[str, str], max_bytes: int, deadline: float
    ) -> WebAnswer:
        """See WebClient."""
        await super().get(url, headers=headers, max_bytes=max_bytes, deadline=deadline)
        if headers:
            return WebAnswer(304, {}, b"")
        document = self.documents.get(url.removeprefix(f"{URL}/"))
        return ok(document, etag='"a"') if document is not None else WebAnswer(404, {}, b"")


class Life:
    """An API's cache on a disk, with a clock that the test moves."""

    def __init__(self, disk: Path, client: ScriptedClient, *, max_total: int = 1_000_000) -> None:
        self.client, self.now = client, 1000.0
        kept = LastGood(disk, URL, clock=lambda: self.now, max_total=max_total)
        self.server = DownloadsServer(
            client, url=URL, ttl=TTL, clock=lambda: self.now, last_good=kept
        )
        gatherer, rules = Gatherer(self.server), load_rules()
        self.catalogue = Catalogue(self.server, gatherer, settings(), rules)
        self.listings = Listings(self.server, gatherer, self.catalogue, rules, "21.02")

    async def validate(self, **fields: Any) -> None:
        """Validate a request with these fields changed; what is being kept is kept."""
        async with self.server:
            await self.catalogue.validate(BuildRequest.model_validate({**REQUEST, **fields}))

    async def read(self, path: str = ".versions.json") -> Any:
        """Return a document as it is; what is being kept is kept."""
        async with self.server:
            return await self.server.read(path, lambda raw: dict(json.loads(raw)))


def asking(*answers: WebAnswer | WebError) -> ScriptedClient:
    """Return a client with these answers."""
    return ScriptedClient(*answers)


async def left_by_another(disk: Path, *, age: float) -> None:
    """Leave what an API knows that has answered a request and a listing."""
    life = Life(disk, WholeServer())
    await life.validate()
    async with life.server:
        await life.listings.profile("24.10.4", "ath79/generic", "tplink_archer-c7-v5")
    age_by(disk, age)


@pytest.mark.parametrize(("fields", "refused"), UNKNOWN)
async def test_what_an_old_document_lacks_is_not_called_the_users_fault(
    disk: Path, fields: dict[str, Any], refused: type[AsuError]
) -> None:
    """A release may have come meanwhile; what is confirmed or was a moment ago tells, and refuses
    for good.
    """
    await left_by_another(disk, age=6 * 86_400)
    life = Life(disk, asking(AWAY))
    await life.validate()
    with pytest.raises(UpstreamUnreachable):
        await life.validate(**fields)

    with pytest.raises(refused):
        await Life(disk, WholeServer()).validate(**fields)
    with pytest.raises(refused):
        await Life(disk, asking(AWAY)).validate(**fields)


async def test_nor_by_what_device_clients_ask_for_first(disk: Path) -> None:
    """They take the absence of a profile, and of an architecture, for final as well."""
    await left_by_another(disk, age=6 * 86_400)
    listings = Life(disk, asking(AWAY)).listings

    with pytest.raises(UpstreamUnreachable):
        await listings.profile("24.10.4", "ath79/generic", "new_device")
    with pytest.raises(UpstreamUnreachable):
        await listings.architecture_packages("24.10.4", "riscv64")
    with pytest.raises(NotFound):
        await Life(disk, WholeServer()).listings.architecture_packages("24.10.4", "riscv64")


async def test_an_old_document_waits_for_a_server_that_is_slow(disk: Path) -> None:
    """As if there were none: what it lacks may be what was asked for."""
    await Life(disk, asking(ok())).read()
    age_by(disk, RECALLED_OLD)
    life = Life(disk, asking(ok(NEWER)))
    life.client.open.clear()
    asyncio.get_running_loop().call_later(RECALLED_PATIENCE + 0.3, life.client.open.set)

    assert await life.read() == NEWER


async def test_a_document_that_is_not_kept_is_fetched_whole(disk: Path) -> None:
    """A disk may have been full, or somebody tidied; else the next API would never know it, since
    this one is told that it is still the same.
    """
    life = Life(disk, asking(ok(etag='"a"'), WebAnswer(304, {}, b""), ok(NEWER, etag='"b"')))
    await life.read()
    shutil.rmtree(disk)
    for _ in range(2):
        life.now += TTL
        await life.read()

    assert [headers for _, headers in life.client.asked] == [{}, {"If-None-Match": '"a"'}, {}]
    assert await Life(disk, asking(AWAY)).read() == NEWER


async def test_another_document_is_not_confirmed(disk: Path) -> None:
    """What is kept may be older than what this process knows: that the newer one holds says nothing
    of it.
    """
    life = Life(
        disk,
        asking(
            ok(etag='"a"'), ok(NEWER, etag='"b"'), WebAnswer(304, {}, b""), ok(NEWER, etag='"b"')
        ),
    )
    await life.read()
    [file] = files(disk)
    older = file.read_bytes()
    life.now += TTL
    await life.read()
    file.write_bytes(older)
    for _ in range(2):
        life.now += TTL
        await life.read()

    assert life.client.asked[2:] == [
        (f"{URL}/.versions.json", {"If-None-Match": '"b"'}),
        (f"{URL}/.versions.json", {}),
    ]
    assert await Life(disk, asking(AWAY)).read() == NEWER


async def test_a_disk_without_room_does_not_make_documents_come_whole(tmp_path: Path) -> None:
    """They would come every few minutes, for nothing."""
    life = Life(tmp_path / "none" / "documents", asking(ok(etag='"a"'), WebAnswer(304, {}, b"")))
    crowded = Life(
        tmp_path / "crowded", asking(ok(etag='"a"'), WebAnswer(304, {}, b"")), max_total=1
    )
    for one in (life, crowded):
        for _ in range(3):
            assert await one.read() == DOCUMENT
            one.now += TTL

        assert [headers for _, headers in one.client.asked] == [
            {},
            {"If-None-Match": '"a"'},
            {"If-None-Match": '"a"'},
        ]
