"""Closes a network namespace to all but some servers: rules before the routing tables, which only CAP_NET_ADMIN could take away.

Usage: fence.py OPENNESS PRIVATE SERVERS FEEDS, the last three lists with commas: ranges in CIDR
form, and host:port of servers that may be reached wherever they are, and of those that may not be
at a private address. With `world`, only private ranges are closed, and name servers are found
whatever address they have, on port 53. With `feeds` all is closed, name servers in the end, too:
what the names lead to is written into PINS, the /etc/hosts of whoever lives in the namespace, so
that what may be reached and what is looked up there are the same. The feeds that the image's own
ImageBuilder carries are among those, since this runs in the same image. Spoken to the kernel
directly (rtnetlink, see rtnetlink(7) and linux/fib_rules.h), since images of ImageBuilders hold
neither `ip` nor `nft`.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

NETLINK_ROUTE, RTM_NEWRULE, RTM_DELRULE = 0, 32, 33
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
FRA_DST, FRA_PRIORITY, FRA_IP_PROTO, FRA_DPORT_RANGE = 1, 6, 22, 24
FR_ACT_TO_TBL, FR_ACT_PROHIBIT = 1, 8
RT_TABLE_MAIN = 254
HEADER = 16  # Bytes of a netlink message's header.

RTF_REJECT, RTF_LOCAL = 0x200, 0x80000000  # From <linux/route.h> and <linux/ipv6_route.h>.

DNS = 53
PORTS = {"http": 80, "https": 443}
EVERYTHING = ("0.0.0.0/0", "::/0")
# Where the other's /etc/hosts is mounted: podman mounts its own copy of the path read-only.
PINS = Path("/asu-hosts")
FEED_LISTS = ("/builder/repositories.conf", "/builder/repositories")  # Of opkg and of apk.
# What may become a word of /etc/hosts.
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
# For all names at once; podman's name server loses questions, and each is put anew after five.
LOOKUP_SECONDS = 20.0
# Rules are asked in this order, after those of the namespace's own addresses (0) and before the
# routes (32766).
ALLOWED, DENIED = 100, 200
# A kernel without IPv6 has nothing to keep away.
NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EOPNOTSUPP)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def attribute(kind: int, value: bytes) -> bytes:
    """Return a netlink attribute, padded to four bytes."""
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def is_ipv6(network: Network) -> bool:
    """Whether a network is one of IPv6."""
    return isinstance(network, ipaddress.IPv6Network)


def message(
    network: Network, *, protocol: int = 0, port: int = 0, kind: int = RTM_NEWRULE
) -> bytes:
    """Return the order for a rule: what goes to `network` is prohibited, or with a protocol and port takes the usual way."""
    action, priority, table = (
        (FR_ACT_TO_TBL, ALLOWED, RT_TABLE_MAIN) if port else (FR_ACT_PROHIBIT, DENIED, 0)
    )
    family = socket.AF_INET6 if is_ipv6(network) else socket.AF_INET
    body = struct.pack("=BBBBBBBBI", family, network.prefixlen, 0, 0, table, 0, 0, action, 0)
    # A rule for everything has no destination.
    body += attribute(FRA_DST, network.network_address.packed) if network.prefixlen else b""
    body += attribute(FRA_PRIORITY, struct.pack("=I", priority))
    if port:
        body += attribute(FRA_IP_PROTO, bytes([protocol])) + attribute(
            FRA_DPORT_RANGE, struct.pack("=HH", port, port)
        )
    flags = NLM_F_REQUEST | NLM_F_ACK | (NLM_F_CREATE | NLM_F_EXCL if kind == RTM_NEWRULE else 0)
    return struct.pack("=IHHII", HEADER + len(body), kind, flags, 1, 0) + body


def add(kernel: socket.socket, network: Network, *, protocol: int = 0, port: int = 0) -> None:
    """Add a rule, unless it is there; raises OSError."""
    _order(kernel, message(network, protocol=protocol, port=port), network, errno.EEXIST)


def remove(kernel: socket.socket, network: Network, *, protocol: int = 0, port: int = 0) -> None:
    """Take a rule away, unless it is gone; raises OSError."""
    _order(
        kernel,
        message(network, protocol=protocol, port=port, kind=RTM_DELRULE),
        network,
        errno.ENOENT,
    )


def _order(kernel: socket.socket, order: bytes, network: Network, already: int) -> None:
    kernel.send(order)
    [code] = struct.unpack_from("=i", kernel.recv(65536), HEADER)
    if code and -code != already and not (is_ipv6(network) and -code in NO_SUCH_FAMILY):
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
    direct = [
        (dotted(route[1]), dotted(route[7]))
        for route in routes
        if int(route[2], 16) == 0 and int(route[7], 16)
    ]
    return [ipaddress.ip_network(f"{address}/{mask}") for address, mask in direct]


def neighbours6(text: str) -> list[Network]:
    """Return the same of IPv6, from /proc/net/ipv6_route: destination and length, source and length, gateway, metric, counters, flags, interface."""
    routes = [line.split() for line in text.splitlines()]
    direct = [
        route
        for route in routes
        if int(route[1], 16)
        and not int(route[4], 16)
        and not int(route[8], 16) & (RTF_REJECT | RTF_LOCAL)
    ]
    return [ipaddress.ip_network((bytes.fromhex(route[0]), int(route[1], 16))) for route in direct]


def all_neighbours() -> list[Network]:
    """Return the networks of either kind that are reached without a gateway."""
    tables = ((Path("/proc/net/route"), neighbours), (Path("/proc/net/ipv6_route"), neighbours6))
    return [network for path, read in tables if path.exists() for network in read(path.read_text())]


def dotted(word: str) -> str:
    """Return an address of /proc/net/route, which shows four bytes as the number that they are to this machine."""
    return str(ipaddress.IPv4Address(struct.pack("=I", int(word, 16))))


def host_and_port(url: str) -> str:
    """Return where a URL leads; empty for one that leads into the container's own files. Raises ValueError for what is no URL."""
    parts = urlsplit(url)
    if not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or PORTS.get(parts.scheme, PORTS['https'])}"


