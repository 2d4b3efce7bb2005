"""Whatever somebody writes into Redis: no request ends in an error of ours, no change of a record
stops half-way, and the next build is made.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from redis import Redis

from asu.app import create_app
from asu.builds.build_queue import BuildQueue
from asu.builds.fleet import NAMES, NOTE, SEEN, STORE, FleetNotes, live_words
from asu.records.api_records import SEQUENCE
from asu.records.build_record import (
    HOLDER,
    LEASE,
    LOG,
    PACE,
    PREFIX,
    RETRIES,
    RUNNING,
    SYSTEM,
    WAITING,
)
from asu.records.worker_records import ATTEMPTS, ERASED, SCRIPTS, WorkerRecords
from asu.settings import Settings
from asu.statistics.redis_statistics import PREFIX as FIGURES
from asu.statistics.redis_statistics import TOTALS, RedisBuildStatistics
from asu.stores.local import LocalStore
from asu.worker.job import Builder
from asu.worker.outcome_statistics import OutcomeStatistics
from asu.worker.sweeping import Sweep
from tests.documents import write_documents
from tests.redis_server import RedisServer
from tests.twins.memory_container import MemoryEngine
from tests.unit.worlds import REQUEST, metadata
from tests.upstream.serve import UpstreamServer

TEXTS: dict[str, str | bytes] = {
    "text": "junk",
    "nan": "nan",
    "infinite": "inf",
    "negative": "-1",
    "huge": str(2**70),
    "empty": "",
    "no UTF-8": b"\xff\x00\xfe",
    "list of JSON": "[]",
    "object of JSON": "{}",
    "cut JSON": '{"a": ',
    "null": "null",
    "deep JSON": "[" * 3000,
}
Write = Callable[[Redis, str], object]


def _set(text: str | bytes, redis: Redis, key: str) -> object:
    return redis.set(key, text)


JUNK: dict[str, Write] = {
    **{name: partial(_set, text) for name, text in TEXTS.items()},
    "a list": lambda redis, key: redis.rpush(key, "a", "b"),
    "a hash": lambda redis, key: redis.hset(key, mapping={"a": "b"}),
    "a set": lambda redis, key: redis.sadd(key, "a", b"\xff"),
    "a sorted set": lambda redis, key: redis.zadd(key, {b"a": 1, b"\xff": -1}),
    "a stream": lambda redis, key: redis.xadd(key, {"x": "y"}),
}
FIELDS = (
    *("state", "step", "body", "fault", "plan", "queued_body", "started_body", "attempt", "nonce"),
    *("tries", "begun", "tried", "ended", "due", "since", "order", "client", "revivals", "used"),
)
PAGES = (
    *("/readyz", "/readyz?verbose", "/health", "/status", "/status.json", "/stats", "/metrics"),
    *("/api/v1/stats", "/api/v1/stats/summary", "/api/v1/build-errors", "/api/v1/top-packages"),
)


@dataclass
class System:
    """An API, a worker and their Redis."""

    redis: Redis
    settings: Settings
    client: TestClient
    rounds: int = 0

    def __post_init__(self) -> None:
        self.records = WorkerRecords(self.redis)
        self.store, self.engine = LocalStore(self.settings.store_path), MemoryEngine()
        self.store.open()
        statistics = OutcomeStatistics(RedisBuildStatistics(self.redis))
        self.notes = FleetNotes(self.redis, "host")
        self.builder = Builder(
            self.settings,
            records=self.records,
            store=self.store,
            engine=lambda: self.engine,
            statistics=statistics,
        )
        self.sweep = Sweep(
            self.settings,
            records=self.records,
            queue=BuildQueue(self.redis, deadline=100),
            store=self.store,
            engine=lambda: self.engine,
            statistics=statistics,
            live_workers=partial(live_words, self.redis),
            notes=self.notes,
        )

    def ask(self, package: str) -> Any:
        """Ask for a build, which no earlier round has asked for."""
        packages = [f"{package}-{self.rounds}"]
        return self.client.post("/api/v1/build", json={**REQUEST, "packages": packages})

    def begin_anew(self) -> dict[str, str]:
        """Return the keys of a finished, a running and two waiting builds in an empty Redis."""
        self.redis.flushall()
        self.rounds += 1  # The API remembers finished builds for some seconds.
        self.sweep()  # Without a sign of life from a worker, builds are refused after minutes.
        keys = {}
        for name in ("done", "running", "waiting", "last"):
            keys[name] = self.ask(name).json()["request_hash"]
            if name == "done":
                self.builder.run()
            if name == "running":
                self.attempt = self.records.start_next()
        self.sweep()
        return keys

    def answers(self, keys: dict[str, str]) -> Iterator[tuple[str, Any]]:
        """Yield all that can be asked."""
        for name, key in keys.items():
            yield f"poll of {name}", self.client.get(f"/api/v1/build/{key}")
            yield f"page of {name}", self.client.get(f"/build/{key[:12]}")
        for path in PAGES:
            yield path, self.client.get(path)
        for name in ("done", "running", "waiting", "new"):
            yield f"request for {name}", self.ask(name)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Run the parts; each test begins with an empty Redis."""
    directory = tmp_path_factory.mktemp("junk")
    write_documents(directory / "upstream", metadata())
    with (
        RedisServer(_made(directory / "redis")) as server,
        UpstreamServer(directory / "upstream") as upstream,
        Redis.from_url(server.url) as redis,
    ):
        settings = Settings(
            redis_url=server.url,
            upstream_url=upstream.url,
            store_path=directory / "store",
            prepare_service_url=None,
            metadata_ttl=3600,
            disk_reserve_mb=0,
            poll_patience=0,
        )
        with TestClient(create_app(settings), raise_server_exceptions=False) as client:
            yield System(redis, settings, client)


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def _faults(system: System, keys: dict[str, str], label: str) -> list[str]:
    """Return what goes wrong when everything is done with what is in Redis."""
    faults = []
    for name, answer in system.answers(keys):
        is_failed_build = answer.status_code == 500 and '"fault"' in answer.text
        if answer.status_code == 500 and not is_failed_build:
            faults.append(f"{label}: {name}: {answer.text[:200]}")
    for _ in range(2):  # The first may find and remove what is wrong.
        troubles = system.sweep().troubles
    faults += [f"{label}: sweep: {trouble}" for trouble in troubles]
    if system.attempt is not None:
        system.records.renew(system.attempt)
    for _ in range(6):
        system.builder.run()
    if (answer := system.ask("new")).status_code != 200:
        faults.append(f"{label}: the next build is not made: {answer.text[:200]}")
    for path in ("/readyz", "/status.json"):
        if (answer := system.client.get(path)).status_code >= 500:
            faults.append(f"{label}: {path} afterwards: {answer.text[:100]}")
    return faults


