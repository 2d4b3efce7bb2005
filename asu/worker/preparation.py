"""What a container gets before anything is made in it: feeds, keys, the first-boot script, the choice of a file system.

All of it before `make manifest`, which downloads every package: what cannot work is found in a
tenth of a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asu.errors import ContainerFailed

from . import imagebuilder
from .bounded_log import LOG_HALF
from .container import BuildContainer
from .package_managers import PackageManager
from .package_managers.admitted_feeds import admitted_feeds


@dataclass(frozen=True, slots=True)
class OwnFeeds:
    """The feeds that a request brings along, name → URL, and whether it brings any key that the package manager reads."""

    urls: Mapping[str, str]
    has_keys: bool


def prepare(
    container: BuildContainer, request: Mapping[str, Any], manager: PackageManager, *, deadline: int
) -> OwnFeeds:
    """Put all that a request brings along into its container; return its feeds.

    Each command of it gets `deadline` seconds. Raises UnknownFilesystem, BuildFailed for what must
    not reach the builder, and ContainerFailed and BuildTimeout.
    """
    feeds, keys = (
        admitted_feeds(request["repositories"]),
        manager.key_files(request["repository_keys"]),
    )
    if feeds:
        _bring_keys(container, keys, deadline)
        present = builders_feeds(container, manager, deadline)
        container.put(
            manager.repositories_path,
            manager.repositories(present, feeds, request["repositories_mode"]).encode(),
            0o644,
        )
    if request["defaults"]:
        container.put(imagebuilder.FIRST_BOOT_SCRIPT, request["defaults"].encode(), 0o755)
    if request["filesystem"]:
        _choose_filesystem(container, request["filesystem"], deadline)
    return OwnFeeds(feeds, has_keys=bool(keys))


def _bring_keys(container: BuildContainer, files: Mapping[str, bytes], deadline: int) -> None:
    """Put a request's keys beside the builder's own, which stay as they are: by those OpenWrt's feeds are trusted."""
    if not files:
        return
    present = set(
        container.run(["ls", f"{imagebuilder.BUILDER}/keys"], deadline=deadline).stdout.split()
    )
    for path, content in files.items():
        if path.rpartition("/")[2] not in present:
            container.put(path, content, 0o644)


def builders_feeds(container: BuildContainer, manager: PackageManager, deadline: int) -> str:
    """Return the list of feeds that stands in the builder; a genuine one has a dozen lines. Raises as `run`, and ContainerFailed."""
    listed = container.run(
        ["cat", f"{imagebuilder.BUILDER}/{manager.repositories_path}"], deadline=deadline
    )
    # Of a longer output the middle is dropped, and a list with a hole is not to be written back.
    if listed.exit_code or len(listed.stdout) > LOG_HALF:
        raise ContainerFailed(reason="the builder's list of feeds cannot be read")
    return listed.stdout


def _choose_filesystem(container: BuildContainer, filesystem: str, deadline: int) -> None:
    # A genuine .config is longer than what is kept of an output.
    config = container.run(
        ["grep", "^CONFIG_TARGET_ROOTFS_", f"{imagebuilder.BUILDER}/.config"], deadline=deadline
    )
    result = container.run(
        imagebuilder.filesystem_command(config.stdout, filesystem), deadline=deadline
    )
    if result.exit_code:
        raise ContainerFailed(reason="the builder's .config cannot be changed")
