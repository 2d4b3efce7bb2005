"""What callers are told while everything behind both services is broken: that it is, and nothing of
where and how they run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.edge_world import BUILD, IMAGE, ROOT, Door, three_doors
from tests.integration.gateway_world import CAN_RUN
from tests.redis_server import RedisServer
from tests.requirements import free_port
from tests.unit.worlds import REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")

SCRIPT, PASSWORD = SENT = "uci set system.secret", "hunter2"
PATHS = [
    *(
        "/",
        "/stats",
        "/status",
        "/status.json",
        "/readyz",
        "/readyz?verbose",
        "/health",
        "/version",
        "/api/v1/stats",
        "/api/v1/stats/summary",
    ),
    *(
        "/api/v1/build-errors",
        "/api/v1/builds-per-day",
        "/api/v1/top-packages",
        f"/api/v1/build/{BUILD}",
        f"/store/{BUILD}/{IMAGE}",
        "/api/v1/latest",
    ),
    *(
        "/json/v1/overview.json",
        "/json/v1/latest.json",
        "/json/v1/releases/24.10.4/targets/x86/64/index.json",
        "/api/v1/revision/24.10.4/x86/64",
    ),
    *(
        "/api/v1/overview",
        "/metrics",
        "/nothing",
        "/static/nothing",
        "/static/../../settings.py",
        "/docs",
        "/openapi.json",
        "/api/v1/status",
    ),
]
BODIES = [
    REQUEST,
    {**REQUEST, "defaults": SCRIPT},
    {**REQUEST, "defaults": [SCRIPT]},
    {**REQUEST, "repositories": {"a": f"https://user:{PASSWORD}@h/"}},
    [],
    1,
]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Door]]:
    """Run services and gateway, with a downloads server that is away, and take Redis and the store
    from them.
    """
    directory = tmp_path_factory.mktemp("troubled")
    (directory / "redis").mkdir()
    with (
        RedisServer(directory / "redis") as redis,
        three_doors(directory, redis, upstream_url=f"http://127.0.0.1:{free_port()}") as doors,
    ):
        redis.stop()
        shutil.rmtree(directory / "outside")
        (directory / "outside").write_text("no directory")
        yield doors


def answers(door: Door) -> Iterator[tuple[str, int, str]]:
    """Ask for everything; yield what was asked, the status and the whole answer."""
    for path in PATHS:
        status, head, body = door.get(path.encode())
        yield path, status, (head + b"\r\n\r\n" + body).decode(errors="replace")
    for path in ("/api/v1/build", "/api/v1/build/prepare", "/api/v1/prepare"):
        for request in BODIES:
            content = json.dumps(request).encode()
            form = (
                "POST {} HTTP/1.1\r\nHost: asu\r\nConnection: close\r\nContent-Type:"
                " application/json\r\nContent-Length: {}\r\n\r\n"
            )
            answer = door.knock(form.format(path, len(content)).encode() + content).decode(
                errors="replace"
            )
            yield f"{path} {request}", int(answer.split(" ", 2)[1]), answer


@pytest.mark.parametrize("name", ["asu", "prepare", "gateway"])
def test_nothing_is_told_of_where_it_runs(doors: dict[str, Door], name: str) -> None:
    """No traceback, no path of the machine, no address of what lies behind, nothing of the
    environment, no script and no password.
    """
    private = [
        str(ROOT),
        str(doors["asu"].log.parent),
        "site-packages",
        "Traceback",
        'File "',
        "redis://",
        *SENT,
        str(Path.home()) + "/",
    ]
    private += [
        value
        for variable, value in os.environ.items()
        if variable in {"PATH", "PWD", "LOGNAME", "HOSTNAME", "VIRTUAL_ENV"} and len(value) > 5
    ]
    told = list(answers(doors[name]))

    # A preview goes back to its sender with what he sent; nobody else sees it.
    leaks = [
        (what, word)
        for what, _, answer in told
        for word in private
        if word in answer and not (word in SENT and '"prepared"' in answer)
    ]
    assert leaks == []
    assert [
        what
        for what, _, answer in told
        if re.search(r"(0x[0-9a-f]{8}|Error\(|<class|/usr/|/tmp/|/etc/)", answer)
    ] == []
    assert name == "prepare" or 503 in {status for _, status, _ in told}
