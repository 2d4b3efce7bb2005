"""Both sides of the build records, as the tests of their contract use them."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.records.api_records import Records
from asu.records.build_record import (
    Attempt,
    BuildRecord,
    Claimed,
    Holder,
    LiveFacts,
    PendingBodies,
    State,
)
from asu.records.worker_records import WorkerRecords
from tests.contract.redis_clock import let_pass

BODIES = PendingBodies(queued=b'{"state": "queued"}', started=b'{"state": "started"}')
DONE = BuildRecord(state=State.DONE, step="done", body=b'{"state": "done"}')
ONE, OTHER = Holder("5.9.0.1", 2), Holder("5.9.0.2", 2)
A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both sides of the same records; `another_api` is a second API process, `let_pass` moves the
    time on by seconds.
    """

    api: Records
    worker: WorkerRecords
    another_api: Callable[[], Records]
    let_pass: Callable[[int], None]

    async def claim(
        self, key: str, *, limit: int = 100, renew: bool = False, holder: Holder | None = None
    ) -> Claimed:
        """Claim a build whose plan is its key."""
        return await self.api.claim(
            key, plan=f'{{"key": "{key}"}}', bodies=BODIES, limit=limit, renew=renew, holder=holder
        )

    async def begin(self, key: str, *, renew: bool = False) -> Attempt:
        """Claim a build and start it."""
        assert await self.claim(key, renew=renew) is Claimed.NEW
        return self.start(key)

    def start(self, key: str) -> Attempt:
        """Start a build, which must be the first that is due."""
        attempt = self.worker.start_next()
        assert attempt is not None
        assert attempt.key == key
        return attempt

    async def live(self, key: str) -> LiveFacts:
        """Return where a known build stands."""
        record = await self.api.look(key)
        assert record is not None
        return record.live

    async def position(self, key: str) -> int:
        """Return the place of a known build."""
        return (await self.live(key)).position

    async def tried(self, key: str) -> list[tuple[int, str, str]]:
        """Return number, outcome and code of each attempt of a known build that has ended."""
        return [
            (one["number"], one["outcome"], one["code"])
            for one in json.loads((await self.live(key)).tried)
        ]

    async def fail(self, key: str, fault: str) -> None:
        """Claim a build and let it fail."""
        assert self.worker.finish(
            await self.begin(key),
            BuildRecord(state=State.FAILED, step="failed", body=b"{}", fault=fault),
            100,
        )


def redis_sides(asynchronous: AsyncRedis, redis: Redis) -> Sides:
    """Return both sides of one server, real or imitated."""
    return Sides(
        api=Records(asynchronous),
        worker=WorkerRecords(redis),
        another_api=lambda: Records(asynchronous),
        let_pass=lambda seconds: let_pass(redis, seconds),
    )
