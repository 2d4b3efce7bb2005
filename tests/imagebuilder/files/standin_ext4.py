"""Makes an ext4 root file system of a fixed size that comes out the same from the same files.

mke2fs copies owners and change times of this very container; they are overwritten in the inode
tables afterwards.
"""

# ruff: noqa: T201 - The genuine program prints, and so does this one.

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

BLOCK = 4096
INODE = 256
# Any constant will do: a random one would make each image differ.
UUID = "57f8f4bc-abf4-655f-bf67-946fc0f9f25b"
TIMES = (0x08, 0x0C, 0x10, 0x90)  # Access, change, modification and birth time in an inode.
TIME_FRACTIONS = (0x84, 0x88, 0x8C, 0x94)


def main(root: Path, image: Path, size: int) -> int:
    """Write `root` into `image` of `size` bytes; the messages are those of make_ext4fs."""
    if size <= 0:
        sys.stderr.write("Need size of filesystem\n")
        return 1
    print(
        f"Creating filesystem with parameters:\n    Size: {size}\n    Block size: {BLOCK}\n   "
        f" Label: rootfs\n    Blocks: {size // BLOCK}"
    )
    image.unlink(missing_ok=True)
    epoch = os.environ["SOURCE_DATE_EPOCH"]
    # Neither a journal nor checksums: the first costs time, the second would have to be computed
    # again below.
    features = "^has_journal,^metadata_csum,^64bit,^orphan_file"
    command = [
        "/sbin/mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-O",
        features,
        "-I",
        str(INODE),
        "-b",
        str(BLOCK),
        "-L",
        "rootfs",
        "-m",
        "0",
    ]
    command += [
        "-U",
        UUID,
        "-E",
        f"hash_seed={UUID},lazy_itable_init=1",
        "-d",
        str(root),
        str(image),
        str(size // BLOCK),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, "E2FSPROGS_FAKE_TIME": epoch},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        print(done.stderr, end="")
        used = sum(
            path.lstat().st_size // BLOCK + 1
            for path in root.rglob("*")
            if not path.is_symlink() and path.is_file()
        )
        blocks = max(used - size // BLOCK, 1)
        sys.stderr.write(
            f"error: ext4_allocate_best_fit_partial: failed to allocate {blocks} blocks, out of"
            " space?\n"
        )
        return 1
    _make_reproducible(image, int(epoch))
    return 0


def _make_reproducible(image: Path, epoch: int) -> None:
    """Set owner, group and all times of every inode in use."""
    with image.open("r+b") as file:
        file.seek(1024)
        superblock = file.read(1024)
        inodes, blocks = struct.unpack_from("<II", superblock)
        blocks_per_group, inodes_per_group = (
            struct.unpack_from("<I", superblock, 0x20)[0],
            struct.unpack_from("<I", superblock, 0x28)[0],
        )
        file.seek(BLOCK)
        descriptors = file.read(32 * -(-blocks // blocks_per_group))
        for group in range(-(-inodes // inodes_per_group)):
            table = struct.unpack_from("<I", descriptors, 32 * group + 8)[0]
            unused = struct.unpack_from("<H", descriptors, 32 * group + 28)[0]
            file.seek(table * BLOCK)
            data = bytearray(file.read((inodes_per_group - unused) * INODE))
            for start in range(0, len(data), INODE):
                # The link count: an unused inode has none.
                if data[start + 0x1A : start + 0x1C] != b"\0\0":
                    _clean_inode(data, start, epoch)
            file.seek(table * BLOCK)
            file.write(data)


def _clean_inode(data: bytearray, start: int, epoch: int) -> None:
    for offset in TIMES:
        struct.pack_into("<I", data, start + offset, epoch)
    for offset in TIME_FRACTIONS:
        struct.pack_into("<I", data, start + offset, 0)
    for offset in (0x02, 0x18, 0x78, 0x7A):  # Low and high halves of owner and group.
        struct.pack_into("<H", data, start + offset, 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
