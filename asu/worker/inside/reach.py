"""Prints which of the targets can be reached from here, one a line; each is host:port, with `gateway` for whoever leads out of the network.

Usage: reach.py TARGET…
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECONDS = 1.0  # For a connection; what answers at all does so in milliseconds, as it is near.


def gateway(text: str) -> str:
    """Return the way out by /proc/net/route, which shows four bytes as the number that they are to this machine; empty without one."""
    routes = [line.split() for line in text.splitlines()[1:]]
    ways = [int(route[2], 16) for route in routes if int(route[1], 16) == 0]
    return str(ipaddress.IPv4Address(struct.pack("=I", ways[0]))) if ways else ""


def is_reached(target: str) -> bool:
    """Whether somebody takes a connection there."""
    host, _, port = target.rpartition(":")
    if host == "gateway":
        host = gateway(Path("/proc/net/route").read_text())
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS):
            return bool(host)
    except OSError:
        return False


if __name__ == "__main__":
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(is_reached, sys.argv[1:]))
    print("\n".join(target for target, reached in zip(sys.argv[1:], found) if reached))  # noqa: B905, T201  # Python 3.9 has no `strict`.
