"""Prints which of the targets can be reached from here, one a line.

Each is host:port, with `gateway` for whoever leads out of the network; `world`, which is whether
there is a way to public addresses; or
`names`, which is whether there is one to a name server. For the last two nothing is sent.

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

# A public address that nobody has: it is kept for documentation.
DOCUMENTED, DISCARD = "192.0.2.1", 9
DNS = 53


def gateway(text: str) -> str:
    """Return the way out by /proc/net/route, which shows four bytes as the number that they are to this machine; empty without one."""
    routes = [line.split() for line in text.splitlines()[1:]]
    ways = [int(route[2], 16) for route in routes if int(route[1], 16) == 0]
    return str(ipaddress.IPv4Address(struct.pack("=I", ways[0]))) if ways else ""


def has_way(host: str, port: int) -> bool:
    """Whether a datagram could leave for there; nothing is sent."""
    with socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
    ) as probe:
        try:
            probe.connect((host, port))
        except OSError:
            return False
        return True


def name_servers(text: str) -> list[str]:
    """Return the name servers of a resolv.conf."""
    words = [line.split() for line in text.splitlines()]
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]


def is_reached(target: str) -> bool:
    """Whether somebody takes a connection there, or there is the way that is asked for."""
    if target == "world":
        return has_way(DOCUMENTED, DISCARD)
    if target == "names":
        return any(
            has_way(server, DNS) for server in name_servers(Path("/etc/resolv.conf").read_text())
        )
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
