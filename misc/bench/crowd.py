"""Release day: 3,000 different builds wait, and 1,000 clients poll every two seconds.

One API process and a real Redis. Meanwhile builds begin one after another, so that every place
changes; each client compares its place with the one before. The clients are one
process of their own, since they need a processor themselves.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context

from asu.builds.build_queue import BuildQueue
from asu.builds.build_requests import Builds
from asu.builds.capacity import Capacity
from asu.builds.fleet import Fleet
from asu.records.api_records import Records
from asu.records.redis_connections import async_redis, sync_redis
from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from asu.stores.local import LocalStore
from misc.bench.poll import MODULE, put_in_line
from misc.bench.report import Row, Section, at_least, at_most
from misc.bench.rounds import processor_time
from misc.bench.servers import Servers, weigh

TITLE = "asu API, a crowd: 3 000 builds wait, 1 000 clients poll every 2 s"
WAITING, POLLERS = 3000, 1000
EVERY = 2.0  # Seconds between two polls of one client; owut's.
SECONDS = 20.0
# Seconds; twenty workers of a second each, more than any fleet, so that places change all the time.
BEGIN_EVERY = 0.05
P99_MS = 100  # The bar.
PLACE = re.compile(rb'"queue_position": (\d+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the clients saw: milliseconds of each poll, answers other than 202, places that rose."""

    milliseconds: list[float]
    refused: int
    rose: int


def measure() -> Section:
    """Let the crowd poll, and builds begin meanwhile."""
    with Servers() as servers:
        redis = servers.start_redis()
        redis_url = f"redis://127.0.0.1:{redis.port}/0"
        store = LocalStore(servers.directory / "store")
        store.open()
        environment = {
            "REDIS_URL": redis_url,
            "STORE_PATH": str(servers.directory / "store"),
            "ASU_CONFIG": str(servers.directory / "none.toml"),
        }
        keys = asyncio.run(_fill(redis_url, store))
        api = servers.start_web("asu", MODULE, environment)
        # Those who poll wait at the end of the line, where nothing begins before the end.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            ran, waited = processor_time(api.pid)
            crowd = pool.submit(poll_as_a_crowd, api.port, keys[-POLLERS:])
            begun = _begin_one_after_another(redis_url, crowd.done)
            seen = crowd.result()
            ran, waited = (
                after - before
                for after, before in zip(processor_time(api.pid), (ran, waited), strict=True)
            )
        memory = weigh(api.pid)
    ordered = sorted(seen.milliseconds)
    rows = [
        at_most(f"p99 of {len(ordered)} polls", ordered[int(len(ordered) * 0.99)], P99_MS, "ms"),
        Row(what="  median", value=statistics.median(ordered), unit="ms"),
        Row(what="  the slowest", value=ordered[-1], unit="ms"),
        at_least("polls each second", len(ordered) / SECONDS, 0.9 * POLLERS / EVERY, "/s"),
        at_most("polls that were refused", seen.refused, 0, "", digits=0),
        at_most(f"places that rose while {begun} builds began", seen.rose, 0, "", digits=0),
        Row(
            what="processor time of the API for each",
            value=ran / 1000 / len(ordered),
            unit="us",
            digits=0,
        ),
        Row(what="resident memory of the API afterwards", value=memory.rss, unit="MiB"),
    ]
    notes = [f"for {waited / 1e9:.1f} s of {SECONDS:.0f} s the API waited for a processor"]
    return Section(title=TITLE, rows=rows, notes=notes, details={"memory": asdict(memory)})


async def _fill(redis_url: str, store: LocalStore) -> list[str]:
    """Put all builds in line; return their keys in order."""
    redis, blocking = async_redis(redis_url), sync_redis(redis_url)
    try:
        records = Records(redis)
        capacity = Capacity(Settings(disk_reserve_mb=0), Fleet(redis), records)
        builds = Builds(
            records=records,
            queue=BuildQueue(blocking, deadline=1),
            store=store,
            capacity=capacity,
            limit=WAITING,
        )
        return [await put_in_line(builds, number) for number in range(WAITING)]
    finally:
        await redis.aclose()
        blocking.close()


def _begin_one_after_another(redis_url: str, has_ended: Callable[[], bool]) -> int:
    """Begin builds until the crowd has gone; return how many."""
    begun = 0
    with sync_redis(redis_url) as redis:
        worker = WorkerRecords(redis)
        while not has_ended():
            begun += worker.start_next() is not None
            time.sleep(BEGIN_EVERY)
    return begun


def poll_as_a_crowd(port: int, keys: Sequence[str]) -> Seen:
    """Poll each key every two seconds, over a connection of its own; spread the clients evenly."""

    async def together() -> list[Seen]:
        began = time.monotonic() + 1.0  # Until then all are connected.
        return await asyncio.gather(
            *(
                _poll(port, key, began + EVERY * number / len(keys), began + SECONDS)
                for number, key in enumerate(keys)
            )
        )

    each = asyncio.run(together())
    return Seen(
        milliseconds=[one for seen in each for one in seen.milliseconds],
        refused=sum(seen.refused for seen in each),
        rose=sum(seen.rose for seen in each),
    )


async def _poll(port: int, key: str, begin: float, end: float) -> Seen:
    """Poll as one client; a connection that the server ends would be an error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    question = f"GET /api/v1/build/{key} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    milliseconds: list[float] = []
    refused = rose = 0
    place, due = WAITING, begin
    while due < end:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        asked = time.monotonic()
        writer.write(question)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(
            int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        )
        milliseconds.append((time.monotonic() - asked) * 1000)
        found = PLACE.search(body)
        refused += not head.startswith(b"HTTP/1.1 202")
        rose += found is not None and int(found[1]) > place
        place = int(found[1]) if found else place
        due += EVERY
    writer.close()
    return Seen(milliseconds=milliseconds, refused=refused, rose=rose)
