"""The second step: put what the request brings into the container.

It comes before `make manifest`, which downloads every package, so errors are found early.
"""

from collections.abc import Mapping
from dataclasses import replace

from asu.errors import ContainerFailed

from . import imagebuilder
from .build_run import BuildRun
from .package_managers import OwnFeeds, own_urls


def prepare(run: BuildRun) -> BuildRun:
    """Put all that a request brings along into its container.

    Raises UnknownFilesystem, BuildFailed for what must not reach the builder, ContainerFailed and
    BuildTimeout.
    """
    request, manager = run.request, run.manager
    feeds, keys = own_urls(request["repositories"]), manager.key_files(request["repository_keys"])
    # A genuine list has a dozen lines, a genuine Makefile 400.
    paths = [f"{imagebuilder.BUILDER}/{name}" for name in (manager.repositories_path, "Makefile")]
    listed, makefile = run.read_files(paths, "the builder's list of feeds cannot be read")
    if run.was_fetched:
        # setup.sh has checked the builder's signature, and nothing of the request is in the
        # container yet: these are the builder's own feeds.
        run.container.admit(manager.feeds(listed).values())
    if feeds:
        _put_keys(run, keys)
        listed = manager.repositories(listed, feeds, request["repositories_mode"])
        run.container.put(manager.repositories_path, listed.encode(), 0o644)
    if request["defaults"]:
        run.container.put(imagebuilder.FIRST_BOOT_SCRIPT, request["defaults"].encode(), 0o755)
    if request["filesystem"]:
        _choose_filesystem(run, request["filesystem"])
    return replace(
        run,
        own_feeds=OwnFeeds(feeds, has_keys=bool(keys)),
        feed_list=listed,
        can_resume=imagebuilder.can_resume(makefile),
    )


def _put_keys(run: BuildRun, files: Mapping[str, bytes]) -> None:
    """Put a request's keys beside the builder's own, which are never replaced."""
    if not files:
        return
    present = set(run.look(["ls", f"{imagebuilder.BUILDER}/keys"]).stdout.split())
    for path, content in files.items():
        if path.rpartition("/")[2] not in present:
            run.container.put(path, content, 0o644)


def _choose_filesystem(run: BuildRun, filesystem: str) -> None:
    # A genuine .config is longer than what is kept of an output.
    config = run.look(["grep", "^CONFIG_TARGET_ROOTFS_", f"{imagebuilder.BUILDER}/.config"])
    result = run.look(imagebuilder.filesystem_command(config.stdout, filesystem))
    if result.exit_code:
        raise ContainerFailed(reason="the builder's .config cannot be changed")
