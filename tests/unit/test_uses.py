"""When builds were last of use, as the API notes it."""

import pytest

from asu.errors import QueueUnavailable
from tests.twins.imitated_records import ImitatedRecords
from tests.unit.worlds import REQUEST, World, opened


class WatchedRecords(ImitatedRecords):
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
        world.finish(key, ttl=10_000)
        records.let_pass(5000)
        world.client.request(method, path.format(key=key))

    assert records.noted == [key]
    assert records.idle([key])[key] < 1000


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


def test_a_build_is_noted_once_a_minute() -> None:
    """However many poll, and each build for itself."""
    records = WatchedRecords()
    with opened(records=records) as world:
        keys = [world.key(REQUEST), world.key({**REQUEST, "packages": ["vim"]})]
        for key in keys:
            world.finish(key)
        for key in keys * 5:
            world.client.get(f"/api/v1/build/{key}")

    assert records.noted == keys
