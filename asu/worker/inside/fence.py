"""Close a network namespace to all but some servers.

Rules that precede the routing tables do most. Broadcast and multicast pass them: their routes are
in table `local`, which is asked first, or the kernel needs no route. Policies block those.

Usage: fence.py OPENNESS PRIVATE SERVERS FEEDS. The last three are lists with commas: ranges in CIDR
form, host:port of servers that may be reached anywhere, and host:port of servers that may not be at
a private address.

With `world`, only private ranges are closed; name servers are reached on port 53 wherever they are.
With `feeds`, all is closed, in the end name servers too. What the names lead to is written into
PINS, the /etc/hosts of the build, so that lookups and rules agree. This runs in the image of the
build, so it reads the feeds of its ImageBuilder as well.

Only CAP_NET_ADMIN can remove any of them. The kernel gets them directly (rtnetlink(7),
linux/fib_rules.h, linux/xfrm.h), since images of ImageBuilders have neither `ip` nor `nft`.
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
NETLINK_XFRM, XFRM_MSG_NEWPOLICY, XFRM_POLICY_OUT = 6, 0x13, 1
XFRM_POLICY_ALLOW, XFRM_POLICY_BLOCK, XFRM_INF = 0, 1, 2**64 - 1
HEADER = 16  # Bytes of a netlink message's header.

RTF_REJECT, RTF_LOCAL = 0x200, 0x80000000  # From <linux/route.h> and <linux/ipv6_route.h>.

IPV6, DNS = 6, 53
PORTS = {"http": 80, "https": 443}
EVERYTHING = ("0.0.0.0/0", "::/0")
# What passes all rules in any namespace. Of IPv6, neighbours are found by multicast of ICMPv6.
BROADCAST, MULTICAST = "255.255.255.255/32", ("224.0.0.0/4", "ff00::/8")
# Where the other's /etc/hosts is mounted: podman mounts its own copy of the path read-only.
PINS = Path("/asu-hosts")
FEED_LISTS = ("/builder/repositories.conf", "/builder/repositories")  # Of opkg and of apk.
# What may become a word of /etc/hosts.
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
# For all names at once; podman's name server loses requests, which are repeated after five seconds.
LOOKUP_SECONDS = 20.0
# The order of rules: after those of the namespace's own addresses (0), before the routes (32766).
ALLOWED, DENIED = 100, 200
# A kernel without IPv6 has nothing to close.
NO_SUCH_FAMILY = {errno.EAFNOSUPPORT, errno.EOPNOTSUPP}

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def attribute(kind: int, value: bytes) -> bytes:
    """Return a netlink attribute, padded to four bytes."""
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def message(
    network: Network, *, protocol: int = 0, port: int = 0, kind: int = RTM_NEWRULE
) -> bytes:
    """Return the message that adds or removes a rule.

    Without a port the rule prohibits all that goes to `network`; with one it allows that.
    """
    action, priority, table = (
        (FR_ACT_TO_TBL, ALLOWED, RT_TABLE_MAIN) if port else (FR_ACT_PROHIBIT, DENIED, 0)
    )
    family = socket.AF_INET6 if network.version == IPV6 else socket.AF_INET
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


def change(
    kernel: socket.socket,
    network: Network,
    *,
    protocol: int = 0,
    port: int = 0,
    kind: int = RTM_NEWRULE,
) -> None:
    """Add a rule unless it is there, or remove it unless it is gone; raises OSError."""
    kernel.send(message(network, protocol=protocol, port=port, kind=kind))
    [code] = struct.unpack_from("=i", kernel.recv(65536), HEADER)
    harmless = {0, errno.EEXIST if kind == RTM_NEWRULE else errno.ENOENT}
    if network.version == IPV6:
        harmless |= NO_SUCH_FAMILY
    if -code not in harmless:
        raise OSError(-code, f"no rule for {network}")


def policy(network: Network, *, protocol: int = 0) -> bytes:
    """Return the message that blocks what goes out to `network`, or allows one protocol of it."""
    action = XFRM_POLICY_ALLOW if protocol else XFRM_POLICY_BLOCK
    family = socket.AF_INET6 if network.version == IPV6 else socket.AF_INET
    # struct xfrm_userpolicy_info: selector, limits, lifetime, priority, index, and the rest.
    body = struct.pack(
        "=16s16x8xHBBB3x8x4Q32x32xIIBB2x4x",
        network.network_address.packed,
        *(family, network.prefixlen, 0, protocol),
        *([XFRM_INF] * 4),
        *(action, 0, XFRM_POLICY_OUT, action),
    )
    flags = NLM_F_REQUEST | NLM_F_ACK
    return struct.pack("=IHHII", HEADER + len(body), XFRM_MSG_NEWPOLICY, flags, 1, 0) + body


def broadcasts(text: str) -> list[Network]:
    """Return the broadcast addresses of /proc/net/fib_trie.

    The line after an address says what kind it is.
    """
    words = text.split()
    return [single(words[at - 3]) for at, word in enumerate(words) if word == "BROADCAST"]


def block_groups() -> None:
    """Block broadcast and multicast; raise OSError, too, where the kernel has no policies."""
    groups = [*map(ipaddress.ip_network, (BROADCAST, *MULTICAST))]
    groups += broadcasts(Path("/proc/net/fib_trie").read_text())
    discovery = policy(groups[2], protocol=socket.IPPROTO_ICMPV6)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM) as kernel:
        kernel.bind((0, 0))
        for order in (discovery, *map(policy, groups)):
            kernel.send(order)
            [code] = struct.unpack_from("=i", kernel.recv(65536), HEADER)
            if -code not in {0, errno.EEXIST}:
                raise OSError(-code, "no policy against broadcast and multicast")


def single(address: str) -> Network:
    """Return the network that is one address; what follows `%` is an interface."""
    return ipaddress.ip_network(address.partition("%")[0])


def name_servers(text: str) -> list[Network]:
    """Return the name servers of a resolv.conf."""
    words = [line.split() for line in text.splitlines()]
    return [single(line[1]) for line in words if len(line) > 1 and line[0] == "nameserver"]


def neighbours(text: str) -> list[Network]:
    """Return the networks without a gateway, from /proc/net/route, whatever their addresses."""
    routes = [line.split() for line in text.splitlines()[1:]]
    direct = [
        (dotted(route[1]), dotted(route[7]))
        for route in routes
        if int(route[2], 16) == 0 and int(route[7], 16)
    ]
    return [ipaddress.ip_network(f"{address}/{mask}") for address, mask in direct]


def neighbours6(text: str) -> list[Network]:
    """Return the same of IPv6, from /proc/net/ipv6_route.

    Its columns are destination and length, source and length, gateway, metric, two counters, flags
    and interface.
    """
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
    """Return the networks of either family that are reached without a gateway."""
    tables = ((Path("/proc/net/route"), neighbours), (Path("/proc/net/ipv6_route"), neighbours6))
    return [network for path, read in tables if path.exists() for network in read(path.read_text())]


def dotted(word: str) -> str:
    """Return an address of /proc/net/route, which shows it as a number in this machine's order."""
    return str(ipaddress.IPv4Address(struct.pack("=I", int(word, 16))))


