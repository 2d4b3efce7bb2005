"""The documents that clients read first, compared with a bare FastAPI route of as many bytes.

One API process knows the metadata of five releases and ten targets. Its speed is compared on an
otherwise idle machine; how long the slowest answers take is measured while a neighbour uses a
processor as a build does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from misc.bench import echo, metadata
from misc.bench.prepare import ECHO_MODULE
from misc.bench.report import Row, Section, at_least, at_most
from misc.bench.rounds import CONNECTIONS, Target, alternate, ensure_wrk, noise_notes, speed_rows
from misc.bench.servers import Servers
from misc.native import web
from tests.upstream.serve import UpstreamServer

TITLE = "asu API, the metadata documents"
MODULE = ("asu", "api", "--host", "127.0.0.1", "--port", "{port}")
PART_OF_BARE, P99_MS = 0.8, 30  # The bars.
BARRED = {"latest": "/json/v1/latest.json", "overview": "/json/v1/overview.json"}
DEVICE = "/json/v1/releases/25.12.1/targets/lantiq/xrx200"
OTHERS = {"profile": f"{DEVICE}/bt_homehub-v5a.json", "index of a target": f"{DEVICE}/index.json"}
COMPRESS = "import lzma, os\nwhile True: lzma.compress(os.urandom(1 << 20))"
# Seconds for reading fifty documents of a few hundred KiB at the first request; a few are usual.
PATIENCE = 30.0


def measure() -> Section:
    """Measure one API process."""
    ensure_wrk()
    with Servers() as servers:
        tree = servers.directory / "downloads"
        metadata.write_tree(tree)
        with UpstreamServer(tree) as upstream:
            redis = servers.start_redis()
            environment = {
                "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
                "UPSTREAM_URL": upstream.url,
                "STORE_PATH": str(servers.directory / "store"),
                "ASU_CONFIG": str(servers.directory / "none.toml"),
            }
            api = servers.start_web("asu", MODULE, environment)
            sizes = {
                name: len(web.ask(api.url + path, seconds=PATIENCE).body)
                for name, path in (BARRED | OTHERS).items()
            }
            bare = servers.start_web(
                "bare", (*ECHO_MODULE, *(str(size) for size in set(sizes.values())))
            )
            targets = [
                Target(name=name, url=api.url + path, pid=api.pid)
                for name, path in (BARRED | OTHERS).items()
            ]
            targets += [
                Target(name=f"bare {name}", url=bare.url + echo.bytes_path(size), pid=bare.pid)
                for name, size in sizes.items()
            ]
            quiet = alternate(targets)
            with _busy_neighbour(servers):
                busy = alternate([target for target in targets if target.name in BARRED])
    rows: list[Row] = []
    for name, size in sizes.items():
        ratio, what = (
            quiet[name].ratio_to(quiet[f"bare {name}"]),
            f"{name}, part of a bare route of {size} bytes",
        )
        rows += speed_rows(name, quiet[name])
        rows.append(
            at_least(what, ratio, PART_OF_BARE, "x bare", digits=2)
            if name in BARRED
            else Row(what=what, value=ratio, unit="x bare", digits=2)
        )
    rows += [
        at_most(
            f"{name} while a neighbour compresses as a build does, p99",
            busy[name].p99_ms,
            P99_MS,
            "ms",
        )
        for name in BARRED
    ]
    return Section(
        title=TITLE,
        rows=rows,
        notes=[f"{CONNECTIONS} connections", *noise_notes(quiet), *noise_notes(busy)],
    )


@contextmanager
def _busy_neighbour(servers: Servers) -> Iterator[None]:
    """Use a processor as an ImageBuilder does: compressing takes most of a build's time."""
    with subprocess.Popen([sys.executable, "-c", COMPRESS], cwd=servers.directory) as neighbour:
        try:
            yield
        finally:
            neighbour.kill()
