"""What an operator's podman offers to a worker, for `asu check`."""

import json
from dataclasses import dataclass
from typing import Any

from podman import PodmanClient
from podman.errors import PodmanError
from requests.exceptions import RequestException

from asu.errors import ContainerFailed
from asu.settings import Settings

TIMEOUT = 60  # Seconds; a check ends long before, and a busy podman is not called absent.


@dataclass(frozen=True, slots=True, kw_only=True)
class PodmanCondition:
    """Its version, its networks, and the ImageBuilders of `BASE_CONTAINER` that it has."""

    version: str
    networks: tuple[str, ...]
    builders: tuple[str, ...]


def read_podman_condition(settings: Settings) -> PodmanCondition:
    """Ask podman at its socket; raises ContainerFailed."""
    socket = f"unix://{settings.container_socket_path.absolute()}"
    of_base = json.dumps({"reference": [f"{settings.base_container}:*"]})
    try:
        with PodmanClient(base_url=socket, timeout=TIMEOUT) as client:
            version = _read(client, "/version")["Version"]
            networks = _read(client, "/networks/json")
            images = _read(client, "/images/json", filters=of_base)
        names = [image.get("Names") or image.get("RepoTags") or () for image in images]
        return PodmanCondition(
            version=str(version),
            networks=tuple(str(network["name"]) for network in networks),
            builders=tuple(str(name) for of_image in names for name in of_image),
        )
    except (PodmanError, RequestException, OSError, KeyError, ValueError) as error:
        raise ContainerFailed(reason="podman does not answer") from error


def _read(client: PodmanClient, path: str, **query: str) -> Any:
    answer = client.api.get(path, params=query)
    answer.raise_for_status()
    return answer.json()
