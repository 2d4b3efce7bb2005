"""What the service's lines look like, whatever they hold."""

import json
import logging
import sys

from asu_prepare.logs import JsonLines, Lines

SCRIPT = "#!/bin/sh"


def written(formatter: logging.Formatter, message: str, *, failed: bool = False) -> str:
    """Return what a record looks like in the log, with an exception that quotes a request where one
    is wanted.
    """
    error = None
    if failed:
        try:
            int(SCRIPT)
        except ValueError:
            error = sys.exc_info()
    return formatter.format(
        logging.LogRecord("uvicorn.error", logging.ERROR, __file__, 1, message, None, error)
    )


def test_a_logged_exception_tells_no_message() -> None:
    """Libraries log exceptions, too; the lines say kind and place."""
    line, shown = (
        written(Lines(), "failed", failed=True),
        json.loads(written(JsonLines(), "failed", failed=True)),
    )

    assert "ValueError" in line
    assert "  |   File " in line
    assert shown["traceback"].startswith("ValueError\n")
    assert SCRIPT not in line + str(shown)


def test_nobody_forges_a_line() -> None:
    """Control characters are shown, and what follows a line end is marked as belonging to the
    record.
    """
    assert written(Lines(), "a\nb\x1b[1m\rc") == "a\n  | b\\x1b[1m\\rc"
    assert "\n" not in written(JsonLines(), "a\nb\x1b[1m\rc")
