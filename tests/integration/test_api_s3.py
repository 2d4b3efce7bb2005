"""The whole API over a store in a bucket, with and without the gateway: downloads on the wire, and
polls while the bucket is in trouble.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from redis import Redis

from asu.records.api_records import Records
from asu.records.build_record import BuildRecord, PendingBodies, State
from asu.records.redis_connections import async_redis
from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from asu.stores import open_store
from asu.stores.store import Lifetimes
from tests.integration.gateway_world import CAN_RUN, start_nginx
from tests.integration.test_api_redis import running_api
from tests.redis_server import RedisServer
from tests.requirements import free_port
from tests.s3_server import Faults, faulty, make_bucket, running_s3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asu.stores.store import Store

KEY = "5f" * 32
NAME = "openwrt-25.12.1-0123456789ab-lantiq-xrx200-bt_homehub-v5a-squashfs-sysupgrade.bin"
# A dozen pieces, and more than the buffers on the way hold.
CONTENT = secrets.token_bytes(3_000_000)
BODIES = PendingBodies(
    b'{"status": 202, "detail": "queued"}', b'{"status": 202, "detail": "started"}'
)


@dataclass(frozen=True, slots=True)
class World:
    """An API whose store is a bucket, behind a proxy that can fail; one build is finished and
    published.
    """

    url: str
    settings: Settings
    store: Store
    faults: Faults
    redis: RedisServer

    def get(
        self, path: str = f"/store/{KEY}/{NAME}", method: str = "GET", **headers: str
    ) -> httpx2.Response:
        """Ask; underscores in names of headers stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.request(
            method, f"{self.url}{path}", headers=named, timeout=60, trust_env=False
        )

    def finish(self) -> None:
        """Publish the build and put its record in place."""
        place = self.store.workplace(KEY)
        (place / NAME).write_bytes(CONTENT)
        self.store.publish(KEY, place, 1000)

        async def claim() -> None:
            async with async_redis(self.redis.url) as redis:
                await Records(redis).claim(
                    KEY, plan=json.dumps({"key": KEY}), bodies=BODIES, limit=10, renew=True
                )

        asyncio.run(claim())
        with Redis.from_url(self.redis.url) as redis:
            worker = WorkerRecords(redis)
            attempt = worker.start_next()
            assert attempt is not None
            worker.finish(
                attempt, BuildRecord(state=State.DONE, step="done", body=b'{"status": 200}'), 1000
            )


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[dict[str, Any], Faults]]:
    """Run an S3 server with a bucket; return the settings that name it."""
    with running_s3() as url, faulty(url) as (proxy, faults):
        make_bucket(url, "images")
        yield (
            {
                "s3_bucket": "images",
                "s3_endpoint_url": proxy,
                "s3_access_key_id": "tester",
                "s3_secret_access_key": "none",
            },
            faults,
        )


@contextmanager
def running(bucket: tuple[dict[str, Any], Faults], directory: Path, **more: Any) -> Iterator[World]:
    """Run an API with a Redis of its own and the bucket."""
    values, faults = bucket
    (directory / "redis").mkdir()
    with RedisServer(directory / "redis") as redis:
        settings = Settings(
            **{
                **values,
                "redis_url": redis.url,
                "store_path": directory / "work",
                "upstream_url": "http://127.0.0.1:1",
                **more,
            }
        )
        with running_api(settings) as url:
            world = World(url, settings, open_store(settings), faults, redis)
            world.finish()
            faults.seen.clear()
            yield world
            faults.heal()


@pytest.fixture
def world(bucket: tuple[dict[str, Any], Faults], tmp_path: Path) -> Iterator[World]:
    """Return an API through which images are streamed."""
    with running(bucket, tmp_path) as world:
        yield world


def test_an_image_is_streamed_whole_with_its_length(world: World) -> None:
    """One answer as from a disk: not in chunks, not compressed, with validators; HEAD asks the
    bucket for no image.
    """
    get, part = world.get(Accept_Encoding="gzip"), world.get(Range="bytes=1000000-1999999")
    world.faults.seen.clear()
    head, unchanged = world.get(method="HEAD"), world.get(If_None_Match=get.headers["etag"])

    assert (get.status_code, get.content == CONTENT) == (200, True)
    assert (part.status_code, part.content == CONTENT[1_000_000:2_000_000]) == (206, True)
    assert get.headers["content-length"] == head.headers["content-length"] == str(len(CONTENT))
    assert get.headers["etag"] == f'"{sha256(CONTENT).hexdigest()}"'
    assert get.headers.keys().isdisjoint({"content-encoding", "transfer-encoding"})
    assert (head.status_code, head.content, unchanged.status_code) == (200, b"", 304)
    assert not [request for request in world.faults.seen if NAME in request.path]


