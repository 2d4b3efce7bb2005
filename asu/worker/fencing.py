"""Which servers a build container can reach, and how: a second container beside it, that closes its network and ends.

A build runs what package authors and feeds of users brought, so it may speak to the servers that it
fetches packages from, and to nothing else: no Redis, no API, no neighbour, no metadata service of a
cloud, and no server or name server of somebody who would like to hear from it. podman 4 cannot
filter what its networks let out, and a host's firewall is not a worker's to set. But the network
namespace of a container has rules of its own (`ip rule`), and whoever may set them is a matter of
capabilities: the container beside has CAP_NET_ADMIN in that namespace and nothing else, no disk to
write on but the build's /etc/hosts, and runs before the build does anything; the build has no
capability to take them away.
"""

import inspect
import json
import logging
import re
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

from asu.errors import ContainerFailed
from asu.settings import Settings

from .inside import fence

log = logging.getLogger(__name__)

# Tells it from the build whose labels it bears besides, so that whoever tidies removes both.
LABEL_FENCE = "asu.fence"
LAST_WORDS = 500  # Bytes of what the container said, for our own log.
# For the whole fence; it takes a third of one, and five more where podman's name server loses a
# question.
SECONDS = 30
INTERFACE = "eth0"  # As podman names the first, and only, one of a container.
# It looks up all names at once: a request brings sixteen feeds at most, and a builder six.
PIDS = 64
# What nobody on the internet has: IANA's registries of special addresses. What is the namespace's
# own (127.0.0.0/8, ::1) stays.
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
    "64:ff9b::/96",  # Private IPv4 addresses in the dress of IPv6, as 2002::/16.
    "64:ff9b:1::/48",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",  # Site-local, which no new network has and old ones may.
    "ff00::/8",
)


def may_be_reached(settings: Settings) -> list[str]:
    """Return host:port of the servers that builds need wherever they are: the downloads server, and what the operator names.

    That includes admitted feeds at an address in numbers. One with a name may belong to somebody
    else, who could let it lead anywhere: whether it may lead to a private address is for
    `CONTAINER_MAY_REACH` to say.
    """
    feeds = [
        url
        for url in settings.repository_allow_list
        if re.fullmatch(r"[0-9.]+", urlsplit(url).hostname or "")
    ]
    urls = (
        settings.builder_upstream_url or settings.upstream_url,
        *settings.container_may_reach,
        *feeds,
    )
    return targets(urls)


def targets(urls: Iterable[str]) -> list[str]:
    """Return host:port of all that URLs may lead to, sorted; those into the container's own files lead to nothing."""
    return sorted({target for url in urls for target in fence.targets_of(url)})


def loose_interface(settings: Settings) -> dict[str, str]:
    """Return what the kernel is told of the interface of a container that is to be fenced in.

    Before it answers who asks for the container's hardware address, it looks for the way back to
    whoever asks, unless its reverse path filter is off; most distributions have it on. The one who
    asks is the gateway, a neighbour that the fence prohibits: after some seconds without an answer
    it would know the container no more, and a download stall. Nothing is lost with the filter: what
    comes in is an answer, or finds nobody who listens.
    """
    if not settings.container_fence or settings.container_network == "none":
        return {}
    return {f"net.ipv4.conf.{name}.rp_filter": "0" for name in ("all", INTERFACE)}


def fence_container(
    settings: Settings,
    image: str,
    container: str,
    labels: dict[str, str],
    *,
    feeds: Collection[str] = (),
    hosts: str = "",
) -> dict[str, Any]:
    """Return podman's description of the container that fences in the network of another.

    `feeds` are URLs that may be reached too, unless they lead to a private address; `hosts` is the
    other's /etc/hosts, as podman knows it, and needed where CONTAINER_EGRESS is `feeds`.
    """
    lists = [",".join(words) for words in (DENIED, may_be_reached(settings), targets(feeds))]
    return {
        "image": image,
        "command": [
            "python3",
            "-I",
            "-S",
            "-c",
            inspect.getsource(fence),
            settings.container_egress,
            *lists,
        ],
        "labels": {**labels, LABEL_FENCE: "true"},
        "netns": {"nsmode": "container", "value": container},
        "user": "0",  # A user without capabilities of its own could not use the one it is given.
        "cap_drop": ["all"],
        "cap_add": ["NET_ADMIN"],
        "no_new_privileges": True,
        "read_only_filesystem": True,
        "image_volume_mode": "ignore",
        # `z` lets both read and write it where SELinux tells containers apart.
        "mounts": [
            {
                "type": "bind",
                "source": hosts,
                "destination": str(fence.PINS),
                "options": ["rw", "z"],
            }
        ]
        if hosts
        else [],
        "resource_limits": {"pids": {"limit": PIDS}, "memory": {"limit": 128 * 1024 * 1024}},
    }


def close_network(api: Any, description: dict[str, Any]) -> None:
    """Run a container as `fence_container` describes it, through podman's HTTP client, and remove it.

    Raises ContainerFailed, and the client's own errors: a build without its fence is none.
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
            said = api.get(f"{path}/logs", params={"stdout": True, "stderr": True}).content[
                -LAST_WORDS:
            ]
            log.error("a build container's network cannot be fenced in: %r", said)
            raise ContainerFailed(reason="its network cannot be closed")
    finally:
        api.delete(path, params={"force": True, "v": True, "timeout": 0})


class Fence:
    """The fence of one build container, that runs already; without one where the settings say so, or there is no network."""

    def __init__(
        self, api: Any, settings: Settings, *, image: str, container: str, labels: dict[str, str]
    ) -> None:
        self._api, self._settings, self._image, self._container, self._labels = (
            api,
            settings,
            image,
            container,
            labels,
        )
        self._admitted: set[str] = set()

    def close(self, feeds: Collection[str]) -> None:
        """Put it up, with a way to `feeds`, URLs; raises as `close_network`."""
        self._admitted |= {*may_be_reached(self._settings), *targets(feeds)}
        if not self._settings.container_fence or self._settings.container_network == "none":
            return
        hosts = self._hosts_file() if self._settings.container_egress == "feeds" else ""
        close_network(
            self._api,
            fence_container(
                self._settings, self._image, self._container, self._labels, feeds=feeds, hosts=hosts
            ),
        )

    def admit(self, feeds: Collection[str]) -> None:
        """Open a way to `feeds`, URLs, too, where there is none; raises as `close_network`."""
        if self._settings.container_egress == "feeds" and not self._admitted.issuperset(
            targets(feeds)
        ):
            self.close(feeds)

    def _hosts_file(self) -> str:
        """Return where podman keeps the container's /etc/hosts."""
        described = self._api.get(f"/containers/{self._container}/json")
        described.raise_for_status()
        path = str(described.json().get("HostsPath") or "")
        if not path:
            raise ContainerFailed(
                reason="podman gives it no /etc/hosts (no_hosts), which CONTAINER_EGRESS=feeds needs"
            )
        return path
