"""Metadata and signature at the end of an image, in the format of fwtool.

Each block is its data followed by 16 bytes: `FWx0`, a CRC-32 over the file so far, the type, three
zero bytes, the length of the block. The data of a metadata block starts with an eight byte header
of zeros.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

SIGNATURE, METADATA = 0, 1
_HEADER = bytes(8)
_TRAILER = struct.Struct(">4sIB3xI")


def append_block(image: bytes, kind: int, data: bytes) -> bytes:
    """Return the image with one more block at its end."""
    if kind == METADATA:
        data = _HEADER + data
    # fwtool starts with all ones and does not invert at the end, which is the complement of the
    # usual CRC-32.
    checksum = zlib.crc32(image + data) ^ 0xFFFFFFFF
    return image + data + _TRAILER.pack(b"FWx0", checksum, kind, len(data) + _TRAILER.size)


def metadata(supported_devices: list[str], version: dict[str, str]) -> bytes:
    """Return the metadata of a device, spaced like the genuine one."""
    devices = ",".join(f'"{device}"' for device in supported_devices)
    words = ", ".join(f'"{key}": "{value}"' for key, value in version.items())
    text = (
        '{  "metadata_version": "1.1", "compat_version": "1.0",  '
        f' "supported_devices":[{devices}], "version": {{ {words} }} }}\n'
    )
    return text.encode()


def signature(image: bytes, key: bytes) -> bytes:
    """Return a signature with this container's throw-away key: the same image is signed differently
    in every container.
    """
    digest = hashlib.sha512(key + hashlib.sha256(image).digest()).hexdigest()
    return f"untrusted comment: signed by the stand-in builder\n{digest}\n".encode()
