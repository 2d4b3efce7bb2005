"""What callers send into the logs of running services: it never becomes a line, a field or a colour
of its own, and a script is never there.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.integration.edge_world import Door, three_doors
from tests.integration.gateway_world import CAN_RUN
from tests.unit.worlds import REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisServer

pytestmark = pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")

FORGED = "2026-01-01 00:00:00,000 ERROR asu.edge: forged"
SCRIPT = "uci set system.secret"  # Part of a first-boot script.
ENDS = [
    "\n",
    "\r",
    "\r\n",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
    "\0",
    "\x1b[2K\x1b[1A",
    "\x7f",
    "\u202e",
    '", "level": "forged", "x": "',
    "%0a",
    "\\n",
]
FIELDS = [
    "version",
    "target",
    "profile",
    "client",
    "packages",
    "repositories",
    "defaults",
    "filesystem",
    "version_code",
    "unheard-of",
]
TEXT_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ +[\w.]+: |  \| )")


@pytest.fixture(scope="module", params=["text", "json"])
def doors(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    shared_redis: RedisServer,
) -> Iterator[dict[str, Door]]:
    """Run services and gateway, logging all there is in either format."""
    with three_doors(
        tmp_path_factory.mktemp("doors"), shared_redis, log_format=request.param
    ) as doors:
        for door in doors.values():
            for payload in (f"x{end}{FORGED}" for end in ENDS):
                send_everywhere(door, payload)
        yield doors


def send_everywhere(door: Door, payload: str) -> None:
    """Put a payload into everything that a log may tell of a request."""
    escaped = quote(payload, safe="").encode()
    for target in (
        b"/" + escaped,
        b"/api/v1/build/" + escaped,
        b"/api/v1/revision/" + escaped + b"/x/y",
        b"/livez?x=" + escaped,
    ):
        door.get(target)
    raw = payload.encode().replace(b"\r\n", b"\n").replace(b"\n", b"\t")
    for header in (
        b"X-Request-ID",
        b"User-Agent",
        b"Host",
        b"X-Forwarded-For",
        b"Referer",
        b"Origin",
    ):
        door.knock(b"GET /nothing HTTP/1.1\r\nConnection: close\r\n%s: %s\r\n\r\n" % (header, raw))
    bodies: list[object] = [
        {**REQUEST, field: [payload] if field in {"packages", "repositories"} else payload}
        for field in FIELDS
    ]
    bodies += [
        {**REQUEST, "packages_versions": {payload: payload}},
        {**REQUEST, payload: 1},
        {**REQUEST, "defaults": f"#!/bin/sh\n{SCRIPT}={payload}"},
    ]
    for body in bodies:
        content = json.dumps(body).encode()
        for path in (b"/api/v1/build", b"/api/v1/prepare"):
            head = (
                b"POST %s HTTP/1.1\r\nHost: asu\r\nConnection: close\r\nContent-Type:"
                b" application/json\r\nContent-Length: %d\r\n\r\n"
            )
            door.knock(head % (path, len(content)) + content)


@pytest.mark.parametrize("name", ["asu", "prepare"])
def test_nobody_writes_a_line_into_the_log(doors: dict[str, Door], name: str) -> None:
    """Each line is one event in its format, and whatever could end, colour or turn a line stands
    there escaped.
    """
    lines = doors[name].log.read_bytes().decode().split("\n")[:-1]

    assert lines
    assert [line for line in lines if not line.isprintable()] == []
    if lines[0].startswith("{"):
        assert {json.loads(line)["level"] for line in lines} <= {
            "debug",
            "info",
            "warning",
            "error",
        }
    else:
        assert [line for line in lines if not TEXT_LINE.match(line)] == []
        assert [line for line in lines if line.startswith(FORGED)] == []


@pytest.mark.parametrize("name", ["asu", "prepare", "gateway"])
def test_a_script_is_in_no_log(doors: dict[str, Door], name: str) -> None:
    """Not even where its request is refused and everything is logged that can be."""
    assert SCRIPT not in doors[name].log.read_text()
    assert FORGED not in doors["gateway"].log.read_text().split("\n")
