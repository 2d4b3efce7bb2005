"""What those who wait may expect: read seldom, never a reason to refuse a poll, and never more than is known."""

from __future__ import annotations

import asyncio
import threading

import pytest

from asu.builds.build_queue import MemoryBuildQueue
from asu.builds.capacity import MIB, Room
from asu.builds.eta import Pace, PaceReader
from asu.builds.fleet import MemoryFleet, WorkerNote
from asu.errors import QueueUnavailable
from asu.records.build_record import Standing
from asu.records.memory_records import MemoryRecords
from asu.settings import Settings

pytestmark = pytest.mark.anyio

ROOMY, FULL = Pace(workers=1), Pace(workers=1, is_full=True)
ROOM = Room(Settings(disk_reserve_mb=0), MemoryFleet(), MemoryRecords())


class CountedQueue(MemoryBuildQueue):
    """A queue that counts how often its workers are counted, lets that wait for `gate`, and is away for the first `failures` of them."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.counts, self.failures, self.gate = 0, failures, threading.Event()
        self.gate.set()

    def live_workers(self) -> int:
        """See BuildQueue."""
        self.counts += 1
        self.gate.wait(10)
        if self.counts <= self.failures:
            raise QueueUnavailable
        return super().live_workers()


async def test_everybody_waits_for_the_first_reading() -> None:
    """One serves all, however many poll."""
    queue = CountedQueue()
    reader = PaceReader(MemoryRecords(), queue, ROOM)

    assert await asyncio.gather(*(reader.get() for _ in range(20))) == [Pace(workers=1)] * 20
    assert queue.counts == 1


async def test_within_a_second_it_is_read_once() -> None:
    """What is told changes slowly, and Redis has other things to do."""
    queue = CountedQueue()
    reader = PaceReader(MemoryRecords(), queue, ROOM)
    await reader.get()
    queue.workers = 7

    assert (await reader.get(), queue.counts) == (Pace(workers=1), 1)


async def test_whoever_hangs_up_does_not_end_the_reading() -> None:
    """The first client goes away while all others wait for the reading that it began."""
    queue = CountedQueue()
    queue.gate.clear()
    reader = PaceReader(MemoryRecords(), queue, ROOM)
    first, second = asyncio.create_task(reader.get()), asyncio.create_task(reader.get())
    await asyncio.sleep(0)
    first.cancel()
    queue.gate.set()

    assert await second == Pace(workers=1)


async def test_without_redis_nothing_is_known() -> None:
    """A poll that found its record in time is answered all the same."""
    assert await PaceReader(MemoryRecords(), CountedQueue(failures=1), ROOM).get() == Pace()


@pytest.mark.parametrize(
    ("pace", "standing", "seconds"),
    [
        (Pace(workers=1, seconds=30), Standing(), 60),
        (Pace(workers=1, seconds=30), Standing(position=3), 150),
        (Pace(workers=3, seconds=30), Standing(position=5), 90),
        (Pace(workers=1, seconds=30), Standing(seconds=4.5), 65),
        (Pace(workers=0, seconds=30), Standing(), None),
        (Pace(workers=2), Standing(), None),
        (Pace(seconds=30), Standing(), None),
        (Pace(workers=1, seconds=30, is_full=True), Standing(), None),
    ],
)
def test_a_waiting_build_ends_after_those_before_it(
    pace: Pace, standing: Standing, seconds: int | None
) -> None:
    """They are shared by the workers; one that comes back later is that much later; without workers or room, nobody knows."""
    assert pace.until_finished(standing, is_running=False) == seconds


@pytest.mark.parametrize(("ran", "seconds"), [(0, 30), (29.5, 1), (30, None), (300, None)])
def test_a_running_build_ends_when_others_did(ran: float, seconds: int | None) -> None:
    """Of one that takes longer than most, nobody knows when it ends."""
    assert (
        Pace(workers=1, seconds=30).until_finished(Standing(seconds=ran), is_running=True)
        == seconds
    )
    assert (
        Pace(workers=1, seconds=30, is_full=True).until_finished(
            Standing(seconds=ran), is_running=True
        )
        == seconds
    )


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        ([], ROOMY),
        ([99], FULL),
        ([99, 98], FULL),
        ([99, 100], ROOMY),
        ([99, None], ROOMY),
        ([None], ROOMY),
    ],
)
async def test_builds_wait_for_room_where_no_worker_has_any(
    free: list[int | None], expected: Pace
) -> None:
    """One that has room, or cannot tell, begins them."""
    fleet = MemoryFleet()
    for number, mib in enumerate(free):
        fleet.note_worker(
            str(number), WorkerNote(trouble="", disk_free=None if mib is None else mib * MIB)
        )
    reader = PaceReader(
        MemoryRecords(),
        MemoryBuildQueue(),
        Room(Settings(disk_reserve_mb=100), fleet, MemoryRecords()),
    )

    assert await reader.get() == expected
