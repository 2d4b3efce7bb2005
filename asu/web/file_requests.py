"""What HTTP lets a client ask about a file: whether it has changed, and a part of it (RFC 9110, sections 13 and 14)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime

from asu.errors import RangeNotSatisfiable
from asu.stores.store import StoredFile

# More digits than any file has bytes; one part alone.
_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*")


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of a file: the first, and how many."""

    start: int
    length: int


def file_headers(file: StoredFile) -> dict[str, str]:
    """Return what is told of a file with each answer, whatever part of it is sent."""
    return {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{file.name}"',
        "ETag": f'"{file.etag}"',
        "Last-Modified": formatdate(file.modified, usegmt=True),
        "X-Content-Type-Options": "nosniff",
    }


def names_tag(tags: str, tag: str) -> bool:
    """Whether a header such as If-None-Match names an entity tag, given with its quotes; weak tags count, and `*` names all."""
    named = [one.strip().removeprefix("W/") for one in tags.split(",")]
    return tag in named or "*" in named


def is_unchanged(headers: Mapping[str, str], file: StoredFile) -> bool:
    """Whether the client says that it has the file already; a tag counts, and a date only where there is no tag."""
    tags = headers.get("If-None-Match")
    if tags is not None:
        return names_tag(tags, f'"{file.etag}"')
    since = _seconds(headers.get("If-Modified-Since", ""))
    return since is not None and file.modified <= since


def wanted_part(headers: Mapping[str, str], file: StoredFile) -> Part | None:
    """Return the part that the client wants; None for the whole file. Raises RangeNotSatisfiable.

    Several parts at once, other units and what makes no sense are answered with the whole file, as
    is a part of an earlier file.
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
    return Part(first, min(file.size, last + 1 if last is not None else file.size) - first)


def _is_still_the_same(headers: Mapping[str, str], file: StoredFile) -> bool:
    """Whether the file is the one of which the client has a part, if it names one."""
    known = headers.get("If-Range")
    return known is None or known == f'"{file.etag}"' or _seconds(known) == file.modified


def _seconds(date: str) -> int | None:
    """Read an HTTP date; None for anything else."""
    try:
        parsed = parsedate_to_datetime(date)
        return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None
