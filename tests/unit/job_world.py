"""A worker with twins of everything around it, for the tests of one build."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asu.build_request import BuildRequest
from asu.errors import QueueUnavailable
from asu.records.build_record import Attempt, BuildRecord, PendingBodies
from asu.resolution import request_hash
from asu.settings import Settings
from asu.statistics.build_statistics import days_up_to, today
from asu.stores.local import LocalStore
from asu.worker.job import Builder
from asu.worker.outcome_statistics import OutcomeStatistics
from asu.worker.process import chosen_signer
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.imitated_statistics import ImitatedStatistics
from tests.twins.memory_container import MemoryEngine, Script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asu.worker.container import ContainerEngine

REQUEST = {
    "version": "24.10.4",
    "target": "ath79/generic",
    "profile": "tplink_archer-c7-v5",
    "packages": ["vim"],
}
KEY = request_hash(REQUEST)  # Of a build that a test asks nothing else of.
SCRIPT = "uci set wireless.radio0.key='do not tell'"
ENQUEUED = "2026-03-01T12:00:00+00:00"
CONFLICT = """\
Collected errors:
 * check_conflicts_for: The following packages conflict with wpad-openssl:
 * check_conflicts_for: \twpad-basic-mbedtls *\x20
 * opkg_install_cmd: Cannot install package wpad-openssl.
make: *** [Makefile:349: manifest] Error 2
"""


class WatchedRecords(ImitatedRecords):
    """Records that remember each step that was shown, and that can be away for some calls; `deaf`
    to as many replies of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []
        self.bodies: list[bytes] = []
        self.lifetimes: list[int] = []
        self.away: dict[str, int] = {}
        self.deaf: dict[str, int] = {}

    def start_next(self, nonce: str | None = None) -> Attempt | None:
        """See WorkerRecords."""
        self._be_away("start")
        attempt = super().start_next(nonce)
        self._be_deaf("start")
        return attempt

    def renew(self, attempt: Attempt) -> bool:
        """See WorkerRecords."""
        self._be_away("renew")
        return super().renew(attempt)

    def progress(self, attempt: Attempt, step: str, body: bytes) -> bool:
        """See WorkerRecords."""
        self._be_away("progress")
        self.steps.append(step)
        self.bodies.append(body)
        return super().progress(attempt, step, body)

    def retry(self, attempt: Attempt, code: str, seconds: float) -> bool:
        """See WorkerRecords."""
        self._be_away("retry")
        is_current = super().retry(attempt, code, seconds)
        self._be_deaf("retry")
        return is_current

    def finish(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """See WorkerRecords."""
        self._be_away("finish")
        self.lifetimes.append(ttl)
        is_current = super().finish(attempt, record, ttl)
        self._be_deaf("finish")
        return is_current

    def _be_away(self, call: str) -> None:
        if self.away.get(call, 0) > 0:
            self.away[call] -= 1
            raise QueueUnavailable

    def _be_deaf(self, call: str) -> None:
        if self.deaf.get(call, 0) > 0:
            self.deaf[call] -= 1
            raise QueueUnavailable


@dataclass
class World:
    """A worker with twins of everything, and a build that waits for it."""

    settings: Settings
    store: LocalStore
    records: WatchedRecords = field(default_factory=WatchedRecords)
    script: Script = field(default_factory=Script)
    statistics: ImitatedStatistics = field(default_factory=ImitatedStatistics)
    key: str = KEY  # Of the build that was asked for last.

    def __post_init__(self) -> None:
        self.engine = MemoryEngine(self.script)

    def ask(self, **fields: Any) -> None:
        """Put a build in line."""
        self.claim(BuildRequest.model_validate({**REQUEST, **fields}).normalised())

    def claim(self, fields: dict[str, Any], key: str = "") -> None:
        """Put a plan in line as it is, under the key that it leads to or under another one."""
        self.key = key or request_hash(fields)
        plan = {"key": self.key, "request": fields, "enqueued_at": ENQUEUED}
        bodies = PendingBodies(b'{"detail": "queued"}', b'{"detail": "started"}')
        asyncio.run(
            self.records.claim(self.key, plan=json.dumps(plan), bodies=bodies, limit=10, renew=True)
        )

    def build(self, **fields: Any) -> BuildRecord:
        """Ask for a build, run it, and return its record."""
        self.ask(**fields)
        self.run()
        return self.record()

    def run(self) -> None:
        """Let the worker take the job."""
        self.builder().run()

    def builder(self, engine: Callable[[], ContainerEngine] | None = None) -> Builder:
        """Return what runs builds, with this world's engine or another."""
        statistics, signer = OutcomeStatistics(self.statistics), chosen_signer(self.settings)
        return Builder(
            self.settings,
            records=self.records,
            store=self.store,
            engine=engine or (lambda: self.engine),
            statistics=statistics,
            signer=signer,
        )

    def record(self) -> BuildRecord:
        """Return the build's record."""
        record = asyncio.run(self.records.look(self.key))
        assert record is not None
        return record

    def tried(self) -> list[dict[str, Any]]:
        """Return the attempts that have ended."""
        tried: list[dict[str, Any]] = json.loads(self.record().live.tried)
        return tried

    def counted_failures(self) -> int:
        """Return how many failures the statistics know."""
        return sum(
            count for _, count in asyncio.run(self.statistics.failures(days_up_to(today(), 2)))
        )

    def goals(self) -> list[str]:
        """Return the first goal of each make command."""
        return [
            next(word for word in command[1:] if word != "-s")
            for container in self.engine.containers
            for command in container.commands
            if command[0] == "make"
        ]


def new_world(store_path: Path, **settings: Any) -> World:
    """Return a world with an empty store."""
    store = LocalStore(store_path)
    store.open()
    # A failure is the end unless a test is about the attempts after it, and a full disk is no
    # test's business but its own.
    return World(
        Settings(
            **{"store_path": store_path, "retry_delays": (), "disk_reserve_mb": 0, **settings}
        ),
        store,
    )


def body_of(record: BuildRecord) -> dict[str, Any]:
    """Return the answer's body."""
    body: dict[str, Any] = json.loads(record.body)
    return body
