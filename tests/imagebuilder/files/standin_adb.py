"""Reads apk's index `packages.adb` into the stanzas that the other stand-ins work with."""

from __future__ import annotations

import struct
import zlib

INTEGER, INTEGER_32 = 1, 2
LENGTHS = {8: "<B", 9: "<H", 10: "<I"}
NAMES = (
    "Package", "Version", "SHA256sum", "Description", "Architecture", "", "", "", "", "", "",
    "Installed-Size", "Size", "Priority", "Depends", "Provides", "", "", "", "", "Tags",
)  # fmt: skip
LISTS = ("Depends", "Provides")
SIGNATURE_BLOCK = 1
RELATIONS = {0: "=", 1: "=", 2: "<", 3: "<=", 4: ">", 5: ">=", 9: "~"}
CONFLICT, ANY = 16, 7
ABI = "openwrt:abiversion="


class Document:
    """An index, unpacked: its stanzas, and the content of its signature."""

    def __init__(self, content: bytes) -> None:
        if content[:4] == b"ADBd":
            content = zlib.decompress(content[4:], -zlib.MAX_WBITS)
        if content[:8] != b"ADB.indx":
            raise ValueError("not an index of apk")
        self.values, self.signature, at = b"", b"", 8
        while at < len(content):
            (head,) = struct.unpack_from("<I", content, at)
            block = content[at + 4 : at + (head & 0x3FFFFFFF)]
            if head >> 30 == SIGNATURE_BLOCK:
                self.signature = block
            else:
                self.values = block
            at += -(-(head & 0x3FFFFFFF) // 8) * 8

    def stanzas(self) -> list[dict[str, str]]:
        """Return the packages as fields with the names that opkg uses."""
        root = self._slots(*struct.unpack_from("<I", self.values, 4))
        return [self._stanza(value) for value in self._slots(root[1])] if len(root) > 1 else []

    def _stanza(self, value: int) -> dict[str, str]:
        fields = {}
        for key, slot in zip(NAMES, self._slots(value), strict=False):
            if not key or not slot:
                continue
            if key in LISTS:
                words = [self._dependency(one) for one in self._slots(slot)]
                fields[key] = ", ".join(word for word in words if word[0] != "!")
                conflicts = ", ".join(word[1:] for word in words if word[0] == "!")
                fields |= {"Conflicts": conflicts} if conflicts else {}
            elif key == "Tags":
                tags = [self._blob(one).decode() for one in self._slots(slot)]
                fields["ABIVersion"] = next(tag[len(ABI) :] for tag in tags if tag.startswith(ABI))
            elif slot >> 28 in LENGTHS:
                blob = self._blob(slot)
                fields[key] = blob.hex() if key == "SHA256sum" else blob.decode()
            else:
                fields[key] = str(self._number(slot))
        fields["Filename"] = f"{fields['Package']}-{fields['Version']}.apk"
        return fields

    def _slots(self, value: int) -> tuple[int, ...]:
        at = value & 0xFFFFFFF
        (count,) = struct.unpack_from("<I", self.values, at)
        return struct.unpack_from(f"<{count - 1}I", self.values, at + 4)

    def _blob(self, value: int) -> bytes:
        at, form = value & 0xFFFFFFF, LENGTHS[value >> 28]
        (length,) = struct.unpack_from(form, self.values, at)
        start = at + struct.calcsize(form)
        return self.values[start : start + length]

    def _number(self, value: int) -> int:
        if value >> 28 == INTEGER_32:
            return int(struct.unpack_from("<I", self.values, value & 0xFFFFFFF)[0])
        return value & 0xFFFFFFF

    def _dependency(self, value: int) -> str:
        slots = (*self._slots(value), 0, 0)
        name = self._blob(slots[0]).decode()
        version = self._blob(slots[1]).decode() if slots[1] else ""
        match = self._number(slots[2])
        sign = "!" if match & CONFLICT else ""
        relation = RELATIONS[match & ~CONFLICT] if version else ""
        return f"{sign}{name}{relation}{version}"
