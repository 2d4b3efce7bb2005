"""What the service writes to standard error: lines for people, or one JSON object per line."""

import json
import logging
import logging.config
from datetime import UTC, datetime

LOGGER_NAME = "asu_prepare"


class JsonLines(logging.Formatter):
    """One JSON object per record; JSON escapes everything that could end or colour a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line; values given as `extra={"event": {…}}` become keys of their own."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "event", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(*, level: str, style: str) -> None:
    """Send all records from `level` on to standard error."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"text": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}, "json": {"()": JsonLines}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": style}},
            # The HTTP client would tell of each exchange; what goes wrong with one is told where it matters.
            "loggers": {"httpx2": {"level": "WARNING"}, "httpcore2": {"level": "WARNING"}},
            "root": {"level": level.upper(), "handlers": ["stderr"]},
        }
    )
