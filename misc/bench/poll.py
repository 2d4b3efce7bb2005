"""The asu API: its start, its memory, and how fast it answers those who poll a build.

The three records polled are made by the API's and the worker's own code in a real Redis, among a
hundred other builds that wait.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asu.builds.build_queue import BuildQueue
from asu.builds.build_requests import Builds
from asu.builds.capacity import Capacity
from asu.builds.fleet import Fleet
from asu.catalogue.resolver import ResolvedRequest
from asu.records.api_records import Records
from asu.records.redis_connections import async_redis, sync_redis
from asu.records.worker_records import WorkerRecords
from asu.resolution import normalised_request, request_hash
from asu.settings import Settings
from asu.stores.local import LocalStore
from asu.worker.progress import Progress
from misc.bench import echo, metadata, sample
from misc.bench.prepare import ECHO_MODULE
from misc.bench.report import Row, Section, at_least, at_most
from misc.bench.rounds import Target, alternate, ensure_wrk, noise_notes, speed_rows
from misc.bench.servers import Servers, time_starts, weigh
from misc.native import web
from tests.upstream.serve import UpstreamServer

TITLE = "asu API, polling GET /api/v1/build/{hash}"
MODULE = ("asu", "api", "--host", "127.0.0.1", "--port", "{port}")
WAITING = 100  # Half of what a server of default settings lets wait.
LIFETIME = 3600  # Seconds that the finished record is kept; longer than any measurement.
P99_MS, RESIDENT_MIB = 50, 120  # The bars, and those as parts of the echo.
RUNNING, FINISHED, QUEUED, POSTED = "running", "finished", "queued", "posted again"
PARTS_OF_ECHO = {QUEUED: 0.4, RUNNING: 0.4, FINISHED: 1.5, POSTED: 0.8}
WARMING_SECONDS = 30.0  # For the metadata of one target in each release; a few are usual.


def measure() -> Section:
    """Measure one API process against a Redis of its own."""
    ensure_wrk()
    with Servers() as servers:
        tree = servers.directory / "downloads"
        metadata.write_tree(tree)
        with UpstreamServer(tree) as upstream:
            return _measure(servers, upstream.url)


def _measure(servers: Servers, upstream_url: str) -> Section:
    redis = servers.start_redis()
    redis_url = f"redis://127.0.0.1:{redis.port}/0"
    store = servers.directory / "store"
    environment = {
        "REDIS_URL": redis_url,
        "UPSTREAM_URL": upstream_url,
        "STORE_PATH": str(store),
        "DISK_RESERVE_MB": "0",
        "ASU_CONFIG": str(servers.directory / "none.toml"),
    }
    starts = time_starts(servers, "asu", MODULE, environment)
    api = servers.start_web("asu", MODULE, environment)
    fresh = weigh(api.pid)
    asked = web.ask(f"{api.url}/api/v1/build", body=sample.REQUEST, seconds=WARMING_SECONDS)
    keys = asyncio.run(_make_records(redis_url, store, asked.json()["request_hash"]))
    yardstick = servers.start_web("echo", ECHO_MODULE)
    body = servers.directory / "request.json"
    body.write_text(json.dumps(sample.REQUEST))
    targets = [
        Target(name=state, url=f"{api.url}/api/v1/build/{key}", pid=api.pid)
        for state, key in keys.items()
    ]
    seen = alternate(
        [
            *targets,
            Target(name=POSTED, url=f"{api.url}/api/v1/build", pid=api.pid, body=body),
            Target(name="echo", url=f"{yardstick.url}{echo.PATH}", pid=yardstick.pid, body=body),
        ]
    )
    memory = weigh(api.pid)
    theirs = seen["echo"]
    requests = sum(seen[state].requests for state in PARTS_OF_ECHO)
    rows = [
        Row(
            what=f"start, exec to first 200 (median of {len(starts)})",
            value=statistics.median(starts),
            unit="s",
            digits=2,
        ),
        at_most(
            f"resident memory after {requests} requests",
            memory.rss,
            RESIDENT_MIB,
            "MiB",
        ),
        Row(what="  of it proportional (PSS)", value=memory.pss, unit="MiB"),
        *speed_rows("echo", theirs),
    ]
    for state, part in PARTS_OF_ECHO.items():
        name = "a request posted again" if state == POSTED else f"polls of a {state} build"
        rows += speed_rows(name, seen[state], P99_MS)
        rows.append(
            at_least(
                f"{name}, part of echo",
                seen[state].ratio_to(theirs),
                part,
                "x echo",
                digits=2,
            )
        )
    details = {
        "starts": starts,
        "memory_fresh": asdict(fresh),
        "rounds": {name: [asdict(one) for one in rounds.each] for name, rounds in seen.items()},
    }
    return Section(title=TITLE, rows=rows, notes=noise_notes(seen), details=details)


async def _make_records(redis_url: str, store_path: Path, first: str) -> dict[str, str]:
    """Put builds in line behind the first and bring three further; return state -> key."""
    redis, blocking = async_redis(redis_url), sync_redis(redis_url)
    store = LocalStore(store_path)
    store.open()
    try:
        records = Records(redis)
        capacity = Capacity(Settings(disk_reserve_mb=0), Fleet(redis), records)
        builds = Builds(
            records=records,
            queue=BuildQueue(blocking, deadline=1),
            store=store,
            capacity=capacity,
            limit=WAITING + 3,
        )
        keys = [await put_in_line(builds, number) for number in range(WAITING + 2)]
        worker = WorkerRecords(blocking)
        _finish(worker, store, first)
        _begin(worker)
        _finish(worker, store, keys[1])
    finally:
        await redis.aclose()
        blocking.close()
    return {QUEUED: keys[-1], RUNNING: keys[0], FINISHED: keys[1]}


async def put_in_line(builds: Builds, number: int) -> str:
    """Ask for a build that nobody has asked for; return its key."""
    plain: dict[str, Any] = {
        "distro": "openwrt",
        "defaults": None,
        "packages_versions": {},
        "repositories": {},
        "repository_keys": [],
        "ignored_changes": [],
    }
    fields = normalised_request(
        {**plain, **sample.REQUEST, "repositories_mode": "replace", "rootfs_size_mb": 100 + number}
    )
    resolved = ResolvedRequest(fields, request_hash(fields))
    await builds.request(resolved, "bench")
    return resolved.key


def _begin(worker: WorkerRecords) -> None:
    """Bring a build to the step that takes longest."""
    attempt = worker.start_next()
    assert attempt is not None  # noqa: S101 - It was queued a moment ago, and nobody else takes it.
    progress = Progress(attempt.plan, gathered={"manifest": sample.manifest()})
    worker.progress(attempt, "building_image", progress.begun("building_image"))


def _finish(worker: WorkerRecords, store: LocalStore, key: str) -> None:
    """Bring a build to its end, with an answer of the usual size and images in the store."""
    attempt = worker.start_next()
    assert attempt is not None  # noqa: S101 - As above.
    place = store.workplace(key)
    for image in _facts(key)["images"]:
        (place / image["name"]).write_bytes(b"image")
    store.publish(key, place, LIFETIME)
    output = sample.builder_output()
    progress = Progress(attempt.plan, gathered=_facts(key), stdout=output)
    worker.finish(attempt, progress.done(), LIFETIME)


def _facts(key: str) -> dict[str, Any]:
    """Return what profiles.json and the build itself add to an answer."""
    prefix = "openwrt-25.12.1-0123456789ab-lantiq-xrx200-bt_homehub-v5a"
    kinds = (
        ("kernel.bin", "kernel"),
        ("rootfs.bin", "rootfs"),
        ("squashfs-sysupgrade.bin", "sysupgrade"),
    )
    return {
        "manifest": sample.manifest(),
        "bin_dir": key,
        "version_number": "25.12.1",
        "version_code": "r32768-b21cfa8f8c",
        "titles": [{"vendor": "BT", "model": "Home Hub 5", "variant": "Type A"}],
        "images": [
            {"filesystem": "squashfs", "name": f"{prefix}-{name}", "type": kind, "sha256": "0" * 64}
            for name, kind in kinds
        ],
        "build_cmd": ["make", "image", f"PACKAGES={' '.join(sample.PACKAGES)}"],
    }
