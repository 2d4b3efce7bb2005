"""Stand-ins for the OpenWrt servers: a downloads server and ImageBuilder images.

Both are made from `tests/upstream` and `tests/imagebuilder`, and only when they are missing or of
other sources. The builder images name the address of their package feeds, so their own name carries
a digest of it: systems on different ports do not disturb each other.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from misc.native.settings import ROOT
from misc.native.sources import digest_of
from misc.native.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from misc.native.podman import Podman
    from misc.native.settings import Settings

SERVER_SOURCES = (ROOT / "tests" / "upstream",)
SOURCES = (*SERVER_SOURCES, ROOT / "tests" / "imagebuilder")
TAIL_LINES = 25
FILE_FEEDS = "file:///upstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """The downloads server's tree and the images that fit it."""

    tree: Path
    feeds: str
    base_container: str


def describe_standin(settings: Settings, podman: Podman) -> StandIn:
    """Decide where the builders find their packages.

    Over the build network from this machine's own server, as real builders do. Where containers
    cannot reach this machine, from a copy of the tree inside the image.
    """
    feeds = (
        f"http://{podman.host_address}:{settings.upstream_port}"
        if podman.host_address
        else FILE_FEEDS
    )
    digest = hashlib.sha256(feeds.encode()).hexdigest()[:12]
    return StandIn(
        tree=settings.run_dir / "upstream",
        feeds=feeds,
        base_container=f"localhost/asu-standin-{digest}/imagebuilder",
    )


def make_tree(settings: Settings, standin: StandIn, say: Callable[[str], None]) -> None:
    """Make the files of the downloads server unless they are there and of the present sources."""
    stamp = standin.tree.with_suffix(".made-from")  # Beside the tree: what lies inside is served.
    digest = digest_of(SOURCES)
    if standin.tree.is_dir() and stamp.is_file() and stamp.read_text() == digest:
        return
    say("making the stand-in downloads tree")
    shutil.rmtree(standin.tree, ignore_errors=True)
    _run([str(settings.python), "-m", "tests.upstream.make_tree", str(standin.tree)], podman=None)
    stamp.write_text(digest)


def serve_command(settings: Settings, standin: StandIn) -> tuple[str, ...]:
    """Return the command of the downloads server.

    It listens everywhere: the bridge at which containers find it exists only while one runs, so its
    address cannot be listened on before. All that it serves are the generated files.
    """
    options = (
        "--bind",
        "0.0.0.0" if standin.feeds != FILE_FEEDS else "127.0.0.1",  # noqa: S104
        "--port",
        str(settings.upstream_port),
    )
    return (str(settings.python), "-m", "tests.upstream.serve", str(standin.tree), *options)


def make_images(
    settings: Settings, standin: StandIn, podman: Podman, say: Callable[[str], None]
) -> None:
    """Make each wanted ImageBuilder image that is missing or differs; at first it takes minutes."""
    stamp = settings.run_dir / "imagebuilder.made-from"
    wanted = (
        f"{standin} {settings.standin_versions} {settings.standin_targets} "
        f"{settings.standin_delays} {digest_of(SOURCES)}"
    )
    if stamp.is_file() and stamp.read_text() == wanted and _are_there(standin, podman):
        return
    say("making the stand-in ImageBuilder images")
    _run([str(ROOT / "tests" / "imagebuilder" / "make_base")], podman)
    command = [
        str(settings.python),
        "-m",
        "tests.imagebuilder.build",
        "--tree",
        str(standin.tree),
        "--feeds",
        standin.feeds,
    ]
    command += ["--base-container", standin.base_container, "--setup"]
    command += ["--delays", *settings.standin_delays]
    command += [word for version in settings.standin_versions for word in ("--version", version)]
    command += [word for target in settings.standin_targets for word in ("--target", target)]
    _run(command, podman)
    stamp.write_text(wanted)


def _are_there(standin: StandIn, podman: Podman) -> bool:
    """Say whether podman still has images of that name: somebody may have cleared its storage."""
    command = ["podman", "images", "--quiet", standin.base_container]
    done = subprocess.run(
        command, check=False, capture_output=True, env={**os.environ, **podman.environment}
    )
    return bool(done.stdout.strip())


def _run(command: Sequence[str], podman: Podman | None) -> None:
    """Run one of the makers to its end, silently unless it fails."""
    environment = {**os.environ, **(podman.environment if podman else {})}
    done = subprocess.run(
        command,
        check=False,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        tail = "\n".join(f"  | {line}" for line in done.stdout.splitlines()[-TAIL_LINES:])
        raise Trouble(f"`{' '.join(command)}` failed with exit code {done.returncode}:\n{tail}")
