"""The whole API over a real redis-server and RQ, served by a real uvicorn: release day, and a Redis
that goes away.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis import Redis

from asu.app import create_app
from asu.builds.build_queue import QUEUE
from asu.records.build_record import BuildRecord, State
from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from asu.stores.local import LocalStore
from asu.web.server import server_options
from tests.documents import write_documents
from tests.redis_server import RedisServer
from tests.serving import served
from tests.unit.worlds import REQUEST, metadata
from tests.upstream.serve import UpstreamServer

PATIENCE = 60.0  # Seconds for what should take one.


@contextmanager
def running_api(settings: Settings) -> Iterator[str]:
    """Serve the API as `asu api` does; return its URL."""
    with served(
        create_app(settings), **{**server_options(settings), "timeout_graceful_shutdown": 1}
    ) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server of the test's own."""
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def api(tmp_path: Path, redis_server: RedisServer) -> Iterator[str]:
    """Run the API; return its URL."""
    write_documents(tmp_path / "upstream", metadata())
    with UpstreamServer(tmp_path / "upstream") as upstream:
        settings = Settings(
            redis_url=redis_server.url,
            upstream_url=upstream.url,
            store_path=tmp_path / "store",
            prepare_service_url=None,
            max_pending_jobs=1000,
            metadata_ttl=3600,
        )
        with running_api(settings) as url:
            yield url


@pytest.fixture
def client(api: str) -> Iterator[httpx2.Client]:
    """Return a client of the API."""
    with httpx2.Client(base_url=api, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    """Return a client of the server."""
    with Redis.from_url(redis_server.url) as redis:
        yield redis


def many(api: str, method: str, path: str, count: int, **options: Any) -> list[httpx2.Response]:
    """Send the same request many times at once."""

    async def send() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=count)
        async with httpx2.AsyncClient(
            base_url=api, limits=limits, timeout=60, trust_env=False
        ) as client:
            return await asyncio.gather(
                *(client.request(method, path, **options) for _ in range(count))
            )

    return asyncio.run(send())


AWAY = (503, "queue-unavailable")


def refusal_of(client: httpx2.Client, method: str, path: str) -> tuple[int, str]:
    """Return status and code of an answer that says when to come back."""
    answer = client.request(method, path, json=REQUEST if method == "POST" else None)
    assert int(answer.headers["retry-after"]) > 0
    return answer.status_code, answer.json()["code"]


def publish(directory: Path, key: str, content: bytes = b"image") -> None:
    """Publish one file as a worker does."""
    store = LocalStore(directory / "store")
    place = store.workplace(key)
    (place / "a.bin").write_bytes(content)
    store.publish(key, place, 100)


def test_a_hundred_equal_requests_make_one_job(api: str, redis: Redis) -> None:
    """All of them get the same answer, and of all workers one may build, in the one container of
    its attempt.
    """
    answers = many(api, "POST", "/api/v1/build", 100, json=REQUEST)

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["request_hash"] for answer in answers}) == 1
    assert {answer.json()["queue_position"] for answer in answers} == {0}
    assert redis.llen(f"rq:queue:{QUEUE}") == 1
    assert len(redis.keys("rq:job:*")) == 1
    assert redis.zcard("asu:waiting") == 1
    assert [WorkerRecords(redis).start_next() is not None for _ in range(3)] == [
        True,
        False,
        False,
    ]


def test_one_address_cannot_take_all_places(
    client: httpx2.Client, tmp_path: Path, redis_server: RedisServer, api: str
) -> None:
    """The address is the one that the gateway saw; no answer repeats it, and the gateway's own
    neighbours have no share.
    """
    settings = Settings(
        redis_url=redis_server.url,
        store_path=tmp_path / "store",
        upstream_url=_upstream_of(api),
        max_pending_jobs=6,
        client_share=0.5,
    )

    def ask(package: str, address: str | None) -> httpx2.Response:
        headers = {"X-Forwarded-For": address} if address else {}
        return client.post(
            f"{url}/api/v1/build", json={**REQUEST, "packages": [package]}, headers=headers
        )

    with running_api(settings) as url:
        answers = [ask(package, "5.9.0.1") for package in ("a", "b", "c", "d")]
        others = [ask("d", "5.9.0.2"), ask("e", None), ask("f", None)]
        full = ask("g", "5.9.0.3")

    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert (
        answers[3].json()["code"],
        answers[3].json()["status"],
        answers[3].headers["retry-after"],
    ) == ("share-exceeded", 429, "60")
    assert "5.9.0.1" not in answers[3].text
    assert [answer.status_code for answer in others] == [202, 202, 202]
    assert (full.status_code, full.json()["code"]) == (529, "overloaded")


