"""A disk or a Redis that fills up: new builds are refused, everything else goes on."""

from pathlib import Path

import pytest

from asu.builds.fleet import WorkerNote
from asu.disk_space import MIB, expect_disk_space
from asu.errors import DiskFull, QueueUnavailable
from asu.records.redis_memory import MemoryUse
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.memory_fleet import MemoryFleet
from tests.unit.worlds import REQUEST, opened

TOO_MUCH = 1024**3  # MiB; no disk has as much.
OTHER = {**REQUEST, "packages": ["vim"]}


class AbsentFleet(MemoryFleet):
    """Notes that cannot be read."""

    async def notes(self) -> list[WorkerNote]:
        """See Fleet."""
        raise QueueUnavailable


def test_below_the_reserve_a_new_build_is_refused_with_a_reason(tmp_path: Path) -> None:
    """In the way that clients know from a full queue, and nothing is left of it in the line."""
    with opened(store_path=tmp_path, disk_reserve_mb=TOO_MUCH) as world:
        answer = world.post(REQUEST)

        body = answer.json()
        assert (answer.status_code, body["status"], body["title"], body["code"]) == (
            529,
            529,
            "Server overloaded",
            "disk-full",
        )
        assert body["detail"].startswith("server overload, its disk is too full for new builds: ")
        assert int(answer.headers["retry-after"]) == body["retry_after"] > 0
        assert (world.queue.tickets, world.records.due_keys()) == (0, [])


def test_below_the_reserve_everything_else_goes_on(tmp_path: Path) -> None:
    """What is finished is answered, polled and served, and what waits keeps its place."""
    with opened(store_path=tmp_path, disk_reserve_mb=0) as before:
        done, waiting = before.key(REQUEST), before.key(OTHER)
        before.finish(done)
    with opened(
        store_path=tmp_path,
        disk_reserve_mb=TOO_MUCH,
        records=before.records,
        queue=before.queue,
        store=before.store,
    ) as world:
        assert [world.post(request).status_code for request in (REQUEST, OTHER)] == [200, 202]
        assert [
            world.client.get(f"/api/v1/build/{key}").status_code for key in (done, waiting)
        ] == [200, 202]
        assert world.client.get(f"/store/{done}/firmware.bin").content == b"image"
        assert world.client.get("/readyz").status_code == 200


def test_a_poll_of_a_build_whose_files_are_gone_is_not_refused_for_the_disk(tmp_path: Path) -> None:
    """Its client would take that for the end; the worker finds out whether there is room by
    then.
    """
    with opened(store_path=tmp_path, disk_reserve_mb=TOO_MUCH) as world:
        with opened(
            store_path=tmp_path,
            disk_reserve_mb=0,
            records=world.records,
            queue=world.queue,
            store=world.store,
        ) as before:
            key = before.key(REQUEST)
            before.finish(key)
        world.store.published.clear()

        assert world.client.get(f"/api/v1/build/{key}").status_code == 202


@pytest.mark.parametrize(("free", "status"), [([10, 200], 202), ([10, 20], 529), ([], 202)])
def test_with_a_bucket_the_disks_of_the_workers_count(free: list[int], status: int) -> None:
    """While any of them has room a build may find it; workers that have told nothing keep no build
    away.
    """
    with opened(s3_bucket="images", disk_reserve_mb=100) as world:
        for number, mib in enumerate(free):
            # Has not made its directory yet.
            world.fleet.workers["new"] = WorkerNote(trouble="", disk_free=None)
            world.fleet.workers[str(number)] = WorkerNote(trouble="", disk_free=mib * MIB)

        assert world.post(REQUEST).status_code == status


def test_a_disk_that_is_not_there_keeps_no_build_away(tmp_path: Path) -> None:
    """That it is away is told elsewhere, and it is not full."""
    with opened(store_path=tmp_path / "gone", disk_reserve_mb=TOO_MUCH) as world:
        assert world.post(REQUEST).status_code == 202


def test_notes_that_cannot_be_read_keep_no_build_away() -> None:
    """Whether a build is taken is then decided by the records alone."""
    with opened(s3_bucket="images", disk_reserve_mb=TOO_MUCH, fleet=AbsentFleet()) as world:
        assert world.post(REQUEST).status_code == 202


def records_of(use: MemoryUse | None) -> ImitatedRecords:
    """Return records in a Redis that tells this of its memory."""
    records = ImitatedRecords()
    records.memory_use = use
    return records


@pytest.mark.parametrize(
    ("use", "status"),
    [
        (MemoryUse(used=95 * MIB, limit=100 * MIB), 529),
        (MemoryUse(used=105 * MIB, limit=100 * MIB), 529),
        (MemoryUse(used=50 * MIB, limit=100 * MIB), 202),
        (MemoryUse(used=2**40, limit=0), 202),
        (None, 202),
    ],
)
def test_a_redis_that_is_nearly_full_gets_no_new_build(use: MemoryUse | None, status: int) -> None:
    """One without a limit is never full, and one that does not tell keeps no build away."""
    with opened(records=records_of(use), disk_reserve_mb=0) as world:
        assert world.post(REQUEST).status_code == status
        assert len(world.records.due_keys()) == world.queue.tickets == (status == 202)


def test_what_is_told_of_a_redis_that_is_nearly_full() -> None:
    """In the way that clients know from a full queue."""
    with opened(
        records=records_of(MemoryUse(used=95 * MIB, limit=100 * MIB)), disk_reserve_mb=0
    ) as world:
        answer = world.post(REQUEST)

    body = answer.json()
    assert (body["status"], body["title"], body["code"]) == (
        529,
        "Server overloaded",
        "memory-full",
    )
    assert body["detail"].startswith("server overload, the memory of its build queue is too full")
    assert int(answer.headers["retry-after"]) == body["retry_after"] > 0


def test_with_a_redis_that_is_nearly_full_everything_else_goes_on() -> None:
    """What is finished is answered, polled and served, and what waits is built."""
    with opened(disk_reserve_mb=0) as before:
        done, waiting = before.key(REQUEST), before.key(OTHER)
        before.finish(done)
    before.records.memory_use = MemoryUse(used=95 * MIB, limit=100 * MIB)
    with opened(
        disk_reserve_mb=0, records=before.records, queue=before.queue, store=before.store
    ) as world:
        assert [world.post(request).status_code for request in (REQUEST, OTHER)] == [200, 202]
        assert world.client.get(f"/store/{done}/firmware.bin").content == b"image"
        world.finish(waiting)
        assert [
            world.client.get(f"/api/v1/build/{key}").status_code for key in (done, waiting)
        ] == [200, 200]
        assert world.client.get("/readyz").status_code == 200


def test_each_build_that_waits_needs_room_for_its_end() -> None:
    """208 KiB for its answer and for the log that people follow, beside the tenth that stays free
    for all else.
    """
    use = MemoryUse(used=79 * MIB, limit=100 * MIB)

    assert [use.has_room(pending) for pending in (0, 53, 54)] == [True, True, False]


def test_what_is_to_be_written_counts(tmp_path: Path) -> None:
    """A file that would take from the reserve is not begun."""
    expect_disk_space(tmp_path, 0)

    with pytest.raises(DiskFull):
        expect_disk_space(tmp_path, 0, wanted=TOO_MUCH * MIB)
