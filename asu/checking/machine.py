"""Checks of this machine: podman, its network and ImageBuilders, store, disk, key, audit log."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from asu.disk_space import MIB, free_bytes
from asu.errors import ContainerFailed, StoreFailed
from asu.settings import Settings
from asu.stores import open_store

from .findings import Finding, fine, problem, warning

if TYPE_CHECKING:
    from asu.worker.podman_condition import PodmanCondition

# A container image's name without tag or digest: host, optional port, words between slashes.
IMAGE_NAME = re.compile(
    r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
)
STORE_ADVICE = "Make the directory of STORE_PATH, and let the user of API and workers write to it."
BUCKET_ADVICE = (
    "Compare S3_BUCKET, S3_ENDPOINT_URL and the rights of the key: list the bucket; get, put and "
    "delete objects."
)
LET_IN = (
    "Run the worker as a user that may use the socket, or give it the socket's group "
    "(PODMAN_SOCKET_GROUP in the compose files)."
)
START_PODMAN = (
    "Start podman's service (`systemctl enable --now podman.socket`) and set CONTAINER_SOCKET_PATH "
    "to its socket."
)
NO_PODMAN = problem("not known, because podman does not answer", "See the check `podman`.")


def check_socket(path: Path) -> Finding:
    """Say whether a path can be podman's socket."""
    try:
        if path.is_socket():
            if os.access(path, os.R_OK | os.W_OK):
                return fine(f"{path} is a socket")
            return problem(f"{path} is closed to this user", LET_IN)
    except OSError as error:
        return problem(f"{path} cannot be looked at ({error.strerror})", LET_IN)
    said = f"{path} is not a socket" if path.exists() else f"there is no {path}"
    return problem(said, START_PODMAN)


def judge_podman(settings: Settings) -> Finding:
    """Say whether podman answers at its socket."""
    found = check_socket(settings.container_socket_path)
    if found.advice:
        return found
    if condition := _podman(settings):
        return fine(f"podman {condition.version} answers")
    return problem(f"podman does not answer at {settings.container_socket_path}", START_PODMAN)


def _podman(settings: Settings) -> "PodmanCondition | None":
    # Only a worker's machine needs podman's library.
    from asu.worker.podman_condition import read_podman_condition  # noqa: PLC0415

    try:
        return read_podman_condition(settings)
    except ContainerFailed:
        return None


def check_network(settings: Settings) -> Finding:
    """Say whether networks for builds can be made after an example, and are steady."""
    name = settings.container_network
    if name == "none":
        return warning(
            "containers have no network",
            "ImageBuilders fetch packages over it, unless they hold all: set CONTAINER_NETWORK.",
        )
    if (condition := _podman(settings)) is None:
        return NO_PODMAN
    return judge_network(name, condition)


def judge_network(name: str, condition: "PodmanCondition") -> Finding:
    """Say whether podman has the network, and whether bridges keep their hardware addresses."""
    netavark = f"netavark {condition.netavark or 'of an unknown version'}"
    if name not in condition.networks:
        return problem(
            f"podman has no network {name}",
            f"Create it with `podman network create {name}`, or name another in CONTAINER_NETWORK.",
        )
    if bridges := ", ".join(condition.unsteady):
        return warning(
            f"{bridges} gets another hardware address when one of its containers comes or goes "
            f"(addr_assign_type 1, {netavark}); the others lose packets for up to a minute",
            "Upgrade netavark to 1.9 or newer, or set the address: `ip link set dev "
            f"{condition.unsteady[0]} address 02:00:00:00:00:01`; each bridge needs its own.",
        )
    return fine(f"each worker makes its own like {name}, by {netavark}")


def check_builders(settings: Settings) -> Finding:
    """Say whether there are ImageBuilders, or where they would come from; nothing is pulled."""
    base = settings.base_container
    if IMAGE_NAME.fullmatch(base) is None:
        return problem(
            f'BASE_CONTAINER "{base}" is not the name of a container image',
            "Set it to a name without a tag, such as ghcr.io/openwrt/imagebuilder.",
        )
    if (condition := _podman(settings)) is None:
        return NO_PODMAN
    if condition.builders:
        return fine(f"{len(condition.builders)} of {base} at hand")
    if settings.pull_policy == "never" or base.startswith("localhost/"):
        return problem(
            f"none of {base} is at hand, and none will be pulled",
            "Pull or build them, or set PULL_POLICY=missing and a name with a registry.",
        )
    return fine(f"none of {base} is at hand; the first build of a target pulls it")


def check_store(settings: Settings) -> Finding:
    """Say whether images can be put into the store."""
    path, bucket = settings.store_path.absolute(), settings.s3_bucket
    above = next(each for each in (path, *path.parents) if each.exists())
    if not above.is_dir():
        return problem(f"{path} cannot be made: {above} is not a directory", STORE_ADVICE)
    try:
        if above == path:
            open_store(settings).probe()
        elif bucket:
            open_store(settings).reach()
    except StoreFailed as error:
        return problem(error.detail, BUCKET_ADVICE if bucket else STORE_ADVICE)
    # Opening a local store would make its directory for the user of this command, not the services.
    if above != path:
        return warning(f"there is no {path} yet", STORE_ADVICE)
    return fine(f"bucket {bucket} can be written" if bucket else f"{path} can be written")


def check_disk(settings: Settings) -> Finding:
    """Say whether the disk where images are gathered has its reserve."""
    path = settings.store_path.absolute()
    there = next((each for each in (path, *path.parents) if each.is_dir()), Path("/"))
    free = (free_bytes(there) or 0) // MIB
    if free >= settings.disk_reserve_mb:
        return fine(f"{free} MiB free")
    return problem(
        f"{free} MiB free, or as few inodes as go with that, less than the reserve of "
        f"{settings.disk_reserve_mb} MiB",
        "New builds are refused. Free some, set STORE_BUDGET_MB, shorten BUILD_TTL, or lower "
        "DISK_RESERVE_MB.",
    )


def check_key(settings: Settings) -> Finding:
    """Say whether images can be signed, if they are to be."""
    if settings.build_key is None:
        return fine("images are not signed")
    from asu.keys.usign import UnusableKey  # noqa: PLC0415
    from asu.worker.signing import read_signer  # noqa: PLC0415

    try:
        read_signer(settings.build_key)
    except UnusableKey as error:
        return problem(
            str(error), "Make a key with `asu key PATH`, and let the worker's user read it."
        )
    return fine(f"images are signed with {settings.build_key}")


def check_audit(settings: Settings) -> Finding:
    """Say whether this user could add to the audit log, if there is to be one; write nothing."""
    path = settings.audit_log
    if path is None:
        return fine("builds are not written down")
    place, rights = (path, os.R_OK) if path.exists() else (path.parent, os.X_OK)
    may_write = os.access(place, os.W_OK | rights)
    if may_write and not path.is_symlink():
        return fine(f"builds are written down in {path}")
    return problem(
        f"{path} cannot be written",
        "Make its directory, and let the worker's user read and write the file; it must not be a "
        "link.",
    )
