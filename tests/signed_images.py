"""Reads signed images by the formats alone, byte by byte, and makes unsigned ones; it shares
nothing with the code under test.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A block at the end of an image."""

    kind: int
    data: bytes


def blocks_of(image: bytes) -> tuple[bytes, list[Block]]:
    """Return what an image holds before its blocks, and the blocks in their order; every checksum
    must be right.
    """
    blocks: list[Block] = []
    while image[-16:-12] == b"FWx0":
        length = int.from_bytes(image[-4:], "big")
        assert int.from_bytes(image[-12:-8], "big") == checksum(image[:-16])
        assert image[-7:-4] == bytes(3)
        blocks.insert(0, Block(image[-8], image[-length:-16]))
        image = image[:-length]
    return image, blocks


def with_block(image: bytes, kind: int, data: bytes) -> bytes:
    """Return an image with one block more."""
    whole = image + data
    return (
        whole
        + b"FWx0"
        + checksum(whole).to_bytes(4, "big")
        + bytes([kind, 0, 0, 0])
        + (len(data) + 16).to_bytes(4, "big")
    )


def checksum(data: bytes) -> int:
    """Return fwtool's checksum: binascii inverts at the end, fwtool does not."""
    return 0xFFFFFFFF - binascii.crc32(data)


def blobs_of(data: bytes) -> list[tuple[int, bytes]]:
    """Return kind and content of blobs that stand in a row and fill `data` to its end."""
    blobs = []
    while data:
        length = int.from_bytes(data[1:4], "big")
        assert length >= 4
        padded = (length + 3) & ~3
        assert len(data) >= padded
        assert data[length:padded] == bytes(padded - length)
        blobs.append((data[0] & 0x7F, data[4:length]))
        data = data[padded:]
    return blobs


@dataclass(frozen=True)
class SignedImage:
    """What a device finds in a signed image: what was signed, the certificates, and the text of the
    signature.
    """

    message: bytes
    chain: bytes
    signature: bytes
    kinds: list[int]


def read_signed(image: bytes) -> SignedImage:
    """Take a signed image apart as a device does: the last block is the signature, its last blob
    signs all that stands before.
    """
    _, blocks = blocks_of(image)
    last = blocks[-1]
    assert last.kind == 0
    *certificates, (kind, content) = blobs_of(last.data)
    [(inner_kind, signature)] = blobs_of(content)
    assert (kind, inner_kind) == (0, 0)
    assert all(number == 0 for number, _ in certificates)
    length = (4 + len(content) + 3) & ~3
    return SignedImage(
        image[: -len(last.data) - 16],
        last.data[:-length],
        signature,
        [block.kind for block in blocks],
    )
