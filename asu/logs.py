"""Logging to standard error: lines for people, or one JSON object per line.

`logged_with` adds fields to all lines of a request, a build or an attempt. Exceptions are logged
without their messages, which may quote a request. Only `__main__` sets logging up.
"""

import json
import logging
import os
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from typing_extensions import override

Fields = Mapping[str, str | int]
_fields: ContextVar[Fields] = ContextVar("fields", default=MappingProxyType({}))
# These report every request and every round at info; the last four report signed requests at debug.
CHATTY = ("httpx2", "rq.worker", "boto3", "botocore", "s3transfer", "urllib3")


def configure_logging(level: str, style: Literal["text", "json"] = "text") -> None:
    """Log from `level` on. Control characters are shown, never sent to a terminal."""
    text = Lines("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if style == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def log_fields() -> Fields:
    """Return the fields of lines that are logged here."""
    return _fields.get()


class logged_with:  # noqa: N801  # Used as a function; a generator would cost each poll 1 µs more.
    """Add fields to every line that is logged inside, also by tasks that begin inside."""

    __slots__ = ("_added", "_token")
    _token: Token[Fields]

    def __init__(self, **fields: str | int) -> None:
        self._added = fields

    def __enter__(self) -> None:
        self._token = _fields.set({**log_fields(), **self._added})

    def __exit__(self, *_: object) -> None:
        _fields.reset(self._token)


class Lines(logging.Formatter):
    """Lines for people. All lines of a record after the first are marked, so none can be forged."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return "\n  | ".join(map(_printable, super().format(record).split("\n")))

    @override
    def formatException(self, ei: Any) -> str:
        return where_it_failed(ei[1]) if ei[1] else ""


class JsonLines(logging.Formatter):
    """One JSON object per record, with `request_id`, `build` and `attempt` where they are known.

    JSON escapes what could end the line or colour it.
    """

    @override
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **log_fields(),
        }
        if record.exc_info and record.exc_info[1]:
            line["traceback"] = where_it_failed(record.exc_info[1])
        return json.dumps(line)


def where_it_failed(error: BaseException) -> str:
    """Return kind and traceback of an exception and its causes, without their messages."""
    return "\n".join(
        f"{_kind(link)}\n{''.join(traceback.format_tb(link.__traceback__))}".rstrip()
        for link in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, as a traceback would show them."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _kind(error: BaseException) -> str:
    """Name an exception, with the operating system's words, which quote no request."""
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return f"{type(error).__name__} ({os.strerror(error.errno)})"
    return type(error).__name__


def _printable(line: str) -> str:
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in line
    )
