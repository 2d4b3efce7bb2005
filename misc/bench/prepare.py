"""asu-prepare: its start, its memory, and its speed beside the echo's with the same request."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict

from misc.bench import echo, sample
from misc.bench.report import Row, Section, at_most
from misc.bench.rounds import CONNECTIONS, Target, alternate, ensure_wrk, noise_notes, speed_rows
from misc.bench.servers import Servers, time_starts, weigh

TITLE = "asu-prepare"
MODULE = ("asu_prepare", "--host", "127.0.0.1", "--port", "{port}")
ECHO_MODULE = ("misc.bench.echo", "{port}")
START_SECONDS, RESIDENT_MIB, P99_MS = 1.0, 64, 20  # The bars.
MIN_REQUESTS = 2_000  # Memory is weighed after at least that many.


def measure() -> Section:
    """Measure asu-prepare alone, as one process."""
    ensure_wrk()
    with Servers() as servers:
        starts = time_starts(servers, "prepare", MODULE)
        body = servers.directory / "request.json"
        body.write_text(json.dumps(sample.REQUEST))
        prepare = servers.start_web("prepare", MODULE)
        fresh = weigh(prepare.pid)
        yardstick = servers.start_web("echo", ECHO_MODULE)
        prepare_target = Target(name="asu-prepare", url=f"{prepare.url}/api/v1/prepare", pid=prepare.pid, body=body)
        seen = alternate([prepare_target, Target(name="echo", url=f"{yardstick.url}{echo.PATH}", pid=yardstick.pid, body=body)])
        ours, theirs = seen["asu-prepare"], seen["echo"]
        memory = weigh(prepare.pid)
    rows = [
        at_most(f"start, exec to first 200 (median of {len(starts)})", statistics.median(starts), START_SECONDS, "s", digits=2),
        at_most(f"resident memory after {ours.requests} requests", memory.rss, RESIDENT_MIB, "MiB"),
        Row(what="  of it proportional (PSS)", value=memory.pss, unit="MiB"),
        *speed_rows("previews", ours, P99_MS),
        Row(what="previews, p50", value=ours.p50_ms, unit="ms"),
        *speed_rows("echo", theirs),
        Row(what="previews, part of echo", value=ours.ratio_to(theirs), unit="x echo", digits=2),
    ]
    notes = [f"{CONNECTIONS} connections, a request of {len(sample.PACKAGES)} packages to either", *noise_notes(seen)]
    if ours.requests < MIN_REQUESTS:
        notes.append(f"only {ours.requests} requests were answered before memory was weighed")
    details = {
        "starts": starts,
        "memory_fresh": asdict(fresh),
        "rounds": {name: [asdict(one) for one in rounds.each] for name, rounds in seen.items()},
    }
    return Section(title=TITLE, rows=rows, notes=notes, details=details)