WHOLE_KEYS = (WAITING, RUNNING, SYSTEM, PACE, RETRIES, SEQUENCE, ATTEMPTS, NAMES, NOTE, STORE, SEEN)
KEYS = (*WHOLE_KEYS, SCRIPTS, ERASED, TOTALS, FIGURES, HOLDER)


@pytest.mark.parametrize("key", KEYS)
def test_junk_in_a_key(system: System, key: str) -> None:
    """Of any type, in every key that the system has."""
    faults = []
    for name, write in JUNK.items():
        keys = system.begin_anew()
        places = [found.decode() for found in system.redis.scan_iter(f"{key}*")] or [key]
        for place in places:
            system.redis.delete(place)
            write(system.redis, place)
        faults += _faults(system, keys, f"{key} {name}")

    assert faults == []


@pytest.mark.parametrize("kind", [PREFIX, LEASE, LOG])
@pytest.mark.parametrize("name", ["done", "running", "waiting"])
def test_junk_in_place_of_a_record(system: System, kind: str, name: str) -> None:
    """Or of what belongs to it."""
    faults = []
    for junk, write in JUNK.items():
        keys = system.begin_anew()
        system.redis.delete(kind + keys[name])
        write(system.redis, kind + keys[name])
        faults += _faults(system, keys, f"{kind}{name} {junk}")

    assert faults == []


@pytest.mark.parametrize("field", FIELDS)
def test_junk_in_a_field(system: System, field: str) -> None:
    """Of each build, whatever it does; or without the field."""
    faults = []
    for name in ("done", "running", "waiting"):
        for junk in ("text", "nan", "huge", "no UTF-8", "object of JSON", "nothing"):
            text = TEXTS.get(junk)
            keys = system.begin_anew()
            if text is None:
                system.redis.hdel(PREFIX + keys[name], field)
            else:
                system.redis.hset(PREFIX + keys[name], field, text)
            faults += _faults(system, keys, f"{name}.{field} {junk}")

    assert faults == []


def test_the_fields_are_all(system: System) -> None:
    """A record has no field that no test knows."""
    keys = system.begin_anew()
    records: list[Any] = [system.redis.hgetall(PREFIX + key) for key in keys.values()]

    assert {field.decode() for record in records for field in record} <= set(FIELDS)
    assert json.loads(system.ask("done").text)["status"] == 200
