"""What `/readyz?verbose` says of each part, through the whole application."""

from pathlib import Path

import pytest

from asu.builds.fleet import WorkerNote
from asu.disk_space import MIB
from asu.errors import StoreFailed
from asu.records.redis_memory import MemoryUse
from tests.twins.memory_store import MemoryStore
from tests.unit.test_api_operations import AbsentRecords, absent_fleet
from tests.unit.worlds import World, opened

PLENTY = 1024**5  # Bytes; more than any reserve.


class AbsentStore(MemoryStore):
    """A store whose disk was taken away."""

    def reach(self) -> None:
        """See Store."""
        raise StoreFailed(reason="its disk is not there")


def checks(world: World) -> dict[str, str]:
    """Return what is said of each part."""
    found: dict[str, str] = world.client.get("/readyz?verbose").json()["checks"]
    return found


def test_all_is_well(tmp_path: Path) -> None:
    """Each part says so in a word or two."""
    with opened(store_path=tmp_path, disk_reserve_mb=0) as world:
        world.fleet.workers["0"] = WorkerNote(trouble="", disk_free=PLENTY)
        found = checks(world)

    assert {name: found[name] for name in ("redis", "workers", "store", "podman")} == {
        "redis": "ok",
        "workers": "1 alive",
        "store": "ok",
        "podman": "ok",
    }
    assert "MiB free" in found["disk"]
    assert "only" not in found["disk"]


@pytest.mark.parametrize(
    ("workers", "notice"),
    [(1, None), (0, "no worker is alive: accepted builds wait until one starts")],
)
def test_that_nobody_works_is_said_without_being_asked(workers: int, notice: str | None) -> None:
    """With 200: taken out of a load balancer, no API would answer polls and downloads any more,
    which need no worker.
    """
    with opened() as world:
        world.fleet.workers = dict(list(world.fleet.workers.items())[:workers])
        answers = [world.client.get(path) for path in ("/readyz", "/readyz?verbose", "/health")]

    assert [
        (answer.status_code, answer.json()["status"], answer.json().get("notice"))
        for answer in answers
    ] == [(200, "ok", notice)] * 3


def test_a_podman_that_is_away_is_told() -> None:
    """With how many workers it is, why, and what to do."""
    with opened() as world:
        world.fleet.workers["0"] = WorkerNote(trouble="podman does not answer.", disk_free=PLENTY)
        world.fleet.workers["b"] = WorkerNote(trouble="", disk_free=PLENTY)
        found = checks(world)["podman"]

    assert found.startswith("not on 1 of 2 workers: podman does not answer.")
    assert "CONTAINER_SOCKET_PATH" in found


def test_a_store_that_is_away_is_told_and_decides_nothing() -> None:
    """Polls and requests are answered without it."""
    with opened(store=AbsentStore()) as world:
        assert "its disk is not there" in checks(world)["store"]
        assert world.client.get("/readyz?verbose").status_code == 200


def test_a_disk_below_its_reserve_is_told(tmp_path: Path) -> None:
    """The API's own, and that of the worker which has least."""
    with opened(store_path=tmp_path, disk_reserve_mb=2**30) as world:
        world.fleet.workers["0"] = WorkerNote(trouble="", disk_free=5 * 1024 * 1024)
        found = checks(world)["disk"]

    assert found.startswith("only ")
    assert "the fullest worker: only 5 MiB free" in found
    assert "DISK_RESERVE_MB" in found


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (MemoryUse(used=7 * MIB, limit=0), "7 MiB are used; `maxmemory` sets no limit"),
        (MemoryUse(used=7 * MIB, limit=100 * MIB), "7 MiB are used of 100 MiB"),
        (
            MemoryUse(used=95 * MIB, limit=100 * MIB),
            "95 MiB are used of 100 MiB: new builds are refused",
        ),
        (None, "Redis does not say"),
    ],
)
def test_the_memory_of_redis_is_told(use: MemoryUse | None, said: str) -> None:
    """And what it means when there is too little; requests for what is known are served all the
    same.
    """
    with opened() as world:
        world.records.memory_use = use

        assert checks(world)["memory"].startswith(said)
        assert world.client.get("/readyz").status_code == 200


def test_without_redis_the_rest_is_told(tmp_path: Path) -> None:
    """What does not depend on it."""
    with opened(
        records=AbsentRecords(), fleet=absent_fleet(), store_path=tmp_path, disk_reserve_mb=0
    ) as world:
        found = checks(world)

    assert "does not answer" in found["redis"]
    assert found["store"] == "ok"
    assert "MiB free" in found["disk"]
