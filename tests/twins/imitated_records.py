"""The real records, both sides in one, in an imitation of Redis of their own."""

import fakeredis
from typing_extensions import override

from asu.records.api_records import Records
from asu.records.build_record import PREFIX
from asu.records.redis_memory import MemoryUse
from asu.records.worker_records import WorkerRecords
from tests.contract.redis_clock import let_pass


class ImitatedRecords(Records, WorkerRecords):
    """The API's side and the worker's. `memory_use` is what Redis says of its memory."""

    def __init__(self) -> None:
        self.server = fakeredis.FakeServer()
        self.redis = fakeredis.FakeRedis(server=self.server)
        Records.__init__(self, fakeredis.FakeAsyncRedis(server=self.server))
        WorkerRecords.__init__(self, self.redis)
        self.memory_use: MemoryUse | None = MemoryUse(used=0, limit=0)

    @override
    async def memory(self) -> MemoryUse | None:
        return self.memory_use

    def let_pass(self, seconds: float) -> None:
        """Let as many seconds pass."""
        let_pass(self.redis, seconds)

    def lose(self, key: str) -> None:
        """Let the lease of a running build end, and put the build back in line, as a sweep does."""
        self.let_pass(1000)
        [attempt] = [attempt for attempt in self.abandoned() if attempt.key == key]
        assert self.requeue(key, attempt.number)

    def last_number(self, key: str) -> int:
        """Return the number of a build's last attempt."""
        return int(self.redis.hget(PREFIX + key, "attempt") or 0)
