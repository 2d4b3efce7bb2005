"""Write the stand-in's tree: `python3 -m tests.upstream.make_tree OUT_DIR`, from the root of the
repository.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .archives import archive_bytes
from .catalogue import FEEDS, HERE, Catalogue, Release, Target, load
from .indexes import LOCAL_ONLY, Built, index_files, index_json
from .metadata import feeds_conf, overview_json, profiles_json, targets_json, versions_json
from .own_feeds import FORMATS, feed_files
from .packages import Package, Shop

if TYPE_CHECKING:
    from collections.abc import Iterable

STAMP: Final = ".stand-in"


class Writer:
    """Writes feeds below one root; a package that was written once is linked the next time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._written: dict[Package, tuple[Built, Path]] = {}

    def file(self, path: str, content: bytes) -> None:
        """Write one file and the directories above it."""
        where = self.root / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(content)

    def packages(self, directory: str, packages: Iterable[Package]) -> list[Built]:
        """Write package files into `directory`."""
        where = self.root / directory
        where.mkdir(parents=True, exist_ok=True)
        return [self._package(package, where) for package in packages]

    def feed(
        self, directory: str, release: Release, arch: str, packages: Iterable[Package]
    ) -> None:
        """Write package files and every index of one feed."""
        apk = release.format == "apk"
        built = self.packages(directory, packages)
        # Only opkg's indexes leave kernel and libc out; they are there for the ImageBuilder alone.
        listed = [entry for entry in built if apk or entry.package.plain_name not in LOCAL_ONLY]
        for name, content in index_files(listed, apk=apk).items():
            self.file(f"{directory}/{name}", content)
        self.file(f"{directory}/index.json", index_json(listed, arch, release.index_version))

    def _package(self, package: Package, where: Path) -> Built:
        path = where / package.filename
        if package in self._written:
            built, source = self._written[package]
            if package.trouble == "absent":
                return built
            if source.exists():  # It may lie in a directory that was broken on purpose since.
                path.hardlink_to(source)
                return built
        content = archive_bytes(package)
        if package.trouble != "absent":
            path.write_bytes(content)
        built = Built(
            package=package, size=len(content), sha256=hashlib.sha256(content).hexdigest()
        )
        self._written[package] = (built, path)
        return built


def write_target(writer: Writer, shop: Shop, target: Target) -> None:
    """Write one target of a release: profiles.json, its packages, its kmods, and what an
    ImageBuilder brings along.
    """
    release = shop.release
    top = f"{release.path}/targets/{target.name}"
    own, kmods = shop.target_packages(target), shop.kmods(target)
    writer.file(f"{top}/profiles.json", profiles_json(release, target))
    if release.split_kmods:
        writer.feed(
            f"{top}/kmods/{release.kmods_directory(target.name)}", release, target.arch, kmods
        )
        kmods = []
    writer.feed(f"{top}/packages", release, target.arch, [*own, *kmods])
    apk = release.format == "apk"
    local_names = LOCAL_ONLY | ({"base-files"} if apk else set())
    local = writer.packages(
        f"{top}/packages/local", [package for package in own if package.plain_name in local_names]
    )
    for name, content in index_files(local, apk=apk).items():
        writer.file(f"{top}/packages/local/{name}", content)


def write_release(writer: Writer, catalogue: Catalogue, release: Release) -> None:
    """Write one release, and break it where releases.toml says so."""
    shop = Shop(catalogue, release)
    targets = [catalogue.target(name, release.series) for name in sorted(release.targets)]
    for target in targets:
        write_target(writer, shop, target)
    for arch in sorted({target.arch for target in targets}):
        writer.file(f"{release.path}/packages/{arch}/feeds.conf", feeds_conf(release))
        for feed in FEEDS:
            writer.feed(
                f"{release.path}/packages/{arch}/{feed}", release, arch, shop.feed(feed, arch)
            )
    writer.file(f"{release.path}/.targets.json", targets_json(targets))
    writer.file(f"{release.path}/.overview.json", overview_json(release, targets))
    _break(writer.root / release.path, release)


def _break(top: Path, release: Release) -> None:
    for pattern in release.drop:
        for path in sorted(top.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    for pattern in release.truncate:
        for path in top.glob(pattern):
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])


def recipe_digest() -> str:
    """Return a digest of the generator and its data: the tree is a pure function of them."""
    digest = hashlib.sha256()
    for path in sorted([*HERE.glob("*.py"), *HERE.glob("*.toml")]):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def make_tree(out: Path) -> bool:
    """Write the tree to `out` unless an equal one is there; return whether anything was written.

    A tree of an older recipe is replaced as a whole. A directory that is not ours is refused with
    FileExistsError.
    """
    digest = recipe_digest()
    stamp = out / STAMP
    if stamp.is_file() and stamp.read_text(encoding="utf-8").strip() == digest:
        return False
    if out.is_dir() and any(out.iterdir()) and not stamp.is_file():
        raise FileExistsError(f"{out} is not empty and was not made by this program")
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        _fill(work / "new", digest)
        if out.exists():
            out.rename(work / "old")
        (work / "new").rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return True


def _fill(root: Path, digest: str) -> None:
    catalogue = load()
    writer = Writer(root)
    for release in catalogue.releases:
        write_release(writer, catalogue, release)
    for form in FORMATS:
        for name, content in feed_files(form).items():
            writer.file(f"own/{form}/{name}", content)
    writer.file(".versions.json", versions_json(catalogue))
    writer.file(STAMP, f"{digest}\n".encode())


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description="Write a small stand-in for the tree of downloads.openwrt.org."
    )
    parser.add_argument(
        "out", type=Path, help="directory to write; replaced if this program made it before"
    )
    out = parser.parse_args().out
    try:
        # A symlink to a directory stays what it is.
        written = make_tree(Path(os.path.abspath(out)))  # noqa: PTH100
    except OSError as error:
        sys.stderr.write(f"make_tree: {error}\n")
        return 1
    sys.stdout.write(f"{out}: {'written' if written else 'up to date'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
