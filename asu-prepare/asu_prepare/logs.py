"""What the service writes to standard error: lines for people, or one JSON object per line.

The message of an exception may quote what a caller sent, so it is never written, not even if a
library logs it.
"""

import json
import logging
import logging.config
import traceback
from datetime import UTC, datetime
from typing import Any

LOGGER_NAME = "asu_prepare"


class Lines(logging.Formatter):
    """Lines for people; control characters are shown and later lines marked, so none is forged."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; each of its lines is printable."""
        return "\n  | ".join(map(_printable, super().format(record).split("\n")))

    def formatException(self, ei: Any) -> str:  # noqa: N802  # The name is the library's.
        """Say where an exception came from."""
        return _where_it_failed(ei[1]) if ei[1] else ""


class JsonLines(logging.Formatter):
    """One JSON object per record; JSON escapes everything that could end or colour a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line; the values of `extra={"event": {…}}` become keys."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "event", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["traceback"] = _where_it_failed(record.exc_info[1])
        return json.dumps(line)


def _where_it_failed(error: BaseException) -> str:
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}".rstrip()


def _printable(line: str) -> str:
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in line
    )


def configure_logging(*, level: str, style: str) -> None:
    """Send all records from `level` on to standard error."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "text": {"()": Lines, "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
                "json": {"()": JsonLines},
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": style}},
            # The HTTP client would log each exchange; failures are logged where they matter.
            "loggers": {"httpx2": {"level": "WARNING"}, "httpcore2": {"level": "WARNING"}},
            "root": {"level": level.upper(), "handlers": ["stderr"]},
        }
    )
