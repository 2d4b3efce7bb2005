"""Keeps a network namespace from private addresses: rules before the routing tables, which only CAP_NET_ADMIN could take away.

Usage: fence.py RANGES NAMES, each a list with commas: ranges in CIDR form, and host:port of servers that may be reached nevertheless.
Name servers are found whatever address they have, on port 53. Spoken to the kernel directly (rtnetlink, see rtnetlink(7) and
linux/fib_rules.h), since images of ImageBuilders hold neither `ip` nor `nft`.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

NETLINK_ROUTE, RTM_NEWRULE = 0, 32
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
FRA_DST, FRA_PRIORITY, FRA_IP_PROTO, FRA_DPORT_RANGE = 1, 6, 22, 24
FR_ACT_TO_TBL, FR_ACT_PROHIBIT = 1, 8
RT_TABLE_MAIN = 254
HEADER = 16  # Bytes of a netlink message's header.

DNS = 53
# Rules are asked in this order, after those of the namespace's own addresses (0) and before the routes (32766).
ALLOWED, DENIED = 100, 200
# A kernel without IPv6 has nothing to keep away.
NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EOPNOTSUPP)

if TYPE_CHECKING:
    from collections.abc import Iterable

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def attribute(kind: int, value: bytes) -> bytes:
    """Return a netlink attribute, padded to four bytes."""
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def is_ipv6(network: Network) -> bool:
    """Whether a network is one of IPv6."""
    return isinstance(network, ipaddress.IPv6Network)


def message(network: Network, *, protocol: int = 0, port: int = 0) -> bytes:
    """Return the order for a rule: what goes to `network` is prohibited, or with a protocol and port takes the usual way."""
    action, priority, table = (FR_ACT_TO_TBL, ALLOWED, RT_TABLE_MAIN) if port else (FR_ACT_PROHIBIT, DENIED, 0)
    family = socket.AF_INET6 if is_ipv6(network) else socket.AF_INET
    body = struct.pack("=BBBBBBBBI", family, network.prefixlen, 0, 0, table, 0, 0, action, 0)
    body += attribute(FRA_DST, network.network_address.packed) + attribute(FRA_PRIORITY, struct.pack("=I", priority))
    if port:
        body += attribute(FRA_IP_PROTO, bytes([protocol])) + attribute(FRA_DPORT_RANGE, struct.pack("=HH", port, port))
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
    return struct.pack("=IHHII", HEADER + len(body), RTM_NEWRULE, flags, 1, 0) + body


def add(kernel: socket.socket, network: Network, *, protocol: int = 0, port: int = 0) -> None:
    """Add a rule, unless it is there; raises OSError."""
    kernel.send(message(network, protocol=protocol, port=port))
    [code] = struct.unpack_from("=i", kernel.recv(65536), HEADER)
    if code and -code != errno.EEXIST and not (is_ipv6(network) and -code in NO_SUCH_FAMILY):
        raise OSError(-code, f"no rule for {network}")


def single(address: str) -> Network:
    """Return the network that is one address; what follows `%` is an interface."""
    return ipaddress.ip_network(address.partition("%")[0])


def name_servers(text: str) -> list[Network]:
    """Return the name servers of a resolv.conf."""
    words = [line.split() for line in text.splitlines()]
    return [single(line[1]) for line in words if len(line) > 1 and line[0] == "nameserver"]


def neighbours(text: str) -> list[Network]:
    """Return the networks that are reached without a gateway, from /proc/net/route; whatever addresses an operator gave them."""
    routes = [line.split() for line in text.splitlines()[1:]]
    direct = [(dotted(route[1]), dotted(route[7])) for route in routes if int(route[2], 16) == 0 and int(route[7], 16)]
    return [ipaddress.ip_network(f"{address}/{mask}") for address, mask in direct]


def dotted(word: str) -> str:
    """Return an address of /proc/net/route, which shows four bytes as the number that they are to this machine."""
    return str(ipaddress.IPv4Address(struct.pack("=I", int(word, 16))))


def addresses(name: str, port: int) -> set[str]:
    """Return what a name leads to; nothing when that is not known, for then nothing is fetched from there either."""
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def fence(ranges: Iterable[str], names: Iterable[str]) -> None:
    """Put up the whole fence: what is denied first, so that it is never open."""
    denied = [ipaddress.ip_network(text) for text in ranges] + neighbours(Path("/proc/net/route").read_text())
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        for network in denied:
            add(kernel, network)
        for server in name_servers(Path("/etc/resolv.conf").read_text()):
            for protocol in (socket.IPPROTO_UDP, socket.IPPROTO_TCP):
                add(kernel, server, protocol=protocol, port=DNS)
        for name in names:
            host, _, port = name.rpartition(":")
            for address in addresses(host.strip("[]"), int(port)):
                add(kernel, single(address), protocol=socket.IPPROTO_TCP, port=int(port))


if __name__ == "__main__":
    fence(*[[word for word in argument.split(",") if word] for argument in sys.argv[1:3]])
