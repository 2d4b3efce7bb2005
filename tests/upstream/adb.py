"""Writes apk's index `packages.adb` in the binary form of apk-tools 3: values first, then what
points to them.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

SPECIAL_INT: Final = 0x1000_0000
INT_32: Final = 0x2000_0000
BLOB_8: Final = 0x8000_0000
BLOB_16: Final = 0x9000_0000
SEVERAL: Final = 0xE000_0000
SIGNATURE_BLOCK: Final = 1 << 30
ALIGNMENT: Final = 8
LARGEST_INLINE: Final = 2**28 - 1
MATCHES: Final = {"": 0, "=": 1, "<": 2, "<=": 3, ">": 4, ">=": 5, "~": 9}
CONFLICT: Final = 16
ANY: Final = 7
_DEPENDENCY = re.compile(r"(!?)([^\s<>=~!]+?)(?:([<>]=?|=|~)(\S+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One package as the index lists it; dependencies in apk's spelling."""

    name: str
    version: str
    hashes: bytes = bytes(32)
    description: str = ""
    arch: str = ""
    installed_size: int = 0
    size: int = 0
    priority: int = 0
    depends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def adb_bytes(entries: Iterable[Entry], *, signature: bytes = b"", packed: bool = True) -> bytes:
    """Return an index, deflated as OpenWrt's are; a signature follows in a block of its own."""
    writer = _Writer()
    packages = writer.several([writer.package(entry) for entry in entries])
    values = writer.finish(writer.several([writer.text("stand-in"), packages]))
    blocks = _block(values, 0) + (_block(signature, SIGNATURE_BLOCK) if signature else b"")
    document = b"ADB.indx" + blocks
    if not packed:
        return document
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return b"ADBd" + packer.compress(document) + packer.flush()


def _block(content: bytes, kind: int) -> bytes:
    block = struct.pack("<I", kind | (len(content) + 4)) + content
    return block + bytes(-len(block) % ALIGNMENT)


class _Writer:
    """A growing block of values; equal texts and lists are stored once."""

    def __init__(self) -> None:
        self._out = bytearray(8)  # Versions, and the root value.
        self._known: dict[object, int] = {}

    def finish(self, root: int) -> bytes:
        struct.pack_into("<I", self._out, 4, root)
        return bytes(self._out)

    def text(self, text: str | bytes) -> int:
        content = text.encode() if isinstance(text, str) else text
        if not content:
            return 0
        if content not in self._known:
            short = len(content) < 256
            if not short:
                self._align(2)
            at = len(self._out)
            self._out += struct.pack("<B" if short else "<H", len(content)) + content
            self._known[content] = (BLOB_8 if short else BLOB_16) | at
        return self._known[content]

    def number(self, number: int) -> int:
        if number <= LARGEST_INLINE:
            return SPECIAL_INT | number if number else 0
        self._align(4)
        at = len(self._out)
        self._out += struct.pack("<I", number)
        return INT_32 | at

    def several(self, values: Sequence[int]) -> int:
        """Write an array or object, without what is absent at its end."""
        kept = list(values)
        while kept and not kept[-1]:
            kept.pop()
        if not kept:
            return 0
        key = tuple(kept)
        if key not in self._known:
            self._align(4)
            at = len(self._out)
            self._out += struct.pack(f"<{len(kept) + 1}I", len(kept) + 1, *kept)
            self._known[key] = SEVERAL | at
        return self._known[key]

    def dependency(self, text: str) -> int:
        found = _DEPENDENCY.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no dependency")
        sign, name, relation, version = found[1], found[2], found[3] or "", found[4] or ""
        match = MATCHES[relation]
        if sign:
            match = CONFLICT | (match or ANY)
        plain = not sign and relation in {"", "="}
        return self.several(
            [self.text(name), self.text(version), 0 if plain else self.number(match)]
        )

    def package(self, entry: Entry) -> int:
        depends, provides = (
            self.several([self.dependency(word) for word in sorted(words, key=_by_name)])
            for words in (entry.depends, entry.provides)
        )
        head = [self.text(text) for text in (entry.name, entry.version, entry.hashes)]
        about = [self.text(entry.description), self.text(entry.arch)]
        sizes = [self.number(entry.installed_size), self.number(entry.size)]
        tags = self.several([self.text(tag) for tag in entry.tags])
        unread = [0] * 6  # Licence, origin, maintainer, address, commit and time.
        priority = self.number(entry.priority)
        return self.several(
            [*head, *about, *unread, *sizes, priority, depends, provides, *[0] * 4, tags]
        )

    def _align(self, unit: int) -> None:
        self._out += bytes(-len(self._out) % unit)


def _by_name(dependency: str) -> str:
    return dependency.lstrip("!")
