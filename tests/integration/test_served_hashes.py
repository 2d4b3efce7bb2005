"""What the answer promises is what the gateway serves: signed images, whole, in parts and by HEAD,
from a disk and from a bucket.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

import httpx2
import pytest
from redis import Redis

from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from asu.stores import open_store
from asu.worker.recovery import recover
from asu.worker.signing_key import make_signing_key
from tests.integration.gateway_world import CAN_RUN, start_nginx
from tests.integration.test_api_redis import running_api
from tests.redis_server import RedisServer
from tests.requirements import free_port
from tests.s3_server import make_bucket, running_s3
from tests.unit.job_world import KEY, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asu.stores.local import LocalStore
    from asu.stores.store import Store

pytestmark = pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway before an API, whose worker has built and signed one image."""

    url: str
    store: Store
    path: Path

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx2.Response:
        """Ask through the gateway."""
        return httpx2.request(
            method, f"{self.url}{path}", headers=headers, timeout=60, trust_env=False
        )


@pytest.fixture(params=["disk", "bucket"])
def values(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """Return the settings of a store in a bucket, or nothing for the one on the disk."""
    if request.param == "disk":
        yield {}
        return
    with running_s3() as url:
        make_bucket(url, "images")
        yield {
            "s3_bucket": "images",
            "s3_endpoint_url": url,
            "s3_access_key_id": "tester",
            "s3_secret_access_key": "none",
        }


@pytest.fixture
def site(values: dict[str, Any], tmp_path: Path) -> Iterator[Site]:
    """Build into the store and run gateway and API over it."""
    (tmp_path / "redis").mkdir()
    make_signing_key(tmp_path / "key")
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(tmp_path / "redis"))
        path = tmp_path / "store"
        settings = Settings(
            redis_url=redis.url,
            upstream_url="http://127.0.0.1:1",
            store_path=path,
            build_key=tmp_path / "key",
            **values,
        )
        store = open_store(settings)
        # A worker asks no more of it than of any other.
        World(settings, cast("LocalStore", store)).build()
        with Redis.from_url(redis.url) as client:
            assert recover(store, WorkerRecords(client)).restored == [KEY]
        asu = stack.enter_context(running_api(settings)).removeprefix("http://")
        port = free_port()
        nginx = start_nginx(
            tmp_path / "nginx",
            port,
            asu=asu,
            prepare="127.0.0.1:1",
            store=tmp_path / "none" if values else path,
        )
        stack.callback(nginx.wait)
        stack.callback(nginx.terminate)
        yield Site(f"http://127.0.0.1:{port}", store, path)


def test_the_hash_of_an_answer_is_that_of_the_served_bytes(site: Site) -> None:
    """However they are fetched."""
    images = site.get(f"/api/v1/build/{KEY}").json()["images"]

    assert len(images) == 2
    for image in images:
        path = f"/store/{KEY}/{image['name']}"
        whole, head = site.get(path), site.get(path, "HEAD")
        size, cut = len(whole.content), len(whole.content) // 3
        parts = [
            site.get(path, Range=wanted)
            for wanted in (f"bytes=0-{cut - 1}", f"bytes={cut}-{2 * cut - 1}", f"bytes={2 * cut}-")
        ]
        assert sha256(whole.content).hexdigest() == image["sha256"] != image["sha256_unsigned"]
        assert [part.status_code for part in parts] == [206] * 3
        assert sha256(b"".join(part.content for part in parts)).hexdigest() == image["sha256"]
        assert (head.status_code, head.content, head.headers["content-length"]) == (
            200,
            b"",
            str(size),
        )


@pytest.mark.parametrize("values", ["disk"], indirect=True)  # In a bucket nothing can be shortened.
def test_a_shortened_image_is_polled_for_as_one_that_waits(site: Site) -> None:
    """And once a worker has tidied, the gateway has nothing of it left to serve."""
    image = site.get(f"/api/v1/build/{KEY}").json()["images"][0]["name"]
    os.truncate(site.path / KEY / image, 3)

    assert site.get(f"/api/v1/build/{KEY}").status_code == 202
    assert site.store.remove_damaged() == [KEY]
    assert site.get(f"/store/{KEY}/{image}").status_code == 404
