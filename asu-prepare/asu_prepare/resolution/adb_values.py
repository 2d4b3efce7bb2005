"""The binary documents of apk-tools 3 (ADB): container, blocks and values.

A document is a graph of values that point to one another by offset. A writer stores equal values
once, so a reader keeps what it made of each offset. That also bounds the work: a document in which
values overlap would cost more than its length, and is refused.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array

from .package_feed import Shared, UnreadableIndexError, unpacked

_PLAIN, _DEFLATED, _COMPRESSED = b"ADB.", b"ADBd", b"ADBc"
_HEADER_BYTES, _BLOCK_BYTES = 8, 4
_LENGTH_BITS, _VALUE_BITS = 30, 28
_VALUE = (1 << _VALUE_BITS) - 1
_WORD = 4
# Types of values, in their top four bits.
_INT, _INT_32, _INT_64, _BLOB_8, _BLOB_16, _BLOB_32 = 1, 2, 3, 8, 9, 10
_SEVERAL = frozenset({13, 14})  # Arrays and objects; apk writes arrays as either.
_LENGTHS = {_BLOB_8: ("<B", 1), _BLOB_16: ("<H", 2), _BLOB_32: ("<I", 4)}
_WIDE = {_INT_32: "<I", _INT_64: "<Q"}
_MAX_TEXT = 64 * 1024  # Bytes of one name, version or tag.
# What the methods here raise for a damaged document, beside our own error.
DAMAGE = (struct.error, zlib.error, UnicodeDecodeError, IndexError)


class AdbValues:
    """The values of one document; its methods raise UnreadableIndexError or DAMAGE."""

    def __init__(self, raw: bytes, schema: bytes, shared: Shared) -> None:
        self._payload, self._shared = _payload(_document(raw), schema), shared
        self._words = array("I", self._payload[: len(self._payload) // _WORD * _WORD])
        if sys.byteorder == "big":
            self._words.byteswap()
        self._bytes_left = len(self._payload)  # Values that do not overlap take no more than this.
        self._texts: dict[int, str] = {0: ""}

    def root(self) -> array[int]:
        """Return the values of the outermost object."""
        return self.slots(self._words[1])

    def charge(self, size: int) -> None:
        """Count the bytes of a value that is read for the first time."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise UnreadableIndexError("its values overlap")

    def slots(self, value: int) -> array[int]:
        """Return the values of an array or object."""
        at, odd = divmod(value & _VALUE, _WORD)
        if value >> _VALUE_BITS not in _SEVERAL or odd:
            raise UnreadableIndexError("a value is of another kind than it must be")
        end = at + self._words[at]
        if not at < end <= len(self._words):
            raise UnreadableIndexError("a value does not end")
        self.charge(_WORD * (end - at))
        return self._words[at + 1 : end]

    def text(self, value: int) -> str:
        """Return a text; each is read once."""
        text = self._texts.get(value)
        if text is None:
            at = value & _VALUE
            form, width = _LENGTHS.get(value >> _VALUE_BITS, ("", 0))
            if not form:
                raise UnreadableIndexError("a text is none")
            (length,) = struct.unpack_from(form, self._payload, at)
            at += width
            if length > _MAX_TEXT or at + length > len(self._payload):
                raise UnreadableIndexError("a text is too long")
            self.charge(length)
            text = self._texts[value] = self._shared(self._payload[at : at + length].decode())
        return text

    def integer(self, value: int) -> int:
        """Return a number; 0 for one that is absent."""
        kind, number = value >> _VALUE_BITS, value & _VALUE
        if kind in _WIDE:
            return int(struct.unpack_from(_WIDE[kind], self._payload, number)[0])
        if kind != _INT and value != 0:
            raise UnreadableIndexError("a number is none")
        return number


def _document(raw: bytes) -> bytes:
    """Return the document behind the container; zstd, which OpenWrt does not use, is not read."""
    magic = raw[:4]
    if magic == _PLAIN:
        return raw
    packed = raw[4:]
    if magic == _COMPRESSED and len(raw) > 5:  # noqa: PLR2004  # Two bytes: kind and level.
        packed, kind = raw[6:], raw[4]
        if kind == 0:
            return packed
        magic = _DEFLATED if kind == 1 else b""
    if magic != _DEFLATED:
        raise UnreadableIndexError("not an index of apk, or packed in an unknown way")
    return unpacked(packed, -zlib.MAX_WBITS)


def _payload(document: bytes, schema: bytes) -> bytes:
    """Return the first block, which holds the values; signatures stand in blocks after it."""
    if document[:8] != _PLAIN + schema:
        raise UnreadableIndexError("not an index of apk")
    (head,) = struct.unpack_from("<I", document, _HEADER_BYTES)
    kind, length = head >> _LENGTH_BITS, head & ((1 << _LENGTH_BITS) - 1)
    if kind != 0 or not _BLOCK_BYTES <= length <= len(document) - _HEADER_BYTES:
        raise UnreadableIndexError("its first block is none of values")
    return document[_HEADER_BYTES + _BLOCK_BYTES : _HEADER_BYTES + length]