def test_a_crowd_of_pollers_is_answered(api: str, client: httpx2.Client) -> None:
    """Clients take anything but 200 and 202 for the end of their build, so nobody is refused
    however many ask at once.
    """
    key = client.post("/api/v1/build", json=REQUEST).json()["request_hash"]

    assert {answer.status_code for answer in many(api, "GET", f"/api/v1/build/{key}", 400)} == {202}


@pytest.mark.parametrize("trouble", ["stop", "freeze"])
def test_without_redis_callers_learn_it_in_time_and_it_heals_by_itself(
    client: httpx2.Client, redis_server: RedisServer, trouble: str
) -> None:
    """Whether it is gone or hangs: 503 within two seconds, but for polls; once it is back, what was
    accepted is still there.
    """
    key = client.post("/api/v1/build", json=REQUEST).json()["request_hash"]
    getattr(redis_server, trouble)()
    assert refusal_of(client, "POST", "/api/v1/build") == AWAY
    assert refusal_of(client, "GET", "/api/v1/top-packages") == AWAY
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503
    if trouble == "stop":
        redis_server.start()
    else:
        redis_server.thaw()

    assert client.get(f"/api/v1/build/{key}").status_code == 202
    assert client.post("/api/v1/build", json=REQUEST).status_code == 202
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("trouble", ["stop", "freeze"])
def test_a_poll_waits_for_redis_to_come_back(
    client: httpx2.Client, redis_server: RedisServer, trouble: str
) -> None:
    """Clients take a refusal for the end of their build, which Redis has not forgotten when it is
    restarted or hangs for seconds.
    """
    key = client.post("/api/v1/build", json=REQUEST).json()["request_hash"]
    getattr(redis_server, trouble)()
    with ThreadPoolExecutor(2) as pool:
        polls = [
            pool.submit(client.request, method, f"/api/v1/build/{key}")
            for method in ("GET", "HEAD")
        ]
        time.sleep(3)  # Longer than one question to Redis may take.
        (redis_server.start if trouble == "stop" else redis_server.thaw)()

    assert [poll.result().status_code for poll in polls] == [202, 202]


