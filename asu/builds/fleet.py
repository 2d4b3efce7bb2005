"""What workers tell of themselves and of the store, which only they see: notes that end by themselves with those who wrote them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from asu.stores.store import StoreUsage

# A worker writes every 15 s, builds or not; whoever is silent for four times as long is not there.
NOTE_SECONDS = 60
# The store is looked through every minute, a bucket every five; three times the longer.
USAGE_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNote:
    """How a worker does: what is wrong with its podman, empty if nothing is, and the bytes free where it gathers images, if it can tell."""

    trouble: str
    disk_free: int | None


def known_free(notes: Iterable[WorkerNote]) -> list[int]:
    """Return the bytes free of all workers that can tell."""
    return [note.disk_free for note in notes if note.disk_free is not None]


class Fleet(Protocol):
    """The API's side; each call raises QueueUnavailable."""

    async def notes(self) -> list[WorkerNote]:
        """Return the last note of each worker that wrote one within a minute."""

    async def store_usage(self) -> StoreUsage | None:
        """Return what the store held when a worker last looked through it; None if none has for a quarter of an hour."""


class FleetNotes(Protocol):
    """The worker's side; each call raises QueueUnavailable."""

    def note_worker(self, name: str, note: WorkerNote) -> None:
        """Tell how the worker of that name does."""

    def note_store(self, usage: StoreUsage) -> None:
        """Tell what the store holds."""


class MemoryFleet:
    """The in-memory twin of both sides; it forgets nothing by itself."""

    def __init__(self) -> None:
        self.workers: dict[str, WorkerNote] = {}
        self.usage: StoreUsage | None = None

    async def notes(self) -> list[WorkerNote]:
        """See Fleet."""
        return list(self.workers.values())

    async def store_usage(self) -> StoreUsage | None:
        """See Fleet."""
        return self.usage

    def note_worker(self, name: str, note: WorkerNote) -> None:
        """See FleetNotes."""
        self.workers[name] = note

    def note_store(self, usage: StoreUsage) -> None:
        """See FleetNotes."""
        self.usage = usage
