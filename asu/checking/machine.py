"""Checks of what lies on the machine: podman with its network and builders, the store, the disk, the key."""

import os
import re
import shutil
from pathlib import Path

from asu.builds.capacity import MIB
from asu.errors import ContainerFailed, StoreFailed
from asu.settings import Settings
from asu.stores import open_store

from .findings import Verdict, fine, problem, warning

# A name of a container image without tag or digest: host with an optional port, then words between
# slashes.
IMAGE_NAME = re.compile(
    r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
)
STORE_ADVICE = (
    "Make the directory of STORE_PATH, and let the user of API and workers write into it."
)
LET_IN = "Run the worker as a user that may use it, or give it the group of the socket (PODMAN_SOCKET_GROUP in the compose files)."
START_PODMAN = "Start podman's service (`systemctl enable --now podman.socket`) and set CONTAINER_SOCKET_PATH to its socket."


def check_socket(path: Path) -> Verdict:
    """Say whether something may be podman's socket at all, before it is asked."""
    try:
        if path.is_socket():
            return (
                fine(f"{path} is a socket")
                if os.access(path, os.R_OK | os.W_OK)
                else problem(f"{path} is closed to this user", LET_IN)
            )
    except OSError as error:
        return problem(f"{path} cannot be looked at ({error.strerror})", LET_IN)
    return problem(
        f"{path} is not a socket" if path.exists() else f"there is no {path}", START_PODMAN
    )


def judge_podman(settings: Settings) -> Verdict:
    """Say whether podman answers at its socket."""
    found = check_socket(settings.container_socket_path)
    if found.advice:
        return found
    from asu.worker.podman_condition import read_podman_condition  # noqa: PLC0415  # Only a worker's machine needs podman's library.

    try:
        return fine(f"podman {read_podman_condition(settings).version} answers")
    except ContainerFailed:
        return problem(f"podman does not answer at {settings.container_socket_path}", START_PODMAN)


def check_network(settings: Settings) -> Verdict:
    """Say whether the network of the build containers exists."""
    name = settings.container_network
    if name == "none":
        return warning(
            "containers have no network",
            "Builders need one to fetch packages, unless they hold all of them: set CONTAINER_NETWORK.",
        )
    from asu.worker.podman_condition import read_podman_condition  # noqa: PLC0415

    try:
        networks = read_podman_condition(settings).networks
    except ContainerFailed:
        return problem("not known, since podman does not answer", "See podman.")
    if name in networks:
        return fine(f"{name} exists")
    return problem(
        f"podman has no network {name}",
        f"Make it, `podman network create {name}`, or name another in CONTAINER_NETWORK.",
    )


def check_builders(settings: Settings) -> Verdict:
    """Say whether there are ImageBuilders, or where they would come from; nothing is pulled."""
    base = settings.base_container
    if IMAGE_NAME.fullmatch(base) is None:
        return problem(
            f"{base} is no name of container images",
            "Set BASE_CONTAINER to such as ghcr.io/openwrt/imagebuilder, without a tag.",
        )
    from asu.worker.podman_condition import read_podman_condition  # noqa: PLC0415

    try:
        builders = read_podman_condition(settings).builders
    except ContainerFailed:
        return problem("not known, since podman does not answer", "See podman.")
    if builders:
        return fine(f"{len(builders)} of {base} at hand")
    if settings.pull_policy == "never" or base.startswith("localhost/"):
        return problem(
            f"none of {base} is at hand, and none will be pulled",
            "Pull or make them, or set PULL_POLICY=missing and a name with registry.",
        )
    return fine(f"none of {base} is at hand; the first build of a target pulls it")


def check_store(settings: Settings) -> Verdict:
    """Say whether images can be put into the store."""
    path = settings.store_path.absolute()
    # Opening it would make it, for the user of this command, whom the services may not be; so only
    # a bucket is asked then.
    if not path.exists():
        above = next(parent for parent in path.parents if parent.exists())
        if not above.is_dir():
            return problem(f"{path} cannot be made: {above} is no directory", STORE_ADVICE)
    try:
        if path.exists():
            open_store(settings).probe()
        else:
            if settings.s3_bucket:
                open_store(settings).reach()
            return warning(f"there is no {path} yet", STORE_ADVICE)
    except StoreFailed as error:
        if settings.s3_bucket:
            return problem(
                error.detail,
                "Compare S3_BUCKET, S3_ENDPOINT_URL and the key's rights: to list the bucket, get, put and delete objects.",
            )
        return problem(error.detail, STORE_ADVICE)
    return fine(
        f"bucket {settings.s3_bucket} can be written"
        if settings.s3_bucket
        else f"{settings.store_path} can be written"
    )


def check_disk(settings: Settings) -> Verdict:
    """Say whether the disk has its reserve, where images are gathered."""
    path = next(
        (
            parent
            for parent in (settings.store_path.absolute(), *settings.store_path.absolute().parents)
            if parent.is_dir()
        ),
        Path("/"),
    )
    free = shutil.disk_usage(path).free // MIB
    if free >= settings.disk_reserve_mb:
        return fine(f"{free} MiB free")
    advice = "New builds are refused. Free some, set STORE_BUDGET_MB, shorten BUILD_TTL, or lower DISK_RESERVE_MB."
    return problem(
        f"{free} MiB free, less than the reserve of {settings.disk_reserve_mb} MiB", advice
    )


def check_key(settings: Settings) -> Verdict:
    """Say whether images can be signed, where they are to be."""
    if settings.build_key is None:
        return fine("images are not signed")
    from asu.keys.usign import UnusableKey  # noqa: PLC0415
    from asu.worker.signing import read_signer  # noqa: PLC0415  # Without a key nobody needs the library for it.

    try:
        read_signer(settings.build_key)
    except UnusableKey as error:
        return problem(
            str(error), "Make a key with `asu key PATH`, and let the worker's user read it."
        )
    return fine(f"images are signed with {settings.build_key}")


def check_audit(settings: Settings) -> Verdict:
    """Say whether a worker with this user's rights could add to the audit log, where there is to be one; nothing is written."""
    path = settings.audit_log
    if path is None:
        return fine("builds are not written down")
    if path.is_symlink() or not (
        os.access(path, os.R_OK | os.W_OK)
        if path.exists()
        else os.access(path.parent, os.W_OK | os.X_OK)
    ):
        return problem(
            f"{path} cannot be written",
            "Make its directory, and let the worker's user read and write the file, which may be no link.",
        )
    return fine(f"builds are written down in {path}")
