"""Makes the containers of builds with podman.

Nothing is mounted and nothing secret is inside. Before anything runs, the network is closed except
for the way to the feeds (`fencing.py`).
"""

import contextlib
import json
import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from podman import PodmanClient
from podman.domain.containers import Container
from podman.errors import PodmanError
from requests.exceptions import RequestException
from typing_extensions import override

from asu.errors import AsuError, ContainerFailed
from asu.settings import Settings

from .builder_image import BuilderImage, pull
from .container import BuildContainer, ContainerEngine
from .fencing import Fence, interface_settings
from .podman_container import API_TIMEOUT, PodmanContainer, podman_answers
from .podman_network import LABEL_SYSTEM, BuildNetwork, remove_networks
from .podman_profile import forget_profile, profile_path

log = logging.getLogger(__name__)

LABEL_KEY, LABEL_ATTEMPT = "asu.build", "asu.attempt"
CPU_PERIOD = 100_000


class PodmanEngine(ContainerEngine):
    """podman, through its service's socket; builds are in the network of `worker` (its name)."""

    def __init__(self, settings: Settings, *, system: str, worker: str = "") -> None:
        self._settings, self._system = settings, system
        self._socket = f"unix://{settings.container_socket_path.absolute()}"
        self._client = PodmanClient(base_url=self._socket, timeout=API_TIMEOUT)
        api = self._client.api
        self._network = BuildNetwork(api, settings, system=system, worker=worker)

    @override
    def pin(self, image: BuilderImage) -> BuilderImage:
        with podman_answers("look at the ImageBuilder's image"):
            is_current = self._ensure_image(image)
            response = self._client.api.get(f"/images/{quote(image.name, safe='')}/json")
            response.raise_for_status()
            found = response.json()
            return replace(
                image, id=str(found["Id"]), digest=str(found["Digest"]), may_be_old=not is_current
            )

    @override
    def start(
        self, image: BuilderImage, *, key: str, attempt: int, feeds: Collection[str] = ()
    ) -> BuildContainer:
        pinned = image if image.id else self.pin(image)
        with podman_answers("start a build container"):
            labels = {LABEL_SYSTEM: self._system, LABEL_KEY: key, LABEL_ATTEMPT: str(attempt)}
            created = self._create(pinned.id, labels)
            fence = Fence(
                self._client.api, self._settings, pinned.id, str(created.id), labels=labels
            )
            container = PodmanContainer(self._client, created, socket=self._socket, fence=fence)
            try:
                created.start()
                fence.close(feeds)
            except BaseException:
                container.remove()
                raise
            return container

    @override
    def leftovers(self) -> list[tuple[str, int, BuildContainer]]:
        with podman_answers("list the build containers"):
            query = {"all": True, "filters": json.dumps({"label": [LABEL_SYSTEM]})}
            response = self._client.api.get("/containers/json", params=query)
            response.raise_for_status()
            found: list[tuple[str, int, BuildContainer]] = []
            for entry in response.json():
                labels, model = entry["Labels"], self._client.containers.prepare_model(attrs=entry)
                system, _, rebuild = labels[LABEL_SYSTEM].partition("/")
                if system == self._system and (not rebuild or entry["State"] == "exited"):
                    container = PodmanContainer(self._client, model, socket=self._socket)
                    found.append(
                        (labels[LABEL_KEY], int(labels.get(LABEL_ATTEMPT) or 0), container)
                    )
            return found

    @override
    def remove_networks(self, alive: Collection[str]) -> None:
        with podman_answers("remove the networks of workers that ended"):
            remove_networks(self._client.api, self._system, alive)

    @override
    def remove_network(self) -> None:
        with contextlib.suppress(ContainerFailed), podman_answers("remove a worker's network"):
            self._network.remove()

    def _create(self, image: str, labels: dict[str, str]) -> Container:
        confinement = {**_confinement(self._settings), **self._connection()}
        path = profile_path(self._client.api, image)
        try:
            return self._client.containers.create(
                image, labels=labels, seccomp_profile_path=path, **confinement
            )
        except PodmanError as error:
            if "seccomp" in str(error):
                forget_profile(self._client.api)
            raise

    def _connection(self) -> dict[str, Any]:
        """Return what a build container's network is made with, as podman-py names it."""
        if self._settings.container_network == "none":
            return {"network_mode": "none"}
        sysctls = interface_settings(self._settings, has_ipv6=self._network.prepare())
        return {
            "network_mode": "bridge",
            "networks": {self._network.name: {}},
            "sysctls": sysctls,
        }

    @override
    def close(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]  # podman-py leaves it untyped.

    def _ensure_image(self, image: BuilderImage) -> bool:
        """Pull the image where the policy says so; return whether the copy is surely current."""
        policy = self._policy(image)
        exists = self._client.images.exists(image.name)
        if policy == "never" or (policy == "missing" and exists):
            if not exists:
                raise image.missing()
            return policy == "missing" or not image.is_moving
        # podman's own policy `newer` hides that a pull failed if there is a copy. Layers that are
        # there are not fetched again.
        policy = "always" if policy == "newer" else policy
        deadline = self._settings.pull_deadline
        try:
            pull(lambda: self._ask_for(image, policy), image, deadline=deadline)
        except AsuError as error:
            if not exists:
                raise
            log.warning("%s is not pulled, the copy at hand is used: %s", image.name, error.detail)
            return False
        return True

    def _policy(self, image: BuilderImage) -> str:
        policy = self._settings.pull_policy
        if policy == "never" or image.name.startswith("localhost/"):
            return "never"  # `localhost/` has no registry behind it.
        return "newer" if image.is_moving else policy

    def _ask_for(self, image: BuilderImage, policy: str) -> str:
        """Return podman's whole answer to a pull, or an error in its form.

        The connection is its own, since it may be left behind. It gives up after the deadline of
        `pull`, so that the error is always that of `pull`.
        """
        timeout = self._settings.pull_deadline + API_TIMEOUT
        wanted = {"reference": image.name, "policy": policy, "quiet": True}
        try:
            with PodmanClient(base_url=self._socket, timeout=timeout) as client:
                return str(client.api.post("/images/pull", params=wanted).text)
        except (PodmanError, RequestException, OSError) as error:
            return json.dumps({"error": f"podman does not answer ({type(error).__name__})"})


def _confinement(settings: Settings) -> dict[str, Any]:
    """Return what each build container is made with, as podman-py names it."""
    memory = f"{settings.container_memory_mb}m"
    return {
        "command": ["sleep", str(settings.build_deadline)],
        "cap_drop": ["all"],
        "no_new_privileges": True,
        "image_volume_mode": "ignore",
        "pids_limit": settings.container_pids,
        "mem_limit": memory,
        "memswap_limit": memory,
        "cpu_period": CPU_PERIOD,
        "cpu_quota": int(settings.container_cpus * CPU_PERIOD),
    }
