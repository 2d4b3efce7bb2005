"""What outlives a Redis that is killed in the midst of its work, and what is made anew after one
that has lost everything.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from redis import Redis

from asu.records.build_account import write_account
from asu.records.build_record import PREFIX
from asu.records.worker_records import WorkerRecords
from asu.resolution import request_hash
from asu.settings import Settings
from asu.stores import open_store
from asu.stores.manifest import ACCOUNT
from asu.worker.progress import Progress
from tests.documents import write_documents
from tests.integration.test_api_redis import running_api
from tests.redis_server import RedisServer
from tests.s3_server import make_bucket, running_s3
from tests.unit.worlds import REQUEST, metadata
from tests.upstream.serve import UpstreamServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asu.stores.store import Store

ASKED = {
    "version": "24.10.4",
    "target": "ath79/generic",
    "profile": "tplink_archer-c7-v5",
    "packages": ["vim"],
    "defaults": None,
}
KEY = request_hash(ASKED)
CONTENT = bytes(range(256)) * 40
ACCEPTED = 200
CLIENTS = 8  # At once.
MORE = 100  # Requests that are under way when the server is killed.


@pytest.fixture
def client(tmp_path: Path, own_redis: RedisServer) -> Iterator[httpx2.Client]:
    """Run the API and return a client of it."""
    write_documents(tmp_path / "upstream", metadata())
    with UpstreamServer(tmp_path / "upstream") as upstream:
        settings = Settings(
            redis_url=own_redis.url,
            upstream_url=upstream.url,
            store_path=tmp_path / "store",
            max_pending_jobs=1000,
            metadata_ttl=3600,
        )
        with (
            running_api(settings) as url,
            httpx2.Client(base_url=url, timeout=60, trust_env=False) as client,
        ):
            yield client


def test_every_accepted_build_survives_the_crash_of_redis(
    client: httpx2.Client, own_redis: RedisServer
) -> None:
    """Two hundred that wait, and whoever was told 202 while the server was being killed: each of
    them is still in line, in its place.
    """

    def ask(number: int) -> str | None:
        answer = client.post("/api/v1/build", json={**REQUEST, "rootfs_size_mb": 100 + number})
        return answer.json()["request_hash"] if answer.status_code == 202 else None

    with ThreadPoolExecutor(CLIENTS) as pool:
        accepted = list(pool.map(ask, range(ACCEPTED)))
        under_way = [pool.submit(ask, ACCEPTED + number) for number in range(MORE)]
        under_way[MORE // 4].result()
        own_redis.kill()
        own_redis.start()
        accepted += [answer for answer in (future.result() for future in under_way) if answer]
    with Redis.from_url(own_redis.url) as redis:
        waiting = WorkerRecords(redis).due_keys()

    assert len(set(accepted)) == len(accepted) >= ACCEPTED
    assert set(accepted) <= set(waiting)
    polled = [client.get(f"/api/v1/build/{key}") for key in accepted if key]
    assert {answer.status_code for answer in polled} == {202}
    # Those who came last may stand at the end for a second.
    places = [answer.json()["queue_position"] for answer in polled[:ACCEPTED]]
    assert places == [waiting.index(key) for key in accepted[:ACCEPTED] if key]


def publish(store: Store) -> None:
    """Publish a build as a worker does."""
    plan = {"key": KEY, "request": ASKED, "enqueued_at": "2026-03-01T12:00:00+00:00"}
    progress = Progress(
        plan, {"bin_dir": KEY, "images": [{"name": "a.bin", "sha256": sha256(CONTENT).hexdigest()}]}
    )
    place = store.workplace(KEY)
    (place / "a.bin").write_bytes(CONTENT)
    (place / ACCOUNT).write_bytes(write_account(plan, progress.done()))
    store.publish(KEY, place, 1000)
    store.discard(place)


@pytest.fixture(params=["disk", "bucket"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return the settings of a store on a disk and of one in a bucket."""
    values = {
        "STORE_PATH": str(tmp_path / "store"),
        "UPSTREAM_URL": "http://127.0.0.1:1",
        "ASU_CONFIG": str(tmp_path / "none.toml"),
    }
    if request.param == "disk":
        yield values
        return
    with running_s3() as url:
        make_bucket(url, "images")
        yield {
            **values,
            "S3_BUCKET": "images",
            "S3_ENDPOINT_URL": url,
            "S3_ACCESS_KEY_ID": "tester",
            "S3_SECRET_ACCESS_KEY": "none",
        }


def test_finished_builds_are_made_known_again_from_the_store(
    own_redis: RedisServer, images: dict[str, str]
) -> None:
    """By one command, also while the API runs: the poll is answered as before, and the image is the
    one that the answer names.
    """
    values: dict[str, Any] = {name.lower(): value for name, value in images.items()}
    settings = Settings(redis_url=own_redis.url, **values)
    publish(open_store(settings))
    environment = {**os.environ, **images, "REDIS_URL": own_redis.url}
    with (
        running_api(settings) as url,
        httpx2.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        lost = client.get(f"/api/v1/build/{KEY}")
        runs = [
            subprocess.run(
                [sys.executable, "-m", "asu", "recover"],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            for _ in range(2)
        ]
        found = client.get(f"/api/v1/build/{KEY}")
        image = client.get(f"/store/{KEY}/a.bin")
        account = client.get(f"/store/{KEY}/{ACCOUNT}")
    with Redis.from_url(own_redis.url) as redis:
        left = redis.ttl(PREFIX + KEY)

    assert (lost.status_code, found.status_code, account.status_code) == (404, 200, 404)
    assert runs == [
        f"build {KEY}: its record is restored\n1 restored, 0 known already, 0 left alone\n",
        "0 restored, 1 known already, 0 left alone\n",
    ]
    assert found.json()["images"][0]["sha256"] == sha256(image.content).hexdigest()
    assert 900 < int(str(left)) <= 1000
