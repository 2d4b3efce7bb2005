"""Watching a build: each line once, the end last, and nobody harms the others."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asu.builds.build_events import BEHIND, BuildEvents, Listener, Watch
from asu.builds.build_requests import Builds
from asu.builds.capacity import Capacity
from asu.catalogue.resolver import ResolvedRequest
from asu.errors import BuildFailed, TooManyListeners, UnknownBuild
from asu.records.build_record import Attempt
from asu.settings import Settings
from asu.worker.progress import Progress
from tests.twins.imitated_records import ImitatedRecords
from tests.twins.memory_fleet import MemoryBuildQueue, MemoryFleet
from tests.twins.memory_store import MemoryStore
from tests.unit.worlds import REQUEST, opened

pytestmark = pytest.mark.anyio

KEY = "a" * 64
FIELDS: dict[str, Any] = {"version": "24.10.4", "defaults": None}


class WatchedRecords(ImitatedRecords):
    """Records that count how often the log is read."""

    looks = 0

    async def log_after(self, key: str, entry: str) -> list[tuple[str, str]]:
        """See Records."""
        self.looks += 1
        return await super().log_after(key, entry)


class Scene:
    """A build that runs, and one API process beside it."""

    def __init__(self, most: int = 1000) -> None:
        self.records = WatchedRecords()
        capacity = Capacity(Settings(), MemoryFleet(workers=1), self.records)
        self.builds = Builds(
            records=self.records,
            queue=MemoryBuildQueue(),
            store=MemoryStore(),
            capacity=capacity,
            limit=9,
        )
        self.events = BuildEvents(self.builds, self.records, most)

    async def begin(self) -> Attempt:
        """Ask for the build and start it."""
        await self.builds.request(ResolvedRequest(FIELDS, KEY), "")
        attempt = self.records.start_next()
        assert attempt is not None
        return attempt

    def fail(self, attempt: Attempt) -> None:
        """End the build."""
        failed = Progress(attempt.plan).failed(BuildFailed(reason="it lacks a file"))
        assert self.records.finish(attempt, failed, 100)


def read(events: list[bytes], name: str) -> list[Any]:
    """Return the data of all events of a name."""
    blocks = [event.decode().split("\n") for event in events]
    fields = [dict(line.split(": ", 1) for line in block if ": " in line) for block in blocks]
    return [json.loads(field["data"]) for field in fields if field.get("event") == name]


def lines(events: list[bytes]) -> list[str]:
    """Return all lines of the log."""
    return [line for data in read(events, "log") for line in data["lines"]]


async def gathered(stream: AsyncIterator[bytes], into: list[bytes]) -> None:
    """Read a stream to its end."""
    async for event in stream:
        into.append(event)  # noqa: PERF401  # Others look at the list meanwhile.


async def until_seen(events: list[bytes], line: str) -> None:
    """Wait until a line has come."""
    while line not in lines(events):  # noqa: ASYNC110  # The list is filled by another task.
        await asyncio.sleep(0.01)


async def test_each_line_comes_once_and_before_the_end() -> None:
    """To one who watches from the beginning, to one who comes later, and to one who comes back."""
    scene = Scene()
    attempt = await scene.begin()
    early: list[bytes] = []
    late: list[bytes] = []
    back: list[bytes] = []
    watching = asyncio.create_task(gathered(await scene.events.listen(KEY, "0"), early))
    scene.records.append_log(attempt, "one\ntwo", 9)
    await until_seen(early, "two")
    scene.records.progress(
        attempt, "building_image", Progress(attempt.plan).begun("building_image")
    )
    scene.records.append_log(attempt, "three", 9)
    joining = asyncio.create_task(gathered(await scene.events.listen(KEY, "0"), late))
    await until_seen(late, "three")
    seen = (await scene.records.log_after(KEY, "0"))[0][0]
    returning = asyncio.create_task(gathered(await scene.events.listen(KEY, seen), back))
    scene.records.append_log(attempt, "four", 9)
    scene.fail(attempt)
    await asyncio.wait_for(asyncio.gather(watching, joining, returning), 20)

    assert lines(early) == lines(late) == ["one", "two", "three", "four"]
    assert lines(back) == ["three", "four"]
    for events in (early, late, back):
        assert events[-1].startswith(b"event: end\n")
        assert read(events, "end")[0]["code"] == "build-failed"
    assert read(early, "step")[-1]["imagebuilder_status"] == "building_image"


async def test_one_look_serves_all() -> None:
    """Five hundred who watch cost Redis as much as one, and another process starts where they
    stopped.
    """
    scene = Scene()
    attempt = await scene.begin()
    streams = [await scene.events.listen(KEY, "0") for _ in range(500)]
    events: list[list[bytes]] = [[] for _ in streams]
    tasks = [asyncio.create_task(gathered(*pair)) for pair in zip(streams, events, strict=True)]
    scene.records.append_log(attempt, "a line", 9)
    await until_seen(events[-1], "a line")
    scene.fail(attempt)
    await asyncio.wait_for(asyncio.gather(*tasks), 30)

    assert {tuple(lines(each)) for each in events} == {("a line",)}
    assert scene.records.looks < 100


def test_one_who_does_not_read_is_dropped() -> None:
    """The others get everything; it comes back with `Last-Event-ID`."""
    watch, stalled, reading = Watch(), Listener("0"), Listener("0")
    watch.listeners = {stalled, reading}
    got = []
    for number in range(BEHIND + 5):
        watch.publish(b"%d" % number)
        got.append(reading.events.get_nowait())

    assert got == [b"%d" % number for number in range(BEHIND + 5)]
    assert watch.listeners == {reading}
    left = [stalled.events.get_nowait() for _ in range(BEHIND + 1)]
    assert left == [*(b"%d" % number for number in range(BEHIND)), None]


async def test_what_nobody_knows_cannot_be_watched() -> None:
    """Nor can more than there is room for; both are said before a stream begins."""
    scene = Scene(most=0)
    with pytest.raises(UnknownBuild):
        await scene.events.listen(KEY, "0")
    await scene.begin()
    with pytest.raises(TooManyListeners):
        await scene.events.listen(KEY, "0")


def test_the_routes() -> None:
    """An ended build has its end at once; digits of a key do; two builds can be compared."""
    with opened() as world:
        done, failed = world.key(REQUEST), world.key({**REQUEST, "packages": []})
        world.finish(done)
        world.fail(failed, BuildFailed(reason="it lacks a file"))
        stream = world.client.get(f"/api/v1/build/{done[:12]}/events")
        head = world.client.head(f"/api/v1/build/{done}/events")
        polled = world.client.get(f"/api/v1/build/{done[:12]}").json()
        compared = world.client.get(f"/api/v1/build/{done}/diff/{failed[:16]}").json()
        unknown = [
            world.client.get(f"/api/v1/build/{key}{more}").status_code
            for key in ("0" * 64, "0" * 12, done[:11], "x")
            for more in ("", "/events", f"/diff/{done}")
        ]

    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.headers["x-accel-buffering"] == "no"
    assert read([stream.content], "end")[0]["request_hash"] == done
    assert (head.status_code, head.content) == (200, b"")
    assert polled["request_hash"] == done
    assert compared["packages"] == {"added": {}, "removed": {}, "changed": {}}
    assert compared["request"]["packages"] == {"old": ["luci", "owut"], "new": []}
    assert set(unknown) == {404}
