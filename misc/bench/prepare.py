"""asu-prepare: its start, its memory, and its speed beside the echo's with the same request.

It knows the metadata of five releases and ten targets, as large as the real one. The request is an
absolute list, so that its defaults are settled and every name is looked up.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from asu_prepare.resolution.apk_index import read_apk_index
from asu_prepare.resolution.opkg_index import read_opkg_index
from asu_prepare.resolution.package_feed import Shared
from asu_prepare.solver.pools import build_pool
from misc.bench import echo, metadata, sample
from misc.bench.report import Row, Section, at_least, at_most
from misc.bench.rounds import CONNECTIONS, Target, alternate, ensure_wrk, noise_notes, speed_rows
from misc.bench.servers import Server, Servers, time_starts, weigh
from misc.native import web
from misc.native.trouble import Trouble
from tests.upstream.adb import adb_bytes
from tests.upstream.serve import UpstreamServer

TITLE = "asu-prepare"
MODULE = ("asu_prepare", "--host", "127.0.0.1", "--port", "{port}")
ECHO_MODULE = ("misc.bench.echo", "{port}")
START_SECONDS, RESIDENT_MIB, P99_MS, PART_OF_ECHO = 1.0, 256, 20, 0.3  # The bars.
SOLVED_P99_MS, SOLVED_PART_OF_ECHO, POOL_SECONDS = 30, 0.15, 1.5
POOL_PACKAGES, POOL_ROUNDS = 12_000, 3
MIN_REQUESTS = 2_000  # Memory is weighed after at least that many.


# For reading two hundred documents of a few hundred KiB; a few seconds are usual.
WARMING_SECONDS = 30.0


def measure() -> Section:
    """Measure asu-prepare alone, as one process."""
    ensure_wrk()
    with Servers() as servers, _downloads(servers) as url:
        environment = {"PREPARE_UPSTREAM_URL": url, "PREPARE_METADATA_BUDGET": str(WARMING_SECONDS)}
        starts = time_starts(servers, "prepare", MODULE, environment)
        body = servers.directory / "request.json"
        body.write_text(json.dumps(sample.REQUEST))
        prepare = servers.start_web("prepare", MODULE, environment)
        fresh = weigh(prepare.pid)
        yardstick = servers.start_web("echo", ECHO_MODULE)
        _warm(prepare)
        seen = alternate(
            [
                Target(
                    name="previews",
                    url=f"{prepare.url}/api/v1/prepare?solve=false",
                    pid=prepare.pid,
                    body=body,
                ),
                Target(
                    name="previews with a forecast",
                    url=f"{prepare.url}/api/v1/prepare",
                    pid=prepare.pid,
                    body=body,
                ),
                Target(
                    name="echo", url=f"{yardstick.url}{echo.PATH}", pid=yardstick.pid, body=body
                ),
            ]
        )
        ours, theirs = seen["previews"], seen["echo"]
        solved = seen["previews with a forecast"]
        memory = weigh(prepare.pid)
    rows = [
        at_most(
            f"start, exec to first 200 (median of {len(starts)})",
            statistics.median(starts),
            START_SECONDS,
            "s",
            digits=2,
        ),
        at_most(
            f"resident memory, all metadata cached, after {ours.requests} requests",
            memory.rss,
            RESIDENT_MIB,
            "MiB",
        ),
        Row(what="  of it proportional (PSS)", value=memory.pss, unit="MiB"),
        *speed_rows("previews", ours, P99_MS),
        at_least("previews, part of echo", ours.ratio_to(theirs), PART_OF_ECHO, "x echo", digits=2),
        *speed_rows("previews with a forecast", solved, SOLVED_P99_MS),
        at_least(
            "previews with a forecast, part of echo",
            solved.ratio_to(theirs),
            SOLVED_PART_OF_ECHO,
            "x echo",
            digits=2,
        ),
        *_pool_rows(),
        *speed_rows("echo", theirs),
    ]
    notes = [
        f"{CONNECTIONS} connections, an absolute list of {len(sample.PACKAGES)} packages to either",
        f"metadata of {len(metadata.RELEASES)} releases and {len(metadata.TARGETS)} targets",
        *noise_notes(seen),
    ]
    if ours.requests < MIN_REQUESTS:
        notes.append(f"only {ours.requests} requests were answered before memory was weighed")
    details = {
        "starts": starts,
        "memory_fresh": asdict(fresh),
        "rounds": {name: [asdict(one) for one in rounds.each] for name, rounds in seen.items()},
    }
    return Section(title=TITLE, rows=rows, notes=notes, details=details)


def _pool_rows() -> Iterator[Row]:
    """Yield how long reading an index and building a pool takes, in a process that is warm."""
    names = [f"package-{number}" for number in range(POOL_PACKAGES)]
    entries = metadata.entries("x86_64", dict.fromkeys(names, "1.0-r1"), names)
    document = {
        "apk": adb_bytes(entries),
        "opkg": "\n".join(map(metadata.stanza, entries)).encode(),
    }
    for manager, reader in (("apk", read_apk_index), ("opkg", read_opkg_index)):
        took = []
        for _ in range(POOL_ROUNDS):
            began = time.perf_counter()
            feed = reader(document[manager], Shared())
            read = time.perf_counter()
            build_pool((feed,), is_apk=manager == "apk")
            took.append((read - began, time.perf_counter() - read))
        what = f"{POOL_PACKAGES} packages of {manager}"
        yield Row(what=f"read {what}", value=min(one[0] for one in took), unit="s", digits=2)
        yield at_most(f"pool of {what}", min(one[1] for one in took), POOL_SECONDS, "s", digits=2)


@contextmanager
def _downloads(servers: Servers) -> Iterator[str]:
    """Serve the metadata during the measurement; the services ask only while they warm up."""
    tree = servers.directory / "downloads"
    metadata.write_tree(tree)
    with UpstreamServer(tree) as server:
        yield server.url


def _warm(server: Server) -> None:
    """Have all metadata read: one request for each target and release, each with `checked`."""
    for release in metadata.RELEASES:
        for target in metadata.TARGETS:
            asked = {
                **sample.REQUEST,
                "version": release,
                "from_version": None,
                "target": target,
                "profile": "bt_homehub-v5a",
            }
            answer = web.ask(f"{server.url}/api/v1/prepare", body=asked, seconds=WARMING_SECONDS)
            if not answer.json()["checked"]:
                raise Trouble(f"{server.name} could not read the metadata of {target} in {release}")
    # The pools of these two releases are in use now; others may have left their memory.
    answer = web.ask(f"{server.url}/api/v1/prepare", body=sample.REQUEST, seconds=WARMING_SECONDS)
    if not answer.json()["solved"]:
        raise Trouble(f"{server.name} could not solve the sample")
