"""apk's own index, `packages.adb`: a binary document of apk-tools 3.

The document is a graph of values that point to one another by offset. A writer stores equal values
once, so a reader keeps what it made of each offset. That also bounds the work: a document in which
values overlap would cost more than its length, and is refused.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterator

from .package_feed import (
    MAX_UNPACKED,
    PORTABLE,
    Package,
    PackageFeed,
    Shared,
    UnreadableIndexError,
    package_feed,
)

_PLAIN, _DEFLATED, _COMPRESSED = b"ADB.", b"ADBd", b"ADBc"
_SCHEMA = b"indx"
_HEADER_BYTES, _BLOCK_BYTES = 8, 4
_LENGTH_BITS, _VALUE_BITS = 30, 28
_VALUE = (1 << _VALUE_BITS) - 1
_WORD = 4
# Types of values, in their top four bits.
_INT, _INT_32, _INT_64, _BLOB_8, _BLOB_16, _BLOB_32 = 1, 2, 3, 8, 9, 10
_SEVERAL = frozenset({13, 14})  # Arrays and objects; apk writes arrays as either.
_LENGTHS = {_BLOB_8: ("<B", 1), _BLOB_16: ("<H", 2), _BLOB_32: ("<I", 4)}
_WIDE = {_INT_32: "<I", _INT_64: "<Q"}
# Places of a package's fields; absent ones at the end are left out.
_NAME, _VERSION, _ARCH, _INSTALLED, _SIZE, _PRIORITY, _DEPENDS, _PROVIDES, _TAGS = (
    0, 1, 4, 11, 12, 13, 14, 15, 20,
)  # fmt: skip
_FIELDS = 21
_EQUAL, _LESS, _GREATER, _FUZZY, _CONFLICT = 1, 2, 4, 8, 16
_ANY = _EQUAL | _LESS | _GREATER
_ABI = "openwrt:abiversion="
_HASH_BYTES = 32  # Each package has a hash, which is not read.
_MAX_TEXT = 64 * 1024  # Bytes of one name, version or tag.


def read_apk_index(raw: bytes, shared: Shared) -> PackageFeed:
    """Read an index of apk; raises UnreadableIndexError."""
    try:
        document = _Document(_payload(_unpacked(raw)), shared)
        return package_feed(document.packages())
    except (struct.error, zlib.error, UnicodeDecodeError, IndexError) as error:
        raise UnreadableIndexError("damaged") from error


def _unpacked(raw: bytes) -> bytes:
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
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    document = unpacker.decompress(packed, MAX_UNPACKED)
    if not unpacker.eof:
        raise UnreadableIndexError("cut off, or too large")
    return document


def _payload(document: bytes) -> bytes:
    """Return the first block, which holds the values; signatures stand in blocks after it."""
    if document[:8] != _PLAIN + _SCHEMA:
        raise UnreadableIndexError("not an index of apk")
    (head,) = struct.unpack_from("<I", document, _HEADER_BYTES)
    kind, length = head >> _LENGTH_BITS, head & ((1 << _LENGTH_BITS) - 1)
    if kind != 0 or not _BLOCK_BYTES <= length <= len(document) - _HEADER_BYTES:
        raise UnreadableIndexError("its first block is none of values")
    return document[_HEADER_BYTES + _BLOCK_BYTES : _HEADER_BYTES + length]


class _Document:
    """The values of one document."""

    def __init__(self, payload: bytes, shared: Shared) -> None:
        self._payload, self._shared = payload, shared
        self._words = array("I", payload[: len(payload) // _WORD * _WORD])
        if sys.byteorder == "big":
            self._words.byteswap()
        self._bytes_left = len(payload)  # Values that do not overlap take no more than this.
        self._texts: dict[int, str] = {0: ""}
        self._dependencies: dict[int, str] = {}
        self._lists: dict[int, tuple[str, ...]] = {0: ()}
        self._abis: dict[int, str] = {0: ""}

    def packages(self) -> Iterator[tuple[Package, int, int]]:
        listed = self._slots(self._words[1])
        for value in self._slots(listed[1]) if len(listed) > 1 else ():
            yield self._package(value)

    def _package(self, value: int) -> tuple[Package, int, int]:
        self._charge(_HASH_BYTES)
        fields = self._slots(value)[:_FIELDS]
        fields.extend((0,) * (_FIELDS - len(fields)))
        texts, lists = self._texts, self._lists
        name = texts.get(fields[_NAME]) or self._text(fields[_NAME])
        version = texts.get(fields[_VERSION]) or self._text(fields[_VERSION])
        if not name:
            raise UnreadableIndexError("a package without a name")
        found = lists.get(fields[_DEPENDS])
        depends = found if found is not None else self._list(fields[_DEPENDS])
        found = lists.get(fields[_PROVIDES])
        provides = found if found is not None else self._list(fields[_PROVIDES])
        abi = self._abis.get(fields[_TAGS]) or self._abi(fields[_TAGS])
        priority = self._integer(fields[_PRIORITY])
        is_portable = self._text(fields[_ARCH]) in PORTABLE
        package = Package(name, version, depends, provides, (), abi, priority, is_portable)
        sizes = self._integer(fields[_SIZE]), self._integer(fields[_INSTALLED])
        return self._shared(package), *sizes

    def _abi(self, value: int) -> str:
        """Return the version of the binary interface that a list of tags names, or nothing."""
        found = self._abis.get(value)
        if found is None:
            tags = [self._text(slot) for slot in self._slots(value)]
            named = (tag[len(_ABI) :] for tag in tags if tag.startswith(_ABI))
            found = self._abis[value] = self._shared(next(named, ""))
        return found

    def _charge(self, size: int) -> None:
        """Count the bytes of a value that is read for the first time."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise UnreadableIndexError("its values overlap")

    def _slots(self, value: int) -> array[int]:
        """Return the values of an array or object."""
        at, odd = divmod(value & _VALUE, _WORD)
        if value >> _VALUE_BITS not in _SEVERAL or odd:
            raise UnreadableIndexError("a value is of another kind than it must be")
        end = at + self._words[at]
        if not at < end <= len(self._words):
            raise UnreadableIndexError("a value does not end")
        self._charge(_WORD * (end - at))
        return self._words[at + 1 : end]

    def _text(self, value: int) -> str:
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
            self._charge(length)
            text = self._texts[value] = self._shared(self._payload[at : at + length].decode())
        return text

    def _integer(self, value: int) -> int:
        kind, number = value >> _VALUE_BITS, value & _VALUE
        if kind in _WIDE:
            return int(struct.unpack_from(_WIDE[kind], self._payload, number)[0])
        if kind != _INT and value != 0:
            raise UnreadableIndexError("a number is none")
        return number

    def _list(self, value: int) -> tuple[str, ...]:
        known = self._dependencies
        words = tuple([known.get(slot) or self._dependency(slot) for slot in self._slots(value)])
        found = self._lists[value] = self._shared(words)
        return found

    def _dependency(self, value: int) -> str:
        """Return a dependency as apk writes it: `name`, `name>=1.0`, `!name`."""
        slots = self._slots(value)
        name = self._text(slots[0])
        version = self._text(slots[1]) if len(slots) > 1 else ""
        match = self._integer(slots[2]) if len(slots) > 2 else 0  # noqa: PLR2004  # The third.
        match = match or (_EQUAL if version else _ANY)
        sign = "!" if match & _CONFLICT else ""
        text = f"{sign}{name}{_relation(match) if version else ''}{version}"
        self._dependencies[value] = self._shared(text)
        return text


def _relation(match: int) -> str:
    greater, less = ">" if match & _GREATER else "", "<" if match & _LESS else ""
    if match & _FUZZY:
        return f"{less or greater}~"
    return f"{less}{greater}{'=' if match & _EQUAL else ''}"
