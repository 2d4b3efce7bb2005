"""Makes container images of the stand-in ImageBuilder from an upstream tree.

    python3 -m tests.imagebuilder.build --tree DIR --feeds URL --base-container NAME \
        --version 24.10.4 --target ath79/generic [--version …] [--target …]

Every version is made for every target that the tree has for it. The images are named
`NAME:ath79-generic-v24.10.4` (releases), `NAME:ath79-generic-openwrt-24.10` (24.10-SNAPSHOT) and
`NAME:ath79-generic-master` (SNAPSHOT). An image whose content would be the same is left alone. URL
is where the builder finds the feeds from inside the container: `http://HOST:PORT`, or
`file:///upstream` to put the feeds into the image. With `--setup` the snapshot images hold only
`setup.sh`, which fetches the builder from URL as the genuine ones do; the archive is put into the
tree, or the image.
"""

# ruff: noqa: T201 - A command talks to its terminal.

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.imagebuilder.builder_files import Delays, write_builder
from tests.imagebuilder.setup_archive import move_into_archive
from tests.imagebuilder.upstream_tree import Release

BASE_IMAGE = "localhost/asu-standin-base"
DIGEST_LABEL = "org.openwrt.asu.standin-digest"
FEEDS_IN_IMAGE = "/upstream"

CONTAINERFILE = """\
FROM {base}
COPY --chown=1000:1000 builder/ /builder/
{feeds}
ENV TARGET="{target}" VERSION_PATH="{path}" FILE_HOST="{host}" RUN_SETUP="0" CMD_ENV="/bin/bash"
ENV DOWNLOAD_FILE="imagebuilder-.*x86_64.tar.[xz|zst]"
USER buildbot
WORKDIR /builder
ENTRYPOINT []
CMD ["/bin/bash"]
VOLUME ["/builder"]
"""


class BuildError(Exception):
    """An image could not be made; the message says what to do."""


def build(
    release: Release, feeds_url: str, name: str, base: str, *, needs_setup: bool, delays: Delays
) -> bool:
    """Make the image of one release and target on the base image of id `base`.

    Return whether anything had to be done.
    """
    with tempfile.TemporaryDirectory(prefix="asu-standin-") as directory:
        context = Path(directory)
        write_builder(release, feeds_url, context / "builder", delays)
        embeds = feeds_url.startswith("file:")
        if embeds:
            _copy_feeds(release, context / "upstream")
        if needs_setup:
            server = context / "upstream" if embeds else release.tree
            move_into_archive(
                context / "builder", server / release.path / "targets" / release.target
            )
        feeds = f"COPY upstream/ {FEEDS_IN_IMAGE}/" if embeds else ""
        words = {
            "base": BASE_IMAGE,
            "feeds": feeds,
            "target": release.target,
            "path": release.path,
            "host": feeds_url.rstrip("/"),
        }
        (context / "Containerfile").write_text(CONTAINERFILE.format(**words))
        digest = digest_of(context, base)
        image = f"{name}:{release.tag}"
        if image_value(image, f'{{{{index .Labels "{DIGEST_LABEL}"}}}}') == digest:
            return False
        replaced = image_value(image, "{{.Id}}")
        # Layers of earlier runs are of no use: the digest has already told that something differs.
        command = [
            "podman",
            "build",
            "--quiet",
            "--pull=never",
            "--layers=false",
            "--label",
            f"{DIGEST_LABEL}={digest}",
            "--tag",
            image,
            directory,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildError(f"podman build of {image} failed:\n{done.stderr}")
    if replaced:
        # It has no name any more. Podman refuses to remove it while a container or another name
        # needs it, and that is well.
        subprocess.run(["podman", "image", "rm", replaced], capture_output=True, check=False)
    return True


def _copy_feeds(release: Release, destination: Path) -> None:
    for path in (*release.feeds.values(), release.own_feed):
        if (release.tree / path).is_dir():
            shutil.copytree(
                release.tree / path, destination / path, ignore=shutil.ignore_patterns("local")
            )


def digest_of(directory: Path, base: str) -> str:
    """Return a digest over the paths, modes and contents of a build context, and the image below
    it.
    """
    digest = hashlib.sha256(base.encode())
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            digest.update(
                f"\0{path.relative_to(directory)}\0{path.stat().st_mode & 0o777:o}\0".encode()
            )
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def image_value(image: str, template: str) -> str:
    """One value of a local image, or the empty text when there is no such image."""
    command = ["podman", "image", "inspect", "--format", template, image]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def main() -> int:
    """Make all images that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tree",
        type=Path,
        required=True,
        help="upstream tree, in the layout of the downloads server",
    )
    parser.add_argument(
        "--feeds",
        required=True,
        metavar="URL",
        help="prefix of the feeds as seen from inside the container",
    )
    parser.add_argument(
        "--base-container", required=True, metavar="NAME", help="name of the images, without a tag"
    )
    parser.add_argument(
        "--version", action="append", required=True, help="a version of the tree; may be repeated"
    )
    parser.add_argument(
        "--target",
        action="append",
        required=True,
        help="a target such as ath79/generic; may be repeated",
    )
    parser.add_argument(
        "--setup",
        action="store_true",
        help="let snapshot images unpack their builder with setup.sh",
    )
    parser.add_argument(
        "--delays",
        type=float,
        nargs=3,
        default=(0, 0, 0),
        metavar=("CHECK", "INSTALL", "IMAGE"),
        help="seconds that each check, install and image takes longer, as in a genuine builder",
    )
    arguments = parser.parse_args()
    releases = [
        Release(arguments.tree, version, target)
        for version in arguments.version
        for target in arguments.target
    ]
    present = [release for release in releases if (release.directory / "profiles.json").exists()]
    if not present:
        print(
            f"build: {arguments.tree} has none of these versions for none of these targets",
            file=sys.stderr,
        )
        return 1
    base = image_value(BASE_IMAGE, "{{.Id}}")
    if not base:
        print(
            f"build: {BASE_IMAGE} is missing; make it with tests/imagebuilder/make_base",
            file=sys.stderr,
        )
        return 1
    with _alone(arguments.base_container):
        return _make_all(present, arguments, base)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Wait for other runs that make images of this name; both would make and replace them."""
    lock = Path(tempfile.gettempdir()) / f"{name.replace('/', '-')}-{os.getuid()}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_all(present: Sequence[Release], arguments: argparse.Namespace, base: str) -> int:
    delays = Delays(*arguments.delays)
    for release in present:
        try:
            needs_setup = arguments.setup and release.version.endswith("SNAPSHOT")
            made = build(
                release,
                arguments.feeds,
                arguments.base_container,
                base,
                needs_setup=needs_setup,
                delays=delays,
            )
        except (BuildError, OSError, ValueError, KeyError) as problem:
            print(f"build: {release.version} {release.target}: {problem}", file=sys.stderr)
            return 1
        print(f"{'made' if made else 'kept'} {arguments.base_container}:{release.tag}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
