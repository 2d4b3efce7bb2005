"""The blocks at the end of a firmware image (metadata, signature), in the format of fwtool.

Each is its data and a trailer, big endian: "FWx0" checksum:u32 kind:u8 zero[3] length:u32. `length`
counts both. The checksum is a CRC-32 over the whole file up to the trailer, not inverted at its
end.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MAGIC = b"FWx0"
SIGNATURE = 0  # Kind of a block; metadata is 1.
TRAILER = struct.Struct(">4sIB3xI")
MAX_SIGNATURE = 1024  # Bytes; fwtool puts no more into a block of this kind.
INVERTED = 0xFFFFFFFF
PIECE = 1024 * 1024


def strip_signature(image: Path) -> bool:
    """Take the signature block off the end of an image; return whether there was one."""
    with image.open("r+b") as file:
        end = file.seek(0, os.SEEK_END) - TRAILER.size
        if end < 0:
            return False
        file.seek(end)
        magic, checksum, kind, length = TRAILER.unpack(file.read(TRAILER.size))
        if magic != MAGIC or kind != SIGNATURE or not TRAILER.size <= length <= end + TRAILER.size:
            return False
        before = 0
        for piece in pieces(file, end):
            before = zlib.crc32(piece, before)
        # With a wrong checksum these are bytes of the image that look like a trailer by chance.
        if checksum != before ^ INVERTED:
            return False
        file.truncate(end + TRAILER.size - length)
        return True


def signature_block(data: bytes, *, before: int) -> bytes:
    """Return the block with a signature for the end of an image whose CRC-32 (zlib) is `before`."""
    checksum = zlib.crc32(data, before) ^ INVERTED
    return data + TRAILER.pack(MAGIC, checksum, SIGNATURE, len(data) + TRAILER.size)


def pieces(file: IO[bytes], length: int) -> Iterator[bytes]:
    """Yield the first `length` bytes of a file; some images have a GiB."""
    file.seek(0)
    while length and (piece := file.read(min(PIECE, length))):
        length -= len(piece)
        yield piece
