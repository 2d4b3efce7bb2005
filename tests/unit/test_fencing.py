"""From what build containers are kept, and what they may reach nevertheless; the integration ring
tries it from inside one.
"""

from __future__ import annotations

import ast
import inspect
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from asu.settings import Settings
from asu.worker.fencing import DENIED, fence_container, interface_settings, may_be_reached
from asu.worker.inside import fence

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100590A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000590A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
NONE = "0" * 32
# The network that the interface is in, its own address, the way to the rest through the gateway,
# and what the kernel refuses by itself.
ROUTES6 = f"""\
20010db8000000010000000000000000 40 {NONE} 00 {NONE} 00000100 00000001 00000000 00000001     eth0
20010db8000000010000000000000007 80 {NONE} 00 {NONE} 00000000 00000002 00000000 80200001     eth0
{NONE} 00 {NONE} 00 20010db8000000010000000000000001 00000400 00000001 00000000 00000003     eth0
{NONE} 00 {NONE} 00 {NONE} ffffffff 00000001 00000000 00200200       lo
"""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ["downloads.openwrt.org:443"]),
        ({"upstream_url": "http://mirror.lan"}, ["mirror.lan:443", "mirror.lan:80"]),
        ({"upstream_url": "http://mirror.lan:80"}, ["mirror.lan:443", "mirror.lan:80"]),
        ({"upstream_url": "https://mirror.lan:80"}, ["mirror.lan:80"]),
        (
            {"upstream_url": "http://a.example", "builder_upstream_url": "http://cache:8080/x"},
            ["cache:8080"],
        ),
        ({"builder_upstream_url": "http://[fd00::1]:8080"}, ["[fd00::1]:8080"]),
        ({"builder_upstream_url": "file:///upstream"}, []),
        (
            {"container_may_reach": ("http://10.0.0.5:81", "https://feeds.lan/x")},
            ["10.0.0.5:81", "downloads.openwrt.org:443", "feeds.lan:443"],
        ),
        (
            {"repository_allow_list": ("http://10.0.0.6/x", "http://feeds.example/x")},
            ["10.0.0.6:443", "10.0.0.6:80", "downloads.openwrt.org:443"],
        ),
    ],
)
def test_the_settings_name_what_may_be_reached(values: dict[str, Any], expected: list[str]) -> None:
    """The downloads server as builds reach it, and the servers that the operator adds, each at its
    port, or at that of https beside http.
    """
    assert may_be_reached(Settings(**values)) == expected


@pytest.mark.parametrize(
    "address",
    [
        "10.89.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "64:ff9b::a00:1",
    ],
)
def test_private_addresses_are_denied(address: str) -> None:
    """Whatever only this machine or its neighbours have, in either family."""
    assert any(ip_address(address) in ip_network(text) for text in DENIED)


@pytest.mark.parametrize(
    "address", ["151.101.2.132", "172.32.0.1", "100.128.0.1", "2a04:4e42::644"]
)
def test_public_addresses_are_not(address: str) -> None:
    """Packages come from there."""
    assert not any(ip_address(address) in ip_network(text) for text in DENIED)


def test_the_fence_has_one_capability() -> None:
    """What closes the network holds nothing else that a hostile image could use, and is tidied away
    as the build's own is.
    """
    described = fence_container(Settings(), "image", "1234", {"asu.build": "key"})

    assert (described["cap_drop"], described["cap_add"], described["read_only_filesystem"]) == (
        ["all"],
        ["NET_ADMIN"],
        True,
    )
    assert described["netns"] == {"nsmode": "container", "value": "1234"}
    assert described["labels"] == {"asu.build": "key", "asu.fence": "true"}


def test_the_fence_runs_on_the_builders_python() -> None:
    """Images of ImageBuilders have Python 3.9."""
    assert ast.parse(inspect.getsource(fence), feature_version=(3, 9))


def test_neighbours_are_known_whatever_their_addresses() -> None:
    """Directly connected networks are denied too, though an operator gave them public addresses."""
    assert fence.neighbours(ROUTES) == [ip_network("10.89.0.0/24")]
    assert fence.neighbours6(ROUTES6) == [ip_network("2001:db8:0:1::/64")]


def test_name_servers_are_found() -> None:
    """Of either family, with or without an interface."""
    servers = fence.name_servers(
        "search lan\nnameserver 10.89.0.1\nnameserver fe80::1%eth0\nnameserver\noptions ndots:1\n"
    )

    assert servers == [ip_network("10.89.0.1/32"), ip_network("fe80::1/128")]


def test_without_a_word_of_the_operator_only_feeds_are_reached() -> None:
    """What opens the rest is a choice."""
    told = {
        egress: fence_container(Settings(container_egress=egress), "image", "1234", {})
        for egress in ("feeds", "world")
    }

    assert fence_container(Settings(), "image", "1234", {}) == told["feeds"]
    assert [described["command"][5] for described in told.values()] == ["feeds", "world"]


