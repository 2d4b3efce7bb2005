"""What an attempt needs of Redis for as long as it runs: its lease, and patience where Redis is away."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Self, TypeVar

from asu.errors import QueueUnavailable
from asu.records.build_record import Attempt
from asu.records.worker_records import WorkerRecords

RENEWAL = 5.0  # Seconds between renewals of the lease.
# Seconds that a build that begins or ends waits for Redis to come back before it is given up.
PUBLISH_PATIENCE = 120
PATIENCE_PAUSE = 0.25  # Seconds between the tries.


Answer = TypeVar("Answer")


class Lease(threading.Thread):
    """Renews the lease of an attempt while it runs, and ends its container when the attempt is no longer the current one."""

    def __init__(self, records: WorkerRecords, attempt: Attempt) -> None:
        super().__init__(daemon=True)
        self._records, self._attempt = records, attempt
        self._ended = threading.Event()
        self.on_loss: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def run(self) -> None:
        """Renew until the end."""
        while not self._ended.wait(RENEWAL):
            with contextlib.suppress(QueueUnavailable):
                if not self._records.renew(self._attempt):
                    self.on_loss()
                    return


def patiently(ask: Callable[[], Answer]) -> Answer:
    """Ask the records until Redis answers; raises QueueUnavailable when it stays away.

    It may have done what it was asked without an answer, so what is asked must come to the same
    when it is asked twice.
    """
    give_up = time.monotonic() + PUBLISH_PATIENCE
    while True:
        try:
            return ask()
        except QueueUnavailable:
            if time.monotonic() > give_up:
                raise
            time.sleep(PATIENCE_PAUSE)
