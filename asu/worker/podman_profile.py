"""The seccomp profile of build containers, as a file on podman's machine.

podman reads a profile from a path of its own machine, which may not be the worker's. So the file
lies in a podman volume, and a second one, named by the profile's hash, has the path as a label: it
is made last, and podman makes a name once. Both stay, as images do.
"""

import hashlib
import io
import json
import secrets
import tarfile
from typing import Any

from asu.errors import ContainerFailed

from .system_calls import seccomp_profile

LABEL_PATH = "asu.seccomp"
MOUNT, FILE = "/asu-profile", "profile.json"
NOT_FOUND = 404


def profile_path(api: Any, image: str) -> str:
    """Return the path of the profile, which is put there first if need be.

    `image` is any image that podman has. Raises ContainerFailed and the client's own errors.
    """
    content = seccomp_profile()
    name = f"asu-seccomp-{hashlib.sha256(content).hexdigest()[:16]}"
    known = api.get(f"/volumes/{name}/json")
    if known.status_code == NOT_FOUND:
        place = f"{name}-{secrets.token_hex(4)}"
        path = f"{_make_volume(api, place)['Mountpoint']}/{FILE}"
        _put(api, image, place, content)
        known = api.post("/volumes/create", data=_order(name, {LABEL_PATH: path}))
        if known.ok:
            return path
        api.delete(f"/volumes/{place}")  # Another worker was faster.
        known = api.get(f"/volumes/{name}/json")
    known.raise_for_status()
    return str(known.json()["Labels"][LABEL_PATH])


def forget_profile(api: Any) -> None:
    """Have the profile put there again at the next build: its file may be gone."""
    name = f"asu-seccomp-{hashlib.sha256(seccomp_profile()).hexdigest()[:16]}"
    api.delete(f"/volumes/{name}")


def _order(name: str, labels: dict[str, str]) -> str:
    return json.dumps({"Name": name, "Label": labels})


def _make_volume(api: Any, name: str) -> dict[str, Any]:
    answer = api.post("/volumes/create", data=_order(name, {}))
    answer.raise_for_status()
    return dict(answer.json())


def _put(api: Any, image: str, volume: str, content: bytes) -> None:
    """Write the file through a container that is never started."""
    entry, buffer = tarfile.TarInfo(FILE), io.BytesIO()
    entry.size, entry.mode = len(content), 0o644
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(content))
    order = {
        "image": image,
        "image_volume_mode": "ignore",
        "volumes": [{"Name": volume, "Dest": MOUNT}],
    }
    created = api.post("/containers/create", data=json.dumps(order))
    created.raise_for_status()
    container = f"/containers/{created.json()['Id']}"
    try:
        done = api.put(f"{container}/archive", params={"path": MOUNT}, data=buffer.getvalue())
        if not done.ok:
            raise ContainerFailed(reason="podman did not take the seccomp profile")
    finally:
        api.delete(container, params={"force": True, "timeout": 0})
