"""Bounds for reading what a build has printed, since a package may print anything.

A regular expression keeps the interpreter to itself, so one that takes long would stop the lease.
No pattern for such output takes more than linear time for a line, and this bounds the rest.
"""

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from asu.errors import OutputUnreadable

from .container import CommandResult

LINE = 1024  # Characters of a line that are read; a builder's own longest has half of them.
SECONDS = 1.0  # Of processor time; reading a genuine output takes some milliseconds.
_LONG = re.compile(rf"([^\n]{{{LINE}}})[^\n]+")


def with_short_lines(result: CommandResult) -> CommandResult:
    """Return an output whose lines are cut at `LINE`."""
    stdout, stderr = (_LONG.sub(r"\1", text) for text in (result.stdout, result.stderr))
    return CommandResult(result.exit_code, stdout, stderr)


@contextmanager
def time_limited(seconds: float = SECONDS) -> Iterator[None]:
    """Raise OutputUnreadable when what is inside takes more processor time.

    The regular expressions of Python look for signals while they work. Only the main thread can be
    interrupted, in which each work-horse builds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, _give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _give_up(*_: Any) -> NoReturn:
    raise OutputUnreadable
