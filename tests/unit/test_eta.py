"""What those who wait may expect: read seldom, never a reason to refuse a poll, and never more than
is known.
"""

from __future__ import annotations

import asyncio

import pytest
from typing_extensions import override

from asu.builds.capacity import Capacity
from asu.builds.eta import EtaEstimate, EtaReader
from asu.builds.fleet import WorkerNote
from asu.disk_space import MIB
from asu.records.build_record import LiveFacts
from asu.settings import Settings
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.memory_fleet import MemoryFleet

pytestmark = pytest.mark.anyio


class CountedFleet(MemoryFleet):
    """One worker's note; counts how often it is read, and lets that wait for `gate`."""

    def __init__(self) -> None:
        super().__init__(workers=1)
        self.counts, self.gate = 0, asyncio.Event()
        self.gate.set()

    @override
    async def notes(self) -> list[WorkerNote]:
        self.counts += 1
        await self.gate.wait()
        return await super().notes()


def reader_of(fleet: MemoryFleet, reserve_mb: int = 0) -> EtaReader:
    """Return what reads the pace of a fleet."""
    records = ImitatedRecords()
    return EtaReader(records, Capacity(Settings(disk_reserve_mb=reserve_mb), fleet, records))


async def test_everybody_waits_for_the_first_reading() -> None:
    """One serves all, however many poll."""
    fleet = CountedFleet()
    reader = reader_of(fleet)

    assert await asyncio.gather(*(reader.get() for _ in range(20))) == [EtaEstimate(workers=1)] * 20
    assert fleet.counts == 1


async def test_within_a_second_it_is_read_once() -> None:
    """What is told changes slowly, and Redis has other things to do."""
    fleet = CountedFleet()
    reader = reader_of(fleet)
    await reader.get()
    fleet.workers.clear()

    assert (await reader.get(), fleet.counts) == (EtaEstimate(workers=1), 1)


async def test_whoever_hangs_up_does_not_end_the_reading() -> None:
    """The first client goes away while all others wait for the reading that it began."""
    fleet = CountedFleet()
    fleet.gate.clear()
    reader = reader_of(fleet)
    first, second = asyncio.create_task(reader.get()), asyncio.create_task(reader.get())
    await asyncio.sleep(0)
    first.cancel()
    fleet.gate.set()

    assert await second == EtaEstimate(workers=1)


async def test_without_redis_nothing_is_known() -> None:
    """A poll that found its record in time is answered all the same."""
    fleet = CountedFleet()
    fleet.away = True

    assert await reader_of(fleet).get() == EtaEstimate()


@pytest.mark.parametrize(
    ("pace", "live", "seconds"),
    [
        (EtaEstimate(workers=1, seconds=30), LiveFacts(), 60),
        (EtaEstimate(workers=1, seconds=30), LiveFacts(position=3), 150),
        (EtaEstimate(workers=3, seconds=30), LiveFacts(position=5), 90),
        (EtaEstimate(workers=1, seconds=30), LiveFacts(seconds=4.5), 65),
        (EtaEstimate(workers=0, seconds=30), LiveFacts(), None),
        (EtaEstimate(workers=2), LiveFacts(), None),
        (EtaEstimate(seconds=30), LiveFacts(), None),
        (EtaEstimate(workers=1, seconds=30, is_full=True), LiveFacts(), None),
    ],
)
def test_a_waiting_build_ends_after_those_before_it(
    pace: EtaEstimate, live: LiveFacts, seconds: int | None
) -> None:
    """They are shared by the workers; one that comes back later is that much later; without workers
    or capacity, nobody knows.
    """
    assert pace.until_finished(live, is_running=False) == seconds


@pytest.mark.parametrize(("ran", "seconds"), [(0, 30), (29.5, 1), (30, None), (300, None)])
def test_a_running_build_ends_when_others_did(ran: float, seconds: int | None) -> None:
    """Of one that takes longer than most, nobody knows when it ends."""
    assert (
        EtaEstimate(workers=1, seconds=30).until_finished(LiveFacts(seconds=ran), is_running=True)
        == seconds
    )
    assert (
        EtaEstimate(workers=1, seconds=30, is_full=True).until_finished(
            LiveFacts(seconds=ran), is_running=True
        )
        == seconds
    )


@pytest.mark.parametrize(
    ("free", "is_full"),
    [
        ([], False),
        ([99], True),
        ([99, 98], True),
        ([99, 100], False),
        ([99, None], False),
        ([None], False),
    ],
)
async def test_builds_wait_for_room_where_no_worker_has_any(
    free: list[int | None],
    is_full: bool,  # noqa: FBT001
) -> None:
    """One that has capacity, or cannot tell, begins them."""
    fleet = MemoryFleet()
    for number, mib in enumerate(free):
        fleet.workers[str(number)] = WorkerNote(
            trouble="", disk_free=None if mib is None else mib * MIB
        )

    assert await reader_of(fleet, reserve_mb=100).get() == EtaEstimate(
        workers=len(free), is_full=is_full
    )
