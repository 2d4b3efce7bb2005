"""Print which of the targets can be reached from here, one a line.

Usage: reach.py TARGET…

A target is host:port, where the host may be `gateway`; `world`, a route to public addresses; or
`names`, a route to a name server. For the last two nothing is sent.
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
    """Return the address of the gateway from /proc/net/route; empty without one.

    The file shows an address as a number in this machine's order.
    """
    routes = [line.split() for line in text.splitlines()[1:]]
    ways = [int(route[2], 16) for route in routes if int(route[1], 16) == 0]
    return str(ipaddress.IPv4Address(struct.pack("=I", ways[0]))) if ways else ""


def has_way(host: str, port: int) -> bool:
    """Whether there is a route to that address; nothing is sent."""
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
    """Whether a server accepts a connection, or there is such a route."""
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
        tried = pool.map(lambda target: (target, is_reached(target)), sys.argv[1:])
    sys.stdout.write("".join(f"{target}\n" for target, reached in tried if reached))
