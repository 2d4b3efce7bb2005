"""One attempt at a build, as one value that is handed from step to step."""

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asu.disk_space import expect_disk_space
from asu.errors import BuildTimeout, ContainerFailed
from asu.provenance.statement import Feed
from asu.records.build_plan import explained_packages
from asu.records.build_record import Attempt
from asu.resolution import Version
from asu.settings import Settings

from . import builder_failures
from .builder_image import BuilderImage, builder_image
from .container import (
    LOG_HALF,
    BuildContainer,
    CommandResult,
    ContainerEngine,
    Listener,
    ignored,
)
from .interpreting import time_limited, with_short_lines
from .package_managers import NO_FEEDS, OwnFeeds, PackageManager, own_urls, package_manager_for
from .progress import Progress

_HEADING = re.compile(r"^==> .* <==\n", re.MULTILINE)  # As tail prints it before each file.


class Superseded(Exception):
    """Another attempt is the current one; what this one has is worth nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRun:
    """An attempt whose container runs; each step returns it with what the step has found out.

    Only `progress` grows in place: pollers see it, and a failure keeps what it holds by then.
    """

    attempt: Attempt
    settings: Settings
    progress: Progress
    show: Callable[[str], None]  # Shows pollers the step that begins; raises Superseded.
    image: BuilderImage
    container: BuildContainer
    manager: PackageManager
    heard: Listener = ignored  # Gets what long commands print.
    was_fetched: bool = False  # By setup.sh, so nobody knew its feeds when the container started.
    revision: str = ""  # Of the ImageBuilder.
    titles: tuple[str, ...] = ()  # The device's names, from before any package was there.
    packages: tuple[str, ...] = ()  # For make: names to add, `-name` to remove.
    own_feeds: OwnFeeds = NO_FEEDS
    feed_list: str = ""  # The builder's list of feeds, with those of the request.
    can_resume: bool = False  # Whether `make image` can go on after `make manifest`.
    feeds: tuple[Feed, ...] = ()  # All that packages came from, with the hashes of their indexes.

    @property
    def request(self) -> Mapping[str, Any]:
        """The resolved request."""
        request: Mapping[str, Any] = self.attempt.plan["request"]
        return request

    def make(self, step: str, command: Sequence[str], *, deadline: int) -> CommandResult:
        """Run one of the builder's long commands; its seconds go under `make_seconds`."""
        began = time.monotonic()
        # `make info` prints all profiles of the target, which nobody wants to read.
        heard = ignored if step == "info" else self.heard
        try:
            feeds = self.own_feeds.urls
            stop_at = self.manager.refusal_of(feeds) if feeds else ""
            result = self.container.run(command, deadline=deadline, heard=heard, stop_at=stop_at)
        except BuildTimeout as error:
            # People know the builder's own words, whatever part of `make image` is run.
            name = "setup.sh" if step == "setup" else f"make {step}"
            late = BuildTimeout(step=name, seconds=deadline)
            raise late.after(error.stdout, error.stderr) from error
        seconds = self.progress.gathered.setdefault("make_seconds", {})
        seconds[step] = round(time.monotonic() - began, 3)
        return result

    def check(self, result: CommandResult) -> None:
        """Raise the error that the outcome of a make command means, unless it did its work."""
        selection = builder_failures.Selection(
            self.packages, explained_packages(self.attempt.plan), self.own_feeds
        )
        with time_limited():
            builder_failures.check(with_short_lines(result), self.manager, selection)

    def look(self, command: Sequence[str]) -> CommandResult:
        """Run a small command that reads or changes the builder's files."""
        return self.container.run(command, deadline=self.settings.info_deadline)

    def read(self, command: Sequence[str], what: str) -> str:
        """Return the whole output of a small command.

        Raises ContainerFailed, which names `what` was to be read, when the command fails or prints
        more than a genuine builder: the middle of a longer output is missing.
        """
        result = self.look(command)
        if result.exit_code or len(result.stdout) > LOG_HALF:
            raise ContainerFailed(reason=what)
        return result.stdout

    def read_files(self, paths: Sequence[str], what: str) -> list[str]:
        """Return the texts of some of the builder's files with one command; raises as `read`."""
        texts = _HEADING.split(self.read(["tail", "-v", "-n", "+1", *paths], what))[1:]
        if len(texts) != len(paths):
            raise ContainerFailed(reason=what)
        # An empty line stands before each heading but the first.
        return [*(text.removesuffix("\n") for text in texts[:-1]), texts[-1]]


def start_run(
    attempt: Attempt,
    settings: Settings,
    progress: Progress,
    *,
    show: Callable[[str], None],
    engine: Callable[[], ContainerEngine],
    aftermath: contextlib.ExitStack,
) -> BuildRun:
    """Start the container of a build; `aftermath` removes it.

    Raises DiskFull, ImageBuilderMissing, ContainerFailed, BuildTimeout, and BuildFailed for a
    malformed feed.
    """
    request = attempt.plan["request"]
    show("container_setup")
    expect_disk_space(settings.store_path, settings.disk_reserve_mb)
    try:
        opened = aftermath.enter_context(contextlib.closing(engine()))
    except Exception as error:
        raise ContainerFailed(reason="podman does not answer") from error
    image = opened.pin(builder_image(settings.base_container, request))
    progress.gathered["builder_digest"] = image.digest
    feeds = own_urls(request["repositories"]).values()
    container = opened.start(image, key=attempt.key, attempt=attempt.number, feeds=feeds)
    aftermath.callback(container.remove)
    return BuildRun(
        attempt=attempt,
        settings=settings,
        progress=progress,
        show=show,
        image=image,
        container=container,
        manager=package_manager_for(Version.parse(request["version"])),
    )