def test_a_poll_is_refused_when_redis_stays_away(tmp_path: Path, redis_server: RedisServer) -> None:
    """Patience ends before the gateway's does, in our own words."""
    redis_server.stop()
    settings = Settings(redis_url=redis_server.url, store_path=tmp_path / "store", poll_patience=1)
    with (
        running_api(settings) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        assert refusal_of(client, "GET", f"/api/v1/build/{'0' * 64}") == AWAY


def test_the_api_starts_before_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    """The order in which services start does not matter."""
    redis_server.stop()
    with (
        running_api(Settings(redis_url=redis_server.url, store_path=tmp_path / "store")) as url,
        httpx2.Client(base_url=url, trust_env=False, timeout=30) as client,
    ):
        assert client.get("/readyz").status_code == 503
        redis_server.start()
        assert client.get("/readyz").status_code == 200


def test_a_build_is_followed_to_its_end(
    client: httpx2.Client, redis: Redis, tmp_path: Path
) -> None:
    """Queued, running, done, through real records; HEAD has the headers of GET and no body on the
    wire.
    """
    key = client.post("/api/v1/build", json=REQUEST).json()["request_hash"]
    worker = WorkerRecords(redis)
    attempt = worker.start_next()
    assert attempt is not None
    worker.progress(attempt, "building_image", b'{"status": 202}')
    running = client.head(f"/api/v1/build/{key}")
    publish(tmp_path, key)
    worker.finish(attempt, BuildRecord(state=State.DONE, step="done", body=b'{"status": 200}'), 100)
    done = client.get(f"/api/v1/build/{key}")

    assert (
        running.status_code,
        running.headers["x-imagebuilder-status"],
        running.headers["x-queue-position"],
    ) == (202, "building_image", "0")
    assert (running.content, int(running.headers["content-length"]) > len(b'{"status": 202}')) == (
        b"",
        True,
    )
    assert (done.status_code, done.json()["status"], done.headers["x-imagebuilder-status"]) == (
        200,
        200,
        "done",
    )
    assert [(one["number"], one["outcome"]) for one in done.json()["attempts"]] == [(1, "done")]
    assert client.post("/api/v1/build", json=REQUEST).status_code == 200


def test_requests_are_counted_in_redis(api: str, client: httpx2.Client) -> None:
    """A hundred requests at once are a hundred in the figures, a second or so later."""
    many(api, "POST", "/api/v1/build", 100, json=REQUEST)
    give_up = time.monotonic() + PATIENCE
    totals = client.get("/api/v1/stats/summary").json()
    while totals["requests"] < 100 and time.monotonic() < give_up:
        time.sleep(0.2)
        totals = client.get("/api/v1/stats/summary").json()

    assert (totals["requests"], totals["cache_hits"], totals["queue_length"]) == (100, 0, 1)


def test_an_api_that_ends_hands_over_what_it_has_counted(
    tmp_path: Path, redis_server: RedisServer, api: str
) -> None:
    """A restart loses no request; nor does it wait for a Redis that is gone."""
    settings = Settings(
        redis_url=redis_server.url, store_path=tmp_path / "store", upstream_url=_upstream_of(api)
    )
    with running_api(settings) as other, httpx2.Client(trust_env=False, timeout=30) as client:
        assert client.post(f"{other}/api/v1/build", json=REQUEST).status_code == 202
    with httpx2.Client(trust_env=False, timeout=30) as client:
        counted = client.get(f"{api}/api/v1/stats/summary").json()

    assert counted["requests"] == 1


def _upstream_of(api: str) -> str:
    """Return the downloads server that an API asks."""
    url: str = httpx2.get(f"{api}/json/v1/overview.json", trust_env=False).json()["upstream_url"]
    return url


def test_a_restarted_api_forgets_nothing(
    api: str, redis_server: RedisServer, tmp_path: Path
) -> None:
    """What clients poll lives in Redis, so another process answers as well."""
    with httpx2.Client(trust_env=False, timeout=30) as client:
        key = client.post(f"{api}/api/v1/build", json=REQUEST).json()["request_hash"]
        with running_api(
            Settings(redis_url=redis_server.url, store_path=tmp_path / "store")
        ) as other:
            answer = client.get(f"{other}/api/v1/build/{key}")

    assert (answer.status_code, answer.json()["queue_position"]) == (202, 0)


def test_bodies_in_chunks_over_the_wire(client: httpx2.Client) -> None:
    """As owut and auc send them, and one too large is refused without being read to its end."""
    content = json.dumps(REQUEST).encode()
    headers = {"Content-Type": "application/json"}
    good = client.post("/api/v1/build", content=iter([content[:7], content[7:]]), headers=headers)
    bad = client.post("/api/v1/build", content=iter([b"x" * 65_536] * 5), headers=headers)

    assert "content-length" not in good.request.headers
    assert (good.status_code, bad.status_code, bad.json()["code"]) == (202, 413, "body-too-large")


def test_a_download_over_the_wire(client: httpx2.Client, tmp_path: Path) -> None:
    """One answer with the length of the file, not compressed and not in chunks; HEAD sends no
    file.
    """
    key = "a" * 64
    publish(tmp_path, key, b"0" * 100_000)
    answers = [
        client.request(method, f"/store/{key}/a.bin", headers={"Accept-Encoding": "gzip"})
        for method in ("GET", "HEAD")
    ]

    assert [len(answer.content) for answer in answers] == [100_000, 0]
    assert [answer.headers["content-length"] for answer in answers] == ["100000"] * 2
    assert all(
        answer.headers.keys().isdisjoint({"content-encoding", "transfer-encoding"})
        for answer in answers
    )