def targets_of(url: str) -> list[str]:
    """Return host:port of all that a URL may lead to: servers send from http to https under the same name. Raises as `host_and_port`."""
    target = host_and_port(url)
    if not target:
        return []
    host, _, port = target.rpartition(":")
    is_plain = urlsplit(url).scheme == "http" and port == str(PORTS["http"])
    return [target, f"{host}:{PORTS['https']}"] if is_plain else [target]


def feeds_of(text: str) -> list[str]:
    """Return host:port of the feeds that an ImageBuilder's list names, whichever the package manager; what stands behind # is none."""
    words = [
        word
        for line in text.splitlines()
        if not line.lstrip().startswith("#")
        for word in line.split()
    ]
    return [
        target
        for word in words
        if word.startswith(("http://", "https://"))
        for target in targets_of(word)
    ]


def own_feeds() -> list[str]:
    """Return host:port of the feeds that the image carries; that of a snapshot carries none before its builder is fetched."""
    return [
        feed
        for path in map(Path, FEED_LISTS)
        if path.exists()
        for feed in feeds_of(path.read_text())
    ]


def addresses(name: str) -> list[str]:
    """Return what a name leads to; nothing when that is not known, for then nothing is fetched from there either."""
    try:
        return list(
            dict.fromkeys(
                str(found[4][0])
                for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            )
        )
    except (OSError, UnicodeError):
        return []


def look_up(names: Iterable[str]) -> dict[str, list[str]]:
    """Return what each of the names leads to, asked at once; without those that are not known in time."""
    found: dict[str, list[str]] = {}

    def ask(name: str) -> None:
        found[name] = addresses(name)

    threads = [
        threading.Thread(target=ask, args=(name,), daemon=True) for name in dict.fromkeys(names)
    ]
    give_up = time.monotonic() + LOOKUP_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, give_up - time.monotonic()))
    return dict(found)


def admitted(
    servers: Iterable[str],
    feeds: Iterable[str],
    found: Mapping[str, Sequence[str]],
    private: Sequence[Network],
) -> list[tuple[str, Network, int]]:
    """Return name, address and port of all that may be reached: of `servers` wherever they are, of `feeds` outside of `private`."""
    servers = set(servers)
    reached = []
    for target in sorted({*servers, *feeds} - {""}):
        host, _, port = target.rpartition(":")
        for text in found.get(host.strip("[]"), ()):
            address = single(text)
            if target in servers or not any(
                address.network_address in network for network in private
            ):
                reached.append((host.strip("[]"), address, int(port)))
    return reached


def pins(reached: Iterable[tuple[str, Network, int]]) -> str:
    """Return lines of /etc/hosts for what has a name."""
    pairs = dict.fromkeys((str(address.network_address), name) for name, address, _ in reached)
    return "".join(
        f"{address}\t{name}\n"
        for address, name in pairs
        if NAME.fullmatch(name) and name != address
    )


def fence(
    *, is_closed: bool, ranges: Iterable[str], servers: Iterable[str], feeds: Iterable[str]
) -> None:
    """Put up the whole fence: what is denied first, so that it is never open."""
    private = [ipaddress.ip_network(text) for text in ranges] + all_neighbours()
    wanted = [*feeds, *own_feeds()] if is_closed else []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        for network in map(ipaddress.ip_network, EVERYTHING) if is_closed else private:
            add(kernel, network)
        ways = [
            (server, protocol)
            for server in dict.fromkeys(name_servers(Path("/etc/resolv.conf").read_text()))
            for protocol in (socket.IPPROTO_UDP, socket.IPPROTO_TCP)
        ]
        for server, protocol in ways:
            add(kernel, server, protocol=protocol, port=DNS)
        servers = list(servers)
        found = look_up(
            target.rpartition(":")[0].strip("[]") for target in (*servers, *wanted) if target
        )
        reached = admitted(servers, wanted, found, private)
        if is_closed:
            # What a build looks up is told to the world: it needs nobody to ask.
            for server, protocol in ways:
                remove(kernel, server, protocol=protocol, port=DNS)
            with PINS.open("a") as hosts:
                hosts.write(pins(reached))
        for _, address, port in reached:
            add(kernel, address, protocol=socket.IPPROTO_TCP, port=port)


if __name__ == "__main__":
    lists = [[word for word in argument.split(",") if word] for argument in sys.argv[2:5]]
    fence(is_closed=sys.argv[1] == "feeds", ranges=lists[0], servers=lists[1], feeds=lists[2])
