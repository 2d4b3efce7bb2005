"""Which servers a build can reach, enforced by a second container that closes its network.

It runs before the build does anything. It has CAP_NET_ADMIN in the build's network namespace, no
other capability, and no disk to write on but the build's /etc/hosts.
"""

import inspect
import json
import logging
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asu.disk_space import MIB
from asu.errors import ContainerFailed
from asu.settings import Settings

from .inside import fence

log = logging.getLogger(__name__)

# Marks the second container, which has the labels of the build too, so that sweeps remove both.
LABEL_FENCE = "asu.fence"
LAST_WORDS = 500  # Bytes of the container's output, for our own log.
SECONDS = 30  # It takes 0.3, and five more where podman's name server loses a request.
INTERFACE = "eth0"  # As podman names the first, and only, one of a container.
# Where a bridge gets another hardware address, packets are lost until the old one is forgotten: for
# 5 s at most with these, 36 s with the kernel's own.
NEIGHBOURS = {
    f"net.ipv4.neigh.{INTERFACE}.base_reachable_time_ms": "1000",
    f"net.ipv4.neigh.{INTERFACE}.delay_first_probe_time": "1",
    f"net.ipv4.neigh.{INTERFACE}.gc_stale_time": "1",
}
IPV6 = Path("/proc/sys/net/ipv6")  # Missing where the kernel has none.
# IANA's registries of special addresses, without those of the namespace itself (127.0.0.0/8, ::1).
DENIED = (
    "10.0.0.0/8",
    "100.64.0.0/10",  # Carriers' own, and overlay networks such as Tailscale's.
    "168.63.129.16/32",  # Azure's platform, at an address that looks public.
    "169.254.0.0/16",  # Link-local: where clouds keep their metadata and credentials.
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",  # Multicast and what is reserved.
    "64:ff9b::/96",  # May hold private IPv4 addresses, as may 2002::/16.
    "64:ff9b:1::/48",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",  # Site-local, which no new network has and old ones may.
    "ff00::/8",
)
_CONFINEMENT: Mapping[str, Any] = {
    "user": "0",  # Other users could not use the capability.
    "cap_drop": ["all"],
    "cap_add": ["NET_ADMIN"],
    "no_new_privileges": True,
    "read_only_filesystem": True,
    "image_volume_mode": "ignore",
    # It looks up all names at once: a request brings sixteen feeds at most, and a builder six.
    "resource_limits": {"pids": {"limit": 64}, "memory": {"limit": 128 * MIB}},
}


def may_be_reached(settings: Settings) -> list[str]:
    """Return host:port of the servers that builds may reach at any address.

    Feeds with a name are not among them, since their owners could let the name lead anywhere.
    """
    downloads = settings.builder_upstream_url or settings.upstream_url
    feeds = [
        url
        for url in settings.repository_allow_list
        if re.fullmatch(r"[0-9.]+", urlsplit(url).hostname or "")
    ]
    return targets([downloads, *settings.container_may_reach, *feeds])


def targets(urls: Iterable[str]) -> list[str]:
    """Return host:port of all that URLs may lead to, sorted."""
    return sorted({target for url in urls for target in fence.targets_of(url)})


def interface_settings(settings: Settings, *, has_ipv6: bool) -> dict[str, str]:
    """Return the kernel settings of a build container's network.

    With a fence there is no reverse path filter: the kernel would not answer ARP requests of the
    gateway, which the fence prohibits, and downloads would stall after some seconds. Nothing
    listens for what else comes in.
    """
    no_ipv6 = {} if has_ipv6 or not IPV6.exists() else {"net.ipv6.conf.all.disable_ipv6": "1"}
    if not _is_fenced(settings):
        return NEIGHBOURS | no_ipv6
    loose = {f"net.ipv4.conf.{name}.rp_filter": "0" for name in ("all", INTERFACE)}
    return NEIGHBOURS | no_ipv6 | loose


def _is_fenced(settings: Settings) -> bool:
    return settings.container_fence and settings.container_network != "none"


def fence_container(
    settings: Settings,
    image: str,
    container: str,
    labels: dict[str, str],
    *,
    feeds: Collection[str] = (),
    hosts: str = "",
) -> dict[str, Any]:
    """Return podman's description of the container that closes the network of another.

    `feeds` are URLs that may be reached too, except at private addresses. `hosts` is the path of
    the other's /etc/hosts, needed where CONTAINER_EGRESS is `feeds`.
    """
    lists = [",".join(words) for words in (DENIED, may_be_reached(settings), targets(feeds))]
    program = ["python3", "-I", "-S", "-c", inspect.getsource(fence)]
    # With `z`, SELinux lets both containers read and write it.
    pins = {"type": "bind", "source": hosts, "destination": str(fence.PINS), "options": ["rw", "z"]}
    return {
        **_CONFINEMENT,
        "image": image,
        "command": [*program, settings.container_egress, *lists],
        "labels": {**labels, LABEL_FENCE: "true"},
        "netns": {"nsmode": "container", "value": container},
        "mounts": [pins] if hosts else [],
    }


def close_network(api: Any, description: dict[str, Any]) -> None:
    """Run and remove a container that `fence_container` describes, through podman's HTTP client.

    Raises ContainerFailed, and the client's own errors.
    """
    created = api.post("/containers/create", data=json.dumps(description))
    created.raise_for_status()
    path = f"/containers/{created.json()['Id']}"
    try:
        api.post(f"{path}/start").raise_for_status()
        ended = api.post(
            f"{path}/wait", params={"condition": "stopped", "interval": "20ms"}, timeout=SECONDS
        )
        ended.raise_for_status()
        if int(ended.text) != 0:
            said = api.get(f"{path}/logs", params={"stdout": True, "stderr": True}).content
            log.error("a build container's network cannot be closed: %r", said[-LAST_WORDS:])
            raise ContainerFailed(reason="its network cannot be closed")
    finally:
        api.delete(path, params={"force": True, "v": True, "timeout": 0})


class Fence:
    """The fence of one build container; it does nothing where it is off or there is no network."""

    def __init__(
        self, api: Any, settings: Settings, image: str, container: str, *, labels: dict[str, str]
    ) -> None:
        self._api, self._settings = api, settings
        self._image, self._container, self._labels = image, container, labels
        self._admitted: set[str] = set()

    def close(self, feeds: Collection[str]) -> None:
        """Close the network except for `feeds` (URLs); raises as `close_network`."""
        self._admitted |= {*may_be_reached(self._settings), *targets(feeds)}
        if not _is_fenced(self._settings):
            return
        hosts = self._hosts_file() if self._settings.container_egress == "feeds" else ""
        description = fence_container(
            self._settings, self._image, self._container, self._labels, feeds=feeds, hosts=hosts
        )
        close_network(self._api, description)

    def admit(self, feeds: Collection[str]) -> None:
        """Open the network for `feeds` (URLs), too; raises as `close_network`."""
        is_new = not self._admitted.issuperset(targets(feeds))
        if is_new and self._settings.container_egress == "feeds":
            self.close(feeds)

    def _hosts_file(self) -> str:
        """Return the path of the container's /etc/hosts on this machine."""
        described = self._api.get(f"/containers/{self._container}/json")
        described.raise_for_status()
        path = str(described.json().get("HostsPath") or "")
        if not path:
            raise ContainerFailed(
                reason="podman gives it no /etc/hosts (no_hosts), "
                "which CONTAINER_EGRESS=feeds needs"
            )
        return path
