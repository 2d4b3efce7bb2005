"""The podman network of one worker's builds, so no two builds share one.

It is made after the example of CONTAINER_NETWORK, before a build that does not find it, and removed
when its worker ends. One build at a time also keeps the hardware address of its bridge:
netavark before 1.9 changes that whenever a container comes or goes.
"""

import json
from collections.abc import Collection
from typing import Any
from urllib.parse import quote

from asu.settings import Settings

LABEL_SYSTEM, LABEL_WORKER = "asu.system", "asu.worker"
# Of networks that podman keeps apart, none reaches the other.
WITHOUT_EXAMPLE = {"driver": "bridge", "dns_enabled": True, "options": {"isolate": "true"}}
COPIED = ("driver", "dns_enabled", "ipv6_enabled", "internal", "options")


class BuildNetwork:
    """The network of `worker`; without one the network that the settings name, and nothing is made.

    Methods raise the errors of podman's HTTP client.
    """

    def __init__(self, api: Any, settings: Settings, *, system: str, worker: str) -> None:
        self._api, self._example, self._worker = api, settings.container_network, worker
        self._labels = {LABEL_SYSTEM: system, LABEL_WORKER: worker}
        self.name = f"{self._example}-{worker}" if worker else self._example

    def prepare(self) -> bool:
        """Make the network unless it is there; return whether it has IPv6."""
        found = self._described(self.name)
        if found is None and self._worker:
            example = self._described(self._example) or WITHOUT_EXAMPLE
            wanted = {name: example[name] for name in COPIED if name in example}
            order = {"name": self.name, "labels": self._labels, **wanted}
            answer = self._api.post("/networks/create", data=json.dumps(order))
            answer.raise_for_status()
            found = answer.json()
        return bool((found or {}).get("ipv6_enabled"))

    def remove(self) -> None:
        """Remove the worker's network unless a container uses it."""
        if self._worker:
            self._api.delete(f"/networks/{quote(self.name, safe='')}")

    def _described(self, name: str) -> dict[str, Any] | None:
        answer = self._api.get(f"/networks/{quote(name, safe='')}/json")
        if answer.status_code == 404:  # noqa: PLR2004
            return None
        answer.raise_for_status()
        return dict(answer.json())


def remove_networks(api: Any, system: str, alive: Collection[str]) -> None:
    """Remove the networks of a system's workers that are not alive; podman keeps those in use."""
    answer = api.get("/networks/json", params={"filters": json.dumps({"label": [LABEL_WORKER]})})
    answer.raise_for_status()
    for network in answer.json():
        labels = network["labels"]
        if labels[LABEL_SYSTEM].partition("/")[0] == system and labels[LABEL_WORKER] not in alive:
            api.delete(f"/networks/{quote(network['name'], safe='')}")
