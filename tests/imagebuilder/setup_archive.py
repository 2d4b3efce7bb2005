"""Packs a builder the way the downloads server offers it, for images that unpack it themselves."""

from __future__ import annotations

import hashlib
import lzma
import shutil
import tarfile
from pathlib import Path

ARCHIVE = "openwrt-imagebuilder-standin.Linux-x86_64.tar.xz"  # Matches DOWNLOAD_FILE of the image.
SETUP = Path(__file__).parent / "files" / "setup.sh"


def move_into_archive(builder: Path, server_directory: Path) -> None:
    """Replace a builder's files by `setup.sh`, and put their archive with its sha256sums where that
    looks for them.
    """
    server_directory.mkdir(parents=True, exist_ok=True)
    archive = server_directory / ARCHIVE
    with (
        lzma.open(archive, "wb", preset=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as tar,
    ):
        for path in sorted(builder.rglob("*")):
            tar.add(
                path,
                f"openwrt-imagebuilder/{path.relative_to(builder)}",
                recursive=False,
                filter=_without_accidents,
            )
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (server_directory / "sha256sums").write_text(f"{digest} *{ARCHIVE}\n")
    shutil.rmtree(builder)
    builder.mkdir()
    shutil.copy(SETUP, builder)


def _without_accidents(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out what differs from run to run, so that the same builder gives the same archive."""
    member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 1000, 1000, "", ""
    return member
