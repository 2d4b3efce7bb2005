"""Notes of workers: which are alive, how they do, and what the store holds, which only workers see.

A note ends by itself a minute after its worker's last one. So the notes are also the register of the
workers that are alive: `workers_alive` counts them, and the health check of a worker's container
looks for its host among them. They are written in a Redis whose memory is full, too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from asu.stores.store import StoreUsage

NOTE_SECONDS = 60  # A worker sweeps, and writes its note, every 5 s, whether it builds or not.
# The store is looked through every minute, a bucket every five; three times the longer.
USAGE_SECONDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNote:
    """What is wrong with a worker's podman ("" if nothing is), and the bytes free on its disk, if known."""

    trouble: str
    disk_free: int | None


def known_free(notes: Iterable[WorkerNote]) -> list[int]:
    """Return the bytes free on the disk of each worker that knows."""
    return [note.disk_free for note in notes if note.disk_free is not None]


class Fleet(Protocol):
    """The API's side. Each method raises QueueUnavailable."""

    async def notes(self) -> list[WorkerNote]:
        """Return the last note of each worker that is alive."""

    async def store_usage(self) -> StoreUsage | None:
        """Return what the store held at a worker's last look; None if that is over 15 minutes ago."""


class FleetNotes(Protocol):
    """The side of one worker. Each method raises QueueUnavailable."""

    def note_worker(self, note: WorkerNote) -> None:
        """Say that this worker is alive, and how it does."""

    def withdraw(self) -> None:
        """Remove this worker's note: it ends."""

    def note_store(self, usage: StoreUsage) -> None:
        """Say what the store holds."""
