"""What outlives a Redis that is killed in the midst of its work."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx2
import pytest
from redis import Redis

from asu.redis_records import RedisWorkerRecords
from asu.settings import Settings
from tests.integration.test_api_redis import running_api
from tests.redis_server import RedisServer
from tests.unit.worlds import REQUEST, metadata
from tests.upstream.serve import UpstreamServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACCEPTED = 200
CLIENTS = 8  # At once.
MORE = 100  # Requests that are under way when the server is killed.


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis that the test may kill."""
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def client(tmp_path: Path, server: RedisServer) -> Iterator[httpx2.Client]:
    """Run the API and return a client of it."""
    for name, document in metadata().items():
        path = tmp_path / "upstream" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")
    with UpstreamServer(tmp_path / "upstream") as upstream:
        settings = Settings(redis_url=server.url, upstream_url=upstream.url, store_path=tmp_path / "store", max_pending_jobs=1000, metadata_ttl=3600)
        with running_api(settings) as url, httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
            yield client


def test_every_accepted_build_survives_the_crash_of_redis(client: httpx2.Client, server: RedisServer) -> None:
    """Two hundred that wait, and whoever was told 202 while the server was being killed: each of them is still in line, in its place."""

    def ask(number: int) -> str | None:
        answer = client.post("/api/v1/build", json={**REQUEST, "rootfs_size_mb": 100 + number})
        return answer.json()["request_hash"] if answer.status_code == 202 else None

    with ThreadPoolExecutor(CLIENTS) as pool:
        accepted = list(pool.map(ask, range(ACCEPTED)))
        under_way = [pool.submit(ask, ACCEPTED + number) for number in range(MORE)]
        under_way[MORE // 4].result()
        server.kill()
        server.start()
        accepted += [answer for answer in (future.result() for future in under_way) if answer]
    with Redis.from_url(server.url) as redis:
        waiting = RedisWorkerRecords(redis).waiting_keys()

    assert len(set(accepted)) == len(accepted) >= ACCEPTED
    assert set(accepted) <= set(waiting)
    polled = [client.get(f"/api/v1/build/{key}") for key in accepted if key]
    assert {answer.status_code for answer in polled} == {202}
    places = [answer.json()["queue_position"] for answer in polled[:ACCEPTED]]  # Those who came last may stand at the end for a second.
    assert places == [waiting.index(key) for key in accepted[:ACCEPTED] if key]
