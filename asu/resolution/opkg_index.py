"""opkg's own index, `Packages` or `Packages.gz`: one stanza for each package."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from .package_feed import (
    PORTABLE,
    Package,
    PackageFeed,
    Shared,
    UnreadableIndexError,
    package_feed,
    unpacked,
)

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_FORMAT = 16 + zlib.MAX_WBITS  # Makes zlib expect the header and the checksum of gzip.
_FIELD = re.compile(
    r"^(Package|Version|Depends|Provides|Conflicts|ABIVersion|Architecture|Installed-Size|Size):"
    r"[ \t]*(.*)$",
    re.MULTILINE,
)
_MAX_DIGITS = 12


def read_opkg_index(raw: bytes, shared: Shared) -> PackageFeed:
    """Read an index of opkg, packed or not; raises UnreadableIndexError."""
    try:
        text = (unpacked(raw, _GZIP_FORMAT) if raw.startswith(_GZIP_MAGIC) else raw).decode()
    except (UnicodeDecodeError, zlib.error) as error:
        raise UnreadableIndexError("no text in UTF-8, or damaged") from error
    feed = package_feed(_stanzas(text, shared))
    if not feed.versions and text.strip():
        raise UnreadableIndexError("not a Packages file")
    return feed


def _stanzas(text: str, shared: Shared) -> Iterator[tuple[Package, int, int]]:
    for stanza in text.split("\n\n"):
        fields = dict(_FIELD.findall(stanza))
        name, version = fields.get("Package", "").strip(), fields.get("Version", "").strip()
        if not name or not version:
            continue
        package = Package(
            shared(name),
            shared(version),
            _list(fields.get("Depends"), shared),
            _list(fields.get("Provides"), shared),
            _list(fields.get("Conflicts"), shared),
            shared(fields.get("ABIVersion", "").strip()),
            0,
            fields.get("Architecture", "").strip() in PORTABLE,
        )
        yield (
            shared(package),
            _number(fields.get("Size", "0")),
            _number(fields.get("Installed-Size", "0")),
        )


def _list(text: str | None, shared: Shared) -> tuple[str, ...]:
    if not text:
        return ()
    return shared(tuple(shared(part) for word in text.split(",") if (part := word.strip())))


def _number(text: str) -> int:
    text = text.strip()
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        raise UnreadableIndexError("a size is no number")
    return int(text)
