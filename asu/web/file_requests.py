"""What a client may ask about a file: whether it has changed, or a part (RFC 9110, 13 and 14)."""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime

from asu.errors import RangeNotSatisfiable
from asu.stores.manifest import StoredFile

# One part alone; 18 digits are more than any file has bytes.
_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*")


def file_headers(file: StoredFile) -> dict[str, str]:
    """Return the headers of each answer about a file, whatever part of it is sent."""
    return {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{file.name}"',
        "ETag": f'"{file.etag}"',
        "Last-Modified": formatdate(file.modified, usegmt=True),
        "X-Content-Type-Options": "nosniff",
    }


def names_tag(tags: str, tag: str) -> bool:
    """Whether If-None-Match names an entity tag, given with quotes; weak tags and `*` count."""
    named = [one.strip().removeprefix("W/") for one in tags.split(",")]
    return tag in named or "*" in named


def is_unchanged(headers: Mapping[str, str], file: StoredFile) -> bool:
    """Whether the client has the file already; a date counts only where there is no tag."""
    tags = headers.get("If-None-Match")
    if tags is not None:
        return names_tag(tags, f'"{file.etag}"')
    since = _seconds(headers.get("If-Modified-Since", ""))
    return since is not None and file.modified <= since


def wanted_part(headers: Mapping[str, str], file: StoredFile) -> tuple[int, int] | None:
    """Return first byte and length of the part that the client wants; None for the whole file.

    That also answers several parts, other units and parts of an earlier file. Raises
    RangeNotSatisfiable.
    """
    found = _RANGE.fullmatch(headers.get("Range", ""))
    if found is None or found.groups() == ("", "") or not _is_still_the_same(headers, file):
        return None
    first, last = (int(digits) if digits else None for digits in found.groups())
    if first is None:  # The last so many bytes.
        first, last = max(0, file.size - (last or 0)), None
    elif last is not None and last < first:
        return None
    if first >= file.size:
        raise RangeNotSatisfiable(size=file.size)
    return first, min(file.size, last + 1 if last is not None else file.size) - first


def _is_still_the_same(headers: Mapping[str, str], file: StoredFile) -> bool:
    known = headers.get("If-Range")
    return known is None or known == f'"{file.etag}"' or _seconds(known) == file.modified


def _seconds(date: str) -> int | None:
    """Read an HTTP date as seconds since 1970; None for anything else."""
    try:
        parsed = parsedate_to_datetime(date)
        return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None
