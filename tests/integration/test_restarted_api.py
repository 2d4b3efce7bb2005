"""An API that is started while the downloads server is away: it knows what the last one knew, and
answers for builds that there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from redis import Redis

from asu.records.build_record import BuildRecord, State
from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from tests.documents import write_documents
from tests.integration.test_api_redis import publish, running_api
from tests.unit.worlds import REQUEST, metadata
from tests.upstream.serve import UpstreamServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.redis_server import RedisServer

NEVER_ASKED = {**REQUEST, "packages": ["tmux"]}


@pytest.mark.parametrize("path", ["/api/v1/build", "/api/v1/build?skip_package_resolution=true"])
def test_a_restart_while_the_downloads_server_is_away_changes_no_answer(
    tmp_path: Path, shared_redis: RedisServer, path: str
) -> None:
    """A finished build is answered with its images, to whoever polls and to whoever asks anew; even
    a new one is put in line.
    """
    write_documents(tmp_path / "upstream", metadata())
    with (
        UpstreamServer(tmp_path / "upstream") as upstream,
        Redis.from_url(shared_redis.url) as redis,
    ):
        redis.flushall()
        settings = Settings(
            redis_url=shared_redis.url,
            upstream_url=upstream.url,
            store_path=tmp_path / "store",
            metadata_ttl=1,
        )
        with running_api(settings) as url, httpx2.Client(base_url=url, trust_env=False) as client:
            asked = client.post(path, json=REQUEST)
            preview = client.post("/api/v1/build/prepare", json=REQUEST)
    key = asked.json()["request_hash"]
    with Redis.from_url(shared_redis.url) as redis:
        attempt = WorkerRecords(redis).start_next()
        assert attempt is not None
        publish(tmp_path, key)
        WorkerRecords(redis).finish(
            attempt, BuildRecord(state=State.DONE, step="done", body=b'{"status": 200}'), 100
        )

    with (
        running_api(settings) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        again, polled = client.post(path, json=REQUEST), client.get(f"/api/v1/build/{key}")
        other = client.post(path, json=NEVER_ASKED)
        previewed = client.post("/api/v1/build/prepare", json=REQUEST)

    assert (asked.status_code, polled.status_code, again.status_code, other.status_code) == (
        202,
        200,
        200,
        202,
    ), again.text
    assert previewed.json()["prepared_request"] == preview.json()["prepared_request"]
