"""What stands on a preview's answer, at each of the doors that it comes through."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.edge_world import three_doors
from tests.integration.gateway_world import CAN_RUN
from tests.unit.worlds import REQUEST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.redis_server import RedisServer

pytestmark = pytest.mark.skipif(not CAN_RUN, reason="nginx is not installed (make install)")


def test_nothing_on_the_way_stores_a_preview(tmp_path: Path, shared_redis: RedisServer) -> None:
    """It repeats the request, a first-boot script included; the gateway hands on what the services
    say of it.
    """
    body = json.dumps(REQUEST).encode()
    told = {}
    with three_doors(tmp_path, shared_redis) as doors:
        for name, path in (
            ("asu", "build/prepare"),
            ("prepare", "prepare"),
            ("gateway", "build/prepare"),
            ("gateway", "prepare"),
        ):
            head = (
                f"POST /api/v1/{path} HTTP/1.1\r\nHost: asu\r\nContent-Type:"
                " application/json\r\nConnection: close\r\n"
            )
            answer = doors[name].knock(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            lines = answer.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
            told[name, path] = (
                lines[0][:12],
                [line for line in lines if line.startswith(b"cache-control:")],
            )

    assert set(map(str, told.values())) == {str((b"http/1.1 200", [b"cache-control: no-store"]))}, (
        told
    )
