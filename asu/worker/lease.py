"""What an attempt needs of Redis: its lease, and patience where Redis is away."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Self, TypeVar

from typing_extensions import override

from asu.errors import QueueUnavailable
from asu.records.build_record import Attempt
from asu.records.worker_records import WorkerRecords

log = logging.getLogger(__name__)

RENEWAL = 5.0  # Seconds between renewals of the lease.
LOST_PATIENCE = 120.0  # Seconds; its container is killed at once, and the rest is to clear away.
# Seconds that a build that begins or ends waits for Redis to come back before it is given up.
PUBLISH_PATIENCE = 120
PATIENCE_PAUSE = 0.25  # Seconds between the tries.


Answer = TypeVar("Answer")


class Lease(threading.Thread):
    """Renews the lease of an attempt while it runs; calls `on_loss` when another has taken over.

    The attempt must then end within `patience` seconds, or its process is ended: what holds it up
    would keep the worker from all other builds.
    """

    def __init__(
        self, records: WorkerRecords, attempt: Attempt, *, patience: float = LOST_PATIENCE
    ) -> None:
        super().__init__(daemon=True)
        self._records, self._attempt, self._patience = records, attempt, patience
        self._ended = threading.Event()
        self.on_loss: Callable[[], None] = lambda: None
        self.end_process: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    @override
    def run(self) -> None:
        while not self._ended.wait(RENEWAL):
            with contextlib.suppress(QueueUnavailable):
                if not self._records.renew(self._attempt):
                    self.on_loss()
                    if not self._ended.wait(self._patience):
                        log.error("build %s does not end without its lease", self._attempt.key)
                        self.end_process()
                    return


def patiently(ask: Callable[[], Answer]) -> Answer:
    """Ask the records until Redis answers; raise QueueUnavailable when it stays away.

    Redis may have done it without an answer, so doing it twice must change nothing.
    """
    give_up = time.monotonic() + PUBLISH_PATIENCE
    while True:
        try:
            return ask()
        except QueueUnavailable:
            if time.monotonic() > give_up:
                raise
            time.sleep(PATIENCE_PAUSE)