def test_the_fence_is_told_what_is_trusted_and_what_is_not() -> None:
    """Servers of the settings may be anywhere, those of feeds may not; of the build's files it
    holds one.
    """
    settings = Settings(
        builder_upstream_url="http://cache:8080", container_may_reach=("https://feeds.lan/x",)
    )

    described = fence_container(
        settings,
        "image",
        "1234",
        {},
        feeds=("https://b.example/x", "http://a.example:81/y", "file:///z"),
        hosts="/run/1/hosts",
    )

    assert described["command"][6:] == [
        ",".join(DENIED),
        "cache:8080,feeds.lan:443",
        "a.example:81,b.example:443",
    ]
    assert described["mounts"] == [
        {
            "type": "bind",
            "source": "/run/1/hosts",
            "destination": "/asu-hosts",
            "options": ["rw", "z"],
        }
    ]


def test_the_builders_own_feeds_are_read() -> None:
    """From the list of either package manager; what is in a remark or in the builder itself is
    none.
    """
    opkg = (
        "## https://no.example\nsrc/gz base https://downloads.openwrt.org/releases/base\nsrc"
        " imagebuilder file:packages\noption check_signature\n"
    )
    apk = "https://downloads.openwrt.org/releases/packages.adb\nhttp://mirror.example:8080/packages.adb\npackages/packages.adb\n"

    assert fence.feeds_of(opkg) == ["downloads.openwrt.org:443"]
    assert fence.feeds_of(apk) == ["downloads.openwrt.org:443", "mirror.example:8080"]
    assert fence.feeds_of("http://mirror.example/packages.adb") == [
        "mirror.example:80",
        "mirror.example:443",
    ]


def test_a_server_may_send_to_its_own_https() -> None:
    """Feeds given as http, which the server sends to https, are many; anything else that a redirect
    leads to is another server.
    """
    described = fence_container(
        Settings(),
        "image",
        "1234",
        {},
        feeds=("http://a.example/x", "http://b.example:8080/x", "http://[2001:db8::9]/x"),
    )

    assert (
        described["command"][8]
        == "[2001:db8::9]:443,[2001:db8::9]:80,a.example:443,a.example:80,b.example:8080"
    )


PRIVATE = [ip_network(text) for text in ("10.0.0.0/8", "203.0.113.0/28", "fd00::/8")]
FOUND = {
    "cache": ["10.0.0.5"],
    "feeds.example": ["192.0.2.7", "10.0.0.6", "2001:db8::7", "fd00::7"],
    "hostile.example": ["10.0.0.1", "::ffff:10.0.0.1"],
    "neighbour.example": ["203.0.113.3"],
    "192.0.2.9": ["192.0.2.9"],
    "2001:db8::9": ["2001:db8::9"],
}


@pytest.mark.parametrize(
    ("servers", "feeds", "expected"),
    [
        (["cache:8080"], [], [("cache", "10.0.0.5/32", 8080)]),
        ([], ["cache:8080"], []),
        (["cache:8080"], ["cache:6379"], [("cache", "10.0.0.5/32", 8080)]),
        (
            [],
            ["feeds.example:443"],
            [("feeds.example", "192.0.2.7/32", 443), ("feeds.example", "2001:db8::7/128", 443)],
        ),
        # No way to 10.0.0.1: IPv6 has none to it.
        ([], ["hostile.example:80"], [("hostile.example", "::ffff:10.0.0.1/128", 80)]),
        ([], ["neighbour.example:80"], []),
        (["unknown.example:80"], ["nobody.example:80"], []),
        (
            [],
            ["192.0.2.9:80", "[2001:db8::9]:81"],
            [("192.0.2.9", "192.0.2.9/32", 80), ("2001:db8::9", "2001:db8::9/128", 81)],
        ),
    ],
)
def test_names_of_feeds_open_nothing_private(
    servers: list[str], feeds: list[str], expected: list[tuple[str, str, int]]
) -> None:
    """Each server is let through at its port and at the addresses that it has now; a private one
    only where the settings name it.
    """
    wanted = [(name, ip_network(address), port) for name, address, port in expected]

    assert fence.admitted(servers, feeds, FOUND, PRIVATE) == wanted


def test_names_are_pinned_to_what_was_let_through() -> None:
    """One line for an address, whatever the number of ports; an address in numbers needs none, and
    nothing strange becomes a line.
    """
    reached = fence.admitted(
        ["cache:80", "cache:81"],
        ["feeds.example:443", "192.0.2.9:80", "[2001:db8::9]:81"],
        FOUND,
        PRIVATE,
    )
    reached.append(("two words", ip_network("192.0.2.7/32"), 80))

    assert (
        fence.pins(reached)
        == "10.0.0.5\tcache\n192.0.2.7\tfeeds.example\n2001:db8::7\tfeeds.example\n"
    )


def test_a_rule_for_everything_has_no_destination() -> None:
    """As the kernel's own tools put it."""
    everything, one = (fence.message(ip_network(text)) for text in ("0.0.0.0/0", "192.0.2.1/32"))

    assert ip_address("192.0.2.1").packed in one
    assert len(one) - len(everything) == 8


@pytest.mark.parametrize(
    ("values", "names"),
    [({}, {"all", "eth0"}), ({"container_fence": False}, set())],
)
def test_only_a_fence_needs_the_filter_of_return_paths_off(
    values: dict[str, Any], names: set[str]
) -> None:
    """Where there is no fence, podman is asked for nothing of the kind."""
    asked = interface_settings(Settings(**values), has_ipv6=True)

    assert {name: value for name, value in asked.items() if "rp_filter" in name} == {
        f"net.ipv4.conf.{name}.rp_filter": "0" for name in names
    }
