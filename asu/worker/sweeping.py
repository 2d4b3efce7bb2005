"""What a worker tidies between and during builds: builds whose worker died, jobs that were lost, containers that nobody owns.

Every worker sweeps; the transitions are atomic, so it does no harm when two do at once.
"""

import contextlib
import logging
import time
from collections.abc import Callable

from asu.build_queue import BuildQueue, Reconciler
from asu.build_record import Attempt, WorkerRecords
from asu.errors import AsuError, WorkerLost
from asu.settings import Settings

from .container import ContainerEngine
from .progress import Progress

log = logging.getLogger(__name__)

CONTAINERS_EVERY = 15.0  # Seconds; listing containers costs podman 20 ms.


class Sweep:
    """The regular tidying of a worker."""

    def __init__(self, settings: Settings, *, records: WorkerRecords, queue: BuildQueue, engine: Callable[[], ContainerEngine]) -> None:
        self._settings, self._records, self._queue, self._engine = settings, records, queue, engine
        self._reconcile = Reconciler(queue)
        self._containers_due = 0.0

    def __call__(self) -> None:
        """Tidy once."""
        for attempt in self._records.abandoned():
            self._take_back(attempt)
        self._reconcile(self._records.waiting_keys())
        if time.monotonic() >= self._containers_due:
            self._containers_due = time.monotonic() + CONTAINERS_EVERY
            self._remove_containers()

    def _take_back(self, attempt: Attempt) -> None:
        if attempt.tries < self._settings.max_attempts:
            if self._records.requeue(attempt.key, attempt.number):
                self._queue.replace(attempt.key)
                log.warning("build %s: its worker was lost, try %s starts over", attempt.key, attempt.tries + 1)
            return
        record = Progress(attempt.plan).failed(WorkerLost(attempts=attempt.tries))
        self._records.finish(attempt, record, self._settings.retry_failure_ttl)

    def _remove_containers(self) -> None:
        try:
            with contextlib.closing(self._engine()) as engine:
                for key, number, container in engine.leftovers():
                    if not self._records.is_current(Attempt(key=key, number=number, plan={})):
                        log.warning("build %s attempt %s: its container is left over and removed", key, number)
                        container.remove()
        except AsuError as error:
            log.warning("containers not swept: %s", error.detail)
