"""Queue and fleet in memory, for tests that are not about them."""

from typing_extensions import override

from asu.builds.build_queue import BuildQueue
from asu.builds.fleet import Fleet, FleetNotes, WorkerNote
from asu.errors import QueueUnavailable
from asu.stores.store import StoreUsage

IDLE = WorkerNote(trouble="", disk_free=None)


class MemoryBuildQueue(BuildQueue):
    """Counts its tickets; `away` while Redis does not answer."""

    def __init__(self) -> None:
        self.tickets, self.away = 0, False

    @override
    def put(self) -> None:
        self.top_up(self.tickets + 1)

    @override
    def top_up(self, due: int) -> None:
        if self.away:
            raise QueueUnavailable
        self.tickets = max(self.tickets, due)


class MemoryFleet(Fleet, FleetNotes):
    """The notes of `workers`, one of which may write its own; they never end. `away` as above."""

    def __init__(self, workers: int = 0) -> None:
        self.workers = {str(number): IDLE for number in range(workers)}
        self.usage: StoreUsage | None = None
        self.away = False

    @override
    async def notes(self) -> list[WorkerNote]:
        if self.away:
            raise QueueUnavailable
        return list(self.workers.values())

    @override
    async def is_deserted(self) -> bool:
        if self.away:
            raise QueueUnavailable
        return not self.workers

    @override
    async def store_usage(self) -> StoreUsage | None:
        return self.usage

    @override
    def note_worker(self, note: WorkerNote) -> None:
        self.workers["own"] = note

    @override
    def withdraw(self) -> None:
        del self.workers["own"]

    @override
    def note_store(self, usage: StoreUsage) -> None:
        self.usage = usage
