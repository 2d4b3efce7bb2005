"""The seccomp profile reaches podman once, whoever else puts it there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from asu.worker.podman_profile import forget_profile, profile_path
from asu.worker.system_calls import seccomp_profile


@dataclass
class Answer:
    """What podman answers."""

    status_code: int
    body: Any = None

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return self.status_code < 400

    @property
    def text(self) -> str:
        """The body, as some read it."""
        return json.dumps(self.body)

    def json(self) -> Any:
        """Return the body."""
        return self.body

    def raise_for_status(self) -> None:
        """Fail a test that goes on without looking."""
        assert self.ok, self.body


@dataclass
class Podman:
    """A podman that has volumes, and a worker that makes one while another puts its file there."""

    volumes: dict[str, dict[str, str]] = field(default_factory=dict)
    written: list[bytes] = field(default_factory=list)
    rival: dict[str, dict[str, str]] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    def get(self, path: str) -> Answer:
        """Describe a volume."""
        name = path.split("/")[2]
        if name not in self.volumes:
            return Answer(404)
        return Answer(200, {"Mountpoint": f"/volumes/{name}", "Labels": self.volumes[name]})

    def post(self, path: str, *, data: str) -> Answer:
        """Make a container, or a volume, whose name must be new."""
        if path.startswith("/containers"):
            return Answer(201, {"Id": "id"})
        order = json.loads(data)
        if order["Name"] in self.volumes:
            return Answer(500, "volume already exists")
        self.volumes[order["Name"]] = order["Label"]
        return Answer(201, {"Mountpoint": f"/volumes/{order['Name']}"})

    def put(self, path: str, *, params: dict[str, str], data: bytes) -> Answer:
        """Take a file; a rival is done at this moment."""
        assert (path, params) == ("/containers/id/archive", {"path": "/asu-profile"})
        self.written.append(data)
        self.volumes |= self.rival
        return Answer(200)

    def delete(self, path: str, **_: object) -> Answer:
        """Remove a volume or a container."""
        self.removed.append(path)
        self.volumes.pop(path.split("/")[2], None)
        return Answer(204)


def test_a_profile_is_put_there_once() -> None:
    """Later builds only look where it is; its container is removed."""
    podman = Podman()
    path = profile_path(podman, "image")

    assert profile_path(podman, "image") == path
    assert len(podman.written) == 1
    assert seccomp_profile() in podman.written[0]
    assert podman.removed == ["/containers/id"]


def test_the_first_of_two_workers_wins() -> None:
    """The other removes its own file, and nobody reads one that is written halfway."""
    first = Podman()
    profile_path(first, "image")
    [marker] = [{name: labels} for name, labels in first.volumes.items() if labels]
    second = Podman(rival=marker)

    path = profile_path(second, "image")

    assert path == next(iter(marker.values()))["asu.seccomp"]
    assert set(second.volumes) == set(marker)


def test_a_profile_that_is_gone_is_put_there_again() -> None:
    """An operator may have pruned the volume with the file alone."""
    podman = Podman()
    gone = profile_path(podman, "image")
    forget_profile(podman)

    assert profile_path(podman, "image") != gone
    assert len(podman.written) == 2
