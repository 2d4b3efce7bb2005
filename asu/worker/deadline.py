"""A deadline of ours on what podman does: its API has none, and a timeout of the connection begins anew with each byte."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deadline_of(seconds: float, end_it: Callable[[], object]) -> Iterator[threading.Event]:
    """Call `end_it` from another thread if the block takes longer than so many seconds; the event that is yielded tells whether it did."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        end_it()

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
