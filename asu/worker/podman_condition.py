"""What an operator's podman offers to a worker, for `asu check`."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podman import PodmanClient
from podman.errors import PodmanError
from requests.exceptions import RequestException

from asu.errors import ContainerFailed
from asu.settings import Settings

BY_KERNEL = "1"  # In addr_assign_type; 3 if somebody has set the address.
NETAVARK = (Path("/usr/lib/podman/netavark"), Path("/usr/libexec/podman/netavark"))
TIMEOUT = 60  # Seconds; a check ends long before, and a busy podman is not called absent.


@dataclass(frozen=True, slots=True, kw_only=True)
class PodmanCondition:
    """Its version, its networks, and the ImageBuilders of `BASE_CONTAINER` that it has.

    `netavark` is the version of what makes its networks, "" if unknown. `unsteady` are bridges on
    this machine whose hardware address changes when one of their containers comes or goes.
    """

    version: str
    netavark: str
    networks: tuple[str, ...]
    unsteady: tuple[str, ...]
    builders: tuple[str, ...]


def read_podman_condition(settings: Settings) -> PodmanCondition:
    """Ask podman at its socket; raises ContainerFailed."""
    socket = f"unix://{settings.container_socket_path.absolute()}"
    of_base = json.dumps({"reference": [f"{settings.base_container}:*"]})
    try:
        with PodmanClient(base_url=socket, timeout=TIMEOUT) as client:
            version = _read(client, "/version")["Version"]
            host = _read(client, "/info")["host"]
            networks = _read(client, "/networks/json")
            images = _read(client, "/images/json", filters=of_base)
        names = [image.get("Names") or image.get("RepoTags") or () for image in images]
        return PodmanCondition(
            version=str(version),
            netavark=str(host.get("networkBackendInfo", {}).get("version") or _own_netavark()),
            unsteady=tuple(
                network["network_interface"]
                for network in networks
                if network["name"].startswith(settings.container_network)
                and is_unsteady(Path("/sys/class/net", network.get("network_interface") or "-"))
            ),
            networks=tuple(str(network["name"]) for network in networks),
            builders=tuple(str(name) for of_image in names for name in of_image),
        )
    except (PodmanError, RequestException, OSError, KeyError, ValueError) as error:
        raise ContainerFailed(reason="podman does not answer") from error


def is_unsteady(bridge: Path) -> bool:
    """Whether the kernel gives a bridge the lowest hardware address of its several ports."""
    try:
        assigned = (bridge / "addr_assign_type").read_text().strip()
        return assigned == BY_KERNEL and len(list((bridge / "brif").iterdir())) > 1
    except OSError:  # It is another machine's, or comes with its first container.
        return False


def _own_netavark() -> str:
    """Return the version of this machine's netavark, which podman before 4.6 does not say."""
    program = next((path for path in NETAVARK if path.exists()), None)
    if program is None:
        return ""
    done = subprocess.run(  # noqa: S603  # One of two paths.
        [program, "--version"], capture_output=True, text=True, check=False
    )
    return done.stdout.split()[-1] if done.stdout else ""


def _read(client: PodmanClient, path: str, **query: str) -> Any:
    answer = client.api.get(path, params=query)
    answer.raise_for_status()
    return answer.json()
