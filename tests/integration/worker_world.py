"""A worker with everything real around it: podman, Redis, a store on disk; in this process, or in
one of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisAwayError

from asu.build_request import BuildRequest
from asu.builds.build_queue import BuildQueue
from asu.records.api_records import Records
from asu.records.build_record import (
    LEASE,
    PREFIX,
    RUNNING,
    WAITING,
    BuildRecord,
    Claimed,
    PendingBodies,
    State,
)
from asu.records.redis_connections import async_redis, sync_redis
from asu.records.worker_records import WorkerRecords
from asu.resolution import request_hash
from asu.statistics.redis_statistics import PREFIX as STATISTICS
from asu.statistics.redis_statistics import RedisBuildStatistics
from asu.stores.local import LocalStore
from asu.worker.job import Builder
from asu.worker.outcome_statistics import OutcomeStatistics
from asu.worker.podman_engine import PodmanEngine
from asu.worker.process import chosen_signer
from tests.integration.podman_world import ROOT, PodmanWorld

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asu.settings import Settings
    from tests.redis_server import RedisServer

ENQUEUED = "2026-03-01T12:00:00+00:00"


@dataclass
class WorkerWorld:
    """What a worker works with, and how to ask it for a build."""

    podman: PodmanWorld
    redis: RedisServer
    directory: Path
    stack: ExitStack
    settings_values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = {
            "redis_url": self.redis.url,
            "store_path": self.directory / "store",
            **self.settings_values,
        }
        self.settings = self.podman.settings(**values)
        self.store = LocalStore(self.settings.store_path)
        self.store.open()
        self.client = self.stack.enter_context(sync_redis(self.redis.url))
        self.records = WorkerRecords(self.client)
        self.outcome_statistics = OutcomeStatistics(RedisBuildStatistics(self.client))
        self.system = self.records.system()
        self.podman.systems.append(self.system)

    def ask(self, **fields: Any) -> str:
        """Put a build in line and return its key; it is built anew, whatever became of it
        before.
        """
        request = BuildRequest.model_validate(
            {"version": "24.10.4", "target": "x86/64", "profile": "generic", **fields}
        ).normalised()
        return self.claim(request_hash(request), request)

    @staticmethod
    def new_key() -> str:
        """Return a key that no build has."""
        return hashlib.sha256(secrets.token_bytes(16)).hexdigest()

    def claim(self, key: str, request: dict[str, Any]) -> str:
        """Put a plan in line as it is, whatever it holds, and return its key; a worker builds it if
        it leads to that key.
        """
        if not self._forget(key):
            # Another test on the same Redis may ask for the same.
            self.stack.callback(self._forget, key)
        plan = json.dumps({"key": key, "request": request, "enqueued_at": ENQUEUED})
        bodies = PendingBodies(b'{"detail": "queued"}', b'{"detail": "started"}')
        assert (
            self._with_records(
                lambda records: records.claim(key, plan=plan, bodies=bodies, limit=100, renew=False)
            )
            is Claimed.NEW
        )
        return key

    def _forget(self, key: str) -> bool:
        """Drop all that Redis knows of a build; False if it knew nothing, or is not there any
        more.
        """
        with suppress(RedisAwayError):
            self.client.zrem(WAITING, key)
            self.client.srem(RUNNING, key)
            return bool(self.client.delete(PREFIX + key, LEASE + key))
        return False

    def build(self, *, with_settings: Settings | None = None, **fields: Any) -> dict[str, Any]:
        """Ask for a build, run it here, and return the body of its outcome.

        Builds of earlier tests that are due again come first.
        """
        key = self.ask(**fields)
        run_first = self.builder(
            PodmanEngine(with_settings or self.settings, system=self.system), with_settings
        )
        for _ in range(10):
            run_first()
            if "status" in self.body(key):
                break
        return self.body(key)

    def builder(
        self, engine: PodmanEngine, with_settings: Settings | None = None
    ) -> Callable[[], None]:
        """Return what runs the first build in line in this process."""
        settings = with_settings or self.settings
        signer = chosen_signer(settings)
        builder = Builder(
            settings,
            records=self.records,
            store=self.store,
            engine=lambda: engine,
            statistics=self.outcome_statistics,
            signer=signer,
        )
        return builder.run

    def look(self, key: str) -> BuildRecord:
        """Return the record of a build."""
        record: BuildRecord | None = self._with_records(lambda records: records.look(key))
        assert record
        return record

    def attempt(self, key: str) -> int:
        """Return the number of the attempt that builds now."""
        number: Any = self.client.hget(PREFIX + key, "attempt")
        return int(number)

    def tries(self, key: str) -> int:
        """Return how often a build has been begun."""
        number: Any = self.client.hget(PREFIX + key, "tries")
        return int(number)

    def body(self, key: str) -> dict[str, Any]:
        """Return the answer's body of a build."""
        body: dict[str, Any] = json.loads(self.look(key).body)
        return body

    def wake_worker(self) -> None:
        """Add a ticket for the worker processes."""
        with Redis.from_url(self.redis.url) as client:
            BuildQueue(client, deadline=self.settings.build_deadline).put()

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker process as an operator does."""
        environment = {
            **self.podman.environment,
            "REDIS_URL": self.redis.url,
            "STORE_PATH": str(self.settings.store_path),
            "BASE_CONTAINER": self.settings.base_container,
            "CONTAINER_SOCKET_PATH": str(self.settings.container_socket_path),
            "CONTAINER_NETWORK": self.settings.container_network,
            "PULL_POLICY": self.settings.pull_policy,
            "RETRY_DELAYS": json.dumps(self.settings.retry_delays),
            "ASU_CONFIG": os.devnull,
            **{
                name.upper(): str(value)
                for name, value in self.settings_values.items()
                if name != "retry_delays"
            },
        }
        log = self.stack.enter_context(
            (self.directory / f"worker-{secrets.token_hex(4)}.log").open("wb")
        )
        worker = subprocess.Popen(
            [sys.executable, "-m", "asu", "worker"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        self.stack.callback(worker.wait)
        self.stack.callback(worker.kill)
        return worker

    def wait_for(
        self, key: str, wanted: Callable[[BuildRecord], bool], *, seconds: float
    ) -> BuildRecord:
        """Poll a build until it is as wanted."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            record = self.look(key)
            if wanted(record):
                return record
            time.sleep(0.05)
        raise TimeoutError(f"the build is still {self.look(key)}")

    def wait_until_ended(self, key: str, *, seconds: float) -> BuildRecord:
        """Poll a build until it has an outcome."""
        return self.wait_for(
            key, lambda record: record.state in (State.DONE, State.FAILED), seconds=seconds
        )

    def counted_builds(self, *, seconds: float) -> tuple[int, dict[bytes, float]]:
        """Return how many finished builds the statistics know, and their packages; a worker counts
        when a build has its outcome.
        """
        give_up = time.monotonic() + seconds
        while not self.client.keys(f"{STATISTICS}packages:*") and time.monotonic() < give_up:
            time.sleep(0.05)
        days: Any = self.client.keys(f"{STATISTICS}hours:*")
        weeks: Any = self.client.keys(f"{STATISTICS}packages:*")
        hours: Any = [self.client.hgetall(day) for day in days]
        packages: Any = [self.client.zrange(week, 0, -1, withscores=True) for week in weeks]
        builds = sum(
            int(count) for day in hours for name, count in day.items() if name.endswith(b":done")
        )
        return builds, dict(entry for entries in packages for entry in entries)

    def images(self, body: dict[str, Any], kind: str, filesystem: str = "squashfs") -> Path:
        """Return where an image of a finished build lies."""
        [name] = [
            image["name"]
            for image in body["images"]
            if image["type"] == kind and image["filesystem"] == filesystem
        ]
        return self.settings.store_path / str(body["bin_dir"]) / str(name)

    def _with_records(self, ask: Callable[[Records], Any]) -> Any:
        async def session() -> Any:
            async with async_redis(self.redis.url) as redis:
                return await ask(Records(redis))

        return asyncio.run(session())
