"""From what build containers are kept, and what they may reach nevertheless; the integration ring tries it from inside one."""

from __future__ import annotations

import ast
import inspect
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from asu.settings import Settings
from asu.worker.fencing import DENIED, fence_container, may_be_reached
from asu.worker.inside import fence

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100590A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000590A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ["downloads.openwrt.org:443"]),
        ({"upstream_url": "http://mirror.lan"}, ["mirror.lan:80"]),
        ({"upstream_url": "http://a.example", "builder_upstream_url": "http://cache:8080/x"}, ["cache:8080"]),
        ({"builder_upstream_url": "http://[fd00::1]:8080"}, ["[fd00::1]:8080"]),
        ({"builder_upstream_url": "file:///upstream"}, []),
        ({"container_may_reach": ("http://10.0.0.5:81", "https://feeds.lan/x")}, ["10.0.0.5:81", "downloads.openwrt.org:443", "feeds.lan:443"]),
        ({"repository_allow_list": ("http://10.0.0.6/x", "http://feeds.example/x")}, ["10.0.0.6:80", "downloads.openwrt.org:443"]),
    ],
)
def test_the_settings_name_what_may_be_reached(values: dict[str, Any], expected: list[str]) -> None:
    """The downloads server as builds reach it, and the servers that the operator adds, each at its port alone."""
    assert may_be_reached(Settings(**values)) == expected


@pytest.mark.parametrize(
    "address",
    ["10.89.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "fe80::1", "64:ff9b::a00:1"],
)
def test_private_addresses_are_denied(address: str) -> None:
    """Whatever only this machine or its neighbours have, in either family."""
    assert any(ip_address(address) in ip_network(text) for text in DENIED)


@pytest.mark.parametrize("address", ["151.101.2.132", "172.32.0.1", "100.128.0.1", "2a04:4e42::644"])
def test_public_addresses_are_not(address: str) -> None:
    """Packages come from there."""
    assert not any(ip_address(address) in ip_network(text) for text in DENIED)


def test_the_fence_has_one_capability() -> None:
    """What closes the network holds nothing else that a hostile image could use, and is tidied away as the build's own is."""
    described = fence_container(Settings(), "image", "1234", {"asu.build": "key"})

    assert (described["cap_drop"], described["cap_add"], described["read_only_filesystem"]) == (["all"], ["NET_ADMIN"], True)
    assert described["netns"] == {"nsmode": "container", "value": "1234"}
    assert described["labels"] == {"asu.build": "key", "asu.fence": "true"}


def test_the_fence_runs_on_the_builders_python() -> None:
    """Images of ImageBuilders have Python 3.9."""
    assert ast.parse(inspect.getsource(fence), feature_version=(3, 9))


def test_neighbours_are_known_whatever_their_addresses() -> None:
    """Directly connected networks are denied too, though an operator gave them public addresses."""
    assert fence.neighbours(ROUTES) == [ip_network("10.89.0.0/24")]


def test_name_servers_are_found() -> None:
    """Of either family, with or without an interface."""
    servers = fence.name_servers("search lan\nnameserver 10.89.0.1\nnameserver fe80::1%eth0\nnameserver\noptions ndots:1\n")

    assert servers == [ip_network("10.89.0.1/32"), ip_network("fe80::1/128")]