def test_an_image_that_breaks_off_breaks_the_connection(world: World) -> None:
    """A client that compares lengths, or hashes, must see that it has not got all; others must not
    be let believe so either.
    """
    world.faults.breaks_off = lambda request: NAME in request.path

    with pytest.raises(httpx2.RemoteProtocolError):
        world.get()
    world.faults.heal()
    assert world.get().content == CONTENT


def test_polls_go_on_while_the_bucket_hangs(world: World) -> None:
    """Downloads wait for it, in threads of their own; a finished build counts as there after a
    little patience.
    """
    world.faults.hangs = lambda _: True
    downloads = [threading.Thread(target=world.get) for _ in range(10)]
    for thread in downloads:
        thread.start()
    while len(world.faults.seen) < len(downloads):
        time.sleep(0.01)

    assert world.get("/livez").status_code == 200
    assert [world.get(f"/api/v1/build/{KEY}").status_code for _ in range(3)] == [200] * 3
    world.faults.heal()
    for thread in downloads:
        thread.join()


def test_a_poll_of_a_build_whose_objects_are_gone_puts_it_back_in_line(world: World) -> None:
    """Asked once, the bucket says so; then the build waits, and when it is done again the answer is
    as it was.
    """
    remove_all(world.store)
    gone = [world.get(f"/api/v1/build/{KEY}", method) for method in ("HEAD", "GET")]
    world.finish()

    assert [(answer.status_code, answer.headers["x-imagebuilder-status"]) for answer in gone] == [
        (202, "queued")
    ] * 2
    assert world.get(f"/api/v1/build/{KEY}").status_code == 200


def test_the_bucket_is_asked_once_for_many_polls(world: World) -> None:
    """A poll every second by every client is no reason to ask it as often."""
    assert {world.get(f"/api/v1/build/{KEY}").status_code for _ in range(20)} == {200}

    assert len(world.faults.seen) == 2, "for the manifest and for the list of what lies beside it"


def test_clients_are_sent_to_the_bucket_where_the_operator_has_chosen_so(
    bucket: tuple[dict[str, Any], Faults], tmp_path: Path
) -> None:
    """By a redirect without a query."""
    with running(bucket, tmp_path, s3_public_url="https://images.example.org/bucket/") as world:
        answer = world.get(f"/store/{KEY}/{NAME}?1795421294847")

    manifest = world.store.manifest(KEY)
    assert manifest
    place = f"https://images.example.org/bucket/{KEY}/{manifest.publication}"
    assert (answer.status_code, answer.headers["location"]) == (302, f"{place}/{NAME}")
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]


@pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")
def test_the_gateway_passes_images_of_a_bucket_on(world: World, tmp_path: Path) -> None:
    """It has no such file itself, and changes nothing about what asu answers; a broken image stays
    broken.
    """
    port = free_port()
    asu = world.url.removeprefix("http://")
    nginx = start_nginx(
        tmp_path / "nginx", port, asu=asu, prepare="127.0.0.1:1", store=tmp_path / "no-store"
    )
    try:
        through = World(
            f"http://127.0.0.1:{port}", world.settings, world.store, world.faults, world.redis
        )
        get, head, part, beyond = (
            through.get(),
            through.get(method="HEAD"),
            through.get(Range="bytes=-5"),
            through.get(Range="bytes=9999999-"),
        )
        direct = world.get()
        world.faults.breaks_off = lambda request: NAME in request.path
        with pytest.raises(httpx2.RemoteProtocolError):
            through.get()
    finally:
        nginx.terminate()
        nginx.wait()

    assert (get.status_code, get.content == CONTENT, part.status_code, part.content) == (
        200,
        True,
        206,
        CONTENT[-5:],
    )
    assert (beyond.status_code, beyond.json()["code"], beyond.headers["content-range"]) == (
        416,
        "range-not-satisfiable",
        f"bytes */{len(CONTENT)}",
    )
    own = {"date", "server", "connection", "x-request-id"}
    assert {k: v for k, v in get.headers.items() if k not in own} == {
        k: v for k, v in direct.headers.items() if k not in own
    }
    assert get.headers["content-length"] == head.headers["content-length"]
    assert [
        answer.headers.get_list("access-control-allow-origin")
        for answer in (get, head, part, beyond)
    ] == [["*"]] * 4


def remove_all(store: Store) -> None:
    """Take every build out of the bucket, as an operator may."""
    store.expire(Lifetimes(grace=-10_000, undocumented=0, workplaces=0), lambda _: False)
