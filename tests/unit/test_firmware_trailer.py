"""The blocks at the end of an image, in fwtool's format."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest

from asu.keys.firmware_trailer import signature_block, strip_signature
from tests.signed_images import blocks_of, with_block

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE, METADATA = 0, 1
IMAGE = bytes(range(256)) * 5000  # More than one piece.
WITH_METADATA = with_block(IMAGE, METADATA, bytes(8) + b'{"metadata_version": "1.1"}')


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return where an image is put."""
    return tmp_path / "image.bin"


def test_a_block_is_written_as_it_stands_in_the_format() -> None:
    """The check value of this CRC-32 is known for the text 123456789 (JAMCRC: 340bc6d9); the rest
    is counted by hand.
    """
    assert signature_block(b"6789", before=zlib.crc32(b"12345")) == b"6789FWx0" + bytes.fromhex(
        "340bc6d9 00 000000 00000014"
    )


@pytest.mark.parametrize(
    "unsigned", [IMAGE, WITH_METADATA, b"", with_block(WITH_METADATA, SIGNATURE, b"an older one")]
)
def test_only_the_last_signature_is_taken_off(image: Path, unsigned: bytes) -> None:
    """What stood before the signature is there again, byte for byte: metadata, and what fwtool
    leaves there as well.
    """
    image.write_bytes(with_block(unsigned, SIGNATURE, b"signed by a throw-away key"))

    assert strip_signature(image)
    assert image.read_bytes() == unsigned


UNSIGNED = {
    "plain": IMAGE,
    "metadata": WITH_METADATA,
    "metadata after a signature": with_block(with_block(IMAGE, SIGNATURE, b"x"), METADATA, b"y"),
    "another kind": with_block(IMAGE, 2, b"x"),
    "wrong checksum": with_block(IMAGE, SIGNATURE, b"x")[1:],
    "longer than the image": with_block(b"", SIGNATURE, b"x")[:-4] + b"\0\0\0\x12",
    "shorter than a trailer": with_block(IMAGE, SIGNATURE, b"x")[:-4] + b"\0\0\0\x0f",
    "a few bytes": b"FWx0",
    "nothing": b"",
}


@pytest.mark.parametrize("name", UNSIGNED)
def test_without_a_signature_at_its_end_an_image_stays_as_it_is(image: Path, name: str) -> None:
    """Nothing is cut off that is not a whole signature block."""
    image.write_bytes(UNSIGNED[name])

    assert not strip_signature(image)
    assert image.read_bytes() == UNSIGNED[name]


def test_a_block_is_read_by_the_format() -> None:
    """A reader of its own finds the data after the metadata, with the right checksum."""
    content, blocks = blocks_of(
        WITH_METADATA + signature_block(b"chain", before=zlib.crc32(WITH_METADATA))
    )

    assert content == IMAGE
    assert [(block.kind, block.data[:8]) for block in blocks] == [
        (METADATA, bytes(8)),
        (SIGNATURE, b"chain"),
    ]
