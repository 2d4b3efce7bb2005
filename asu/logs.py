"""Logging: readable lines on standard error, or one JSON object per line, without what requests hold; set up by `__main__` alone."""

import json
import logging
import os
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from .log_context import log_fields

_ExceptionInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


def configure_logging(level: str, style: Literal["text", "json"] = "text") -> None:
    """Log from `level` on, in lines for people or for programs; control characters are shown, never sent to a terminal."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines()
        if style == "json"
        else Lines("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They report every request and every five-second round at info; the last four, at debug,
    # requests with their signatures.
    for chatty in ("httpx2", "rq.worker", "boto3", "botocore", "s3transfer", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class Lines(logging.Formatter):
    """Keeps what an attacker may have shaped from forging lines: all lines of a record but the first are marked."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; each of its lines is printable."""
        return "\n  | ".join(map(_printable, super().format(record).split("\n")))

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802  # The name is the library's.
        """Say where an exception came from, without its message; other libraries log exceptions too."""
        return where_it_failed(ei[1]) if ei[1] else ""


class JsonLines(logging.Formatter):
    """One JSON object per record, with what the line belongs to: `request_id`, `build` and `attempt` where they are known."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line; JSON escapes everything that could end or colour it."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **log_fields(),
        }
        if record.exc_info and record.exc_info[1]:
            # Never the message of the exception, which may quote a request.
            line["traceback"] = where_it_failed(record.exc_info[1])
        return json.dumps(line)


def where_it_failed(error: BaseException) -> str:
    """Return an exception's kind and traceback, and those of its causes, without messages: they may quote a first-boot script."""
    return "\n".join(
        f"{_kind(link)}\n{''.join(traceback.format_tb(link.__traceback__))}".rstrip()
        for link in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what led to it, as a traceback would show it."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _kind(error: BaseException) -> str:
    """Name an exception; what the operating system says is told as well, since it quotes nobody."""
    said = (
        f" ({os.strerror(error.errno)})"
        if isinstance(error, OSError) and isinstance(error.errno, int)
        else ""
    )
    return f"{type(error).__name__}{said}"


def _printable(line: str) -> str:
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in line
    )