def targets_of(url: str) -> list[str]:
    """Return host:port of all that a URL may lead to; nothing for the container's own files.

    Servers redirect from http to https under the same name. Raises ValueError for what is no URL.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        return []
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port or PORTS.get(parts.scheme, PORTS["https"])
    is_plain = parts.scheme == "http" and port == PORTS["http"]
    return [f"{host}:{port}", *([f"{host}:{PORTS['https']}"] if is_plain else [])]


def feeds_of(text: str) -> list[str]:
    """Return host:port of the feeds in a list of opkg or apk, without comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    words = [word for line in lines for word in line.split()]
    urls = [word for word in words if word.startswith(("http://", "https://"))]
    return [target for url in urls for target in targets_of(url)]


def own_feeds() -> list[str]:
    """Return host:port of the feeds in the image; a snapshot's has none before it is unpacked."""
    lists = [path.read_text() for path in map(Path, FEED_LISTS) if path.exists()]
    return [feed for text in lists for feed in feeds_of(text)]


def addresses(name: str) -> list[str]:
    """Return the addresses of a name; nothing when they are not known."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def look_up(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the addresses of each name that is known in time; all are asked at once."""
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
    """Return name, address and port of all that may be reached.

    `servers` may be anywhere, `feeds` only outside of the `private` networks.
    """
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
    """Add all policies and rules; those that prohibit come first, so the network is never open."""
    block_groups()
    private = [ipaddress.ip_network(text) for text in ranges] + all_neighbours()
    wanted = [*feeds, *own_feeds()] if is_closed else []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        for network in map(ipaddress.ip_network, EVERYTHING) if is_closed else private:
            change(kernel, network)
        ways = [
            (server, protocol)
            for server in dict.fromkeys(name_servers(Path("/etc/resolv.conf").read_text()))
            for protocol in (socket.IPPROTO_UDP, socket.IPPROTO_TCP)
        ]
        for server, protocol in ways:
            change(kernel, server, protocol=protocol, port=DNS)
        servers = list(servers)
        found = look_up(
            target.rpartition(":")[0].strip("[]") for target in (*servers, *wanted) if target
        )
        reached = admitted(servers, wanted, found, private)
        if is_closed:
            # A lookup could carry data out of the build, and it needs none: its hosts are in PINS.
            for server, protocol in ways:
                change(kernel, server, protocol=protocol, port=DNS, kind=RTM_DELRULE)
            with PINS.open("a") as hosts:
                hosts.write(pins(reached))
        for _, address, port in reached:
            change(kernel, address, protocol=socket.IPPROTO_TCP, port=port)


if __name__ == "__main__":
    lists = [[word for word in argument.split(",") if word] for argument in sys.argv[2:5]]
    fence(is_closed=sys.argv[1] == "feeds", ranges=lists[0], servers=lists[1], feeds=lists[2])
