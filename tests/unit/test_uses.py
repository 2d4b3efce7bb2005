"""When builds were last of use, as the API notes it."""

import pytest

from asu.builds.uses import NOTED_SECONDS, REMEMBERED, Uses
from asu.errors import QueueUnavailable
from asu.records.memory_records import MemoryRecords
from tests.unit.worlds import REQUEST, World, opened


class WatchedRecords(MemoryRecords):
    """Records that remember whose use was noted, and that can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []
        self.away = False

    async def note_use(self, key: str) -> None:
        """See Records."""
        self.noted.append(key)
        if self.away:
            raise QueueUnavailable
        await super().note_use(key)


def finished(world: World) -> str:
    """Return the key of a finished build."""
    key = world.key(REQUEST)
    world.finish(key)
    return key


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/api/v1/build/{key}", "/store/{key}/firmware.bin"])
def test_a_poll_and_a_download_are_uses(method: str, path: str) -> None:
    """Of a finished build; that it was noted stands in its record."""
    records = WatchedRecords()
    with opened(records=records) as world:
        key = world.key(REQUEST)
        world.client.get(f"/api/v1/build/{key}")
        assert records.noted == []
        world.finish(key)
        world.client.request(method, path.format(key=key))

    assert records.idle([key]) == {key: 0}


def test_an_answer_from_the_cache_is_a_use() -> None:
    """The same request of somebody else."""
    records = WatchedRecords()
    with opened(records=records) as world:
        key = finished(world)
        assert world.post(REQUEST).status_code == 200

    assert records.noted == [key]


def test_records_that_are_away_take_no_answer_away() -> None:
    """What is noted is worth less than what was asked for."""
    records = WatchedRecords()
    with opened(records=records) as world:
        key = finished(world)
        records.away = True
        assert world.client.get(f"/store/{key}/firmware.bin").status_code == 200
        assert world.client.get(f"/api/v1/build/{key}").status_code == 200


@pytest.mark.anyio
async def test_a_build_is_noted_once_a_minute() -> None:
    """However many poll; each build for itself."""
    records, now = WatchedRecords(), [0.0]
    uses = Uses(records, lambda: now[0])
    for moment in (0, 1, NOTED_SECONDS - 1, NOTED_SECONDS):
        now[0] = moment
        await uses.note("a")
        await uses.note("b")

    assert records.noted == ["a", "b", "a", "b"]


@pytest.mark.anyio
async def test_what_is_remembered_is_bounded() -> None:
    """The one that was noted longest ago is noted once too often instead."""
    records = WatchedRecords()
    uses = Uses(records, lambda: 0.0)
    for number in range(REMEMBERED + 1):
        await uses.note(str(number))
    records.noted.clear()
    await uses.note("1")
    await uses.note("0")

    assert records.noted == ["0"]
