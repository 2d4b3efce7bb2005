"""What a worker tidies between builds: builds whose worker died, jobs that were lost, containers that nobody owns.

Every worker sweeps; the transitions are atomic, so it does no harm when two do at once.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable

from asu.build_queue import BuildQueue, reconcile
from asu.build_record import Attempt, BuildRecord, State, WorkerRecords
from asu.errors import AsuError, WorkerLost
from asu.settings import Settings

from .container import ContainerEngine

log = logging.getLogger(__name__)

CONTAINERS_EVERY = 15.0  # Seconds; listing containers costs podman 20 ms.


class Sweep:
    """The regular tidying of a worker."""

    def __init__(self, settings: Settings, *, records: WorkerRecords, queue: BuildQueue, engine: Callable[[], ContainerEngine]) -> None:
        self._settings, self._records, self._queue, self._engine = settings, records, queue, engine
        self._containers_due = 0.0

    def __call__(self) -> None:
        """Tidy once."""
        for key, number in self._records.abandoned():
            self._take_back(key, number)
        reconcile(self._queue, self._records.waiting_keys())
        if time.monotonic() >= self._containers_due:
            self._containers_due = time.monotonic() + CONTAINERS_EVERY
            self._remove_containers()

    def _take_back(self, key: str, number: int) -> None:
        if number < self._settings.max_attempts:
            if self._records.requeue(key, number):
                self._queue.replace(key)
                log.warning("build %s: its worker was lost, attempt %s starts over", key, number + 1)
            return
        error = WorkerLost(attempts=number)
        body = {**error.body(), "detail": f"Error: {error.detail}", "imagebuilder_status": "failed", "request_hash": key, "stdout": "", "stderr": ""}
        record = BuildRecord(state=State.FAILED, step="failed", body=json.dumps(body).encode(), fault=error.fault)
        self._records.finish(Attempt(key=key, number=number, plan={}), record, self._settings.retry_failure_ttl)

    def _remove_containers(self) -> None:
        try:
            with contextlib.closing(self._engine()) as engine:
                for key, number, container in engine.leftovers():
                    if not self._records.is_current(Attempt(key=key, number=number, plan={})):
                        log.warning("build %s attempt %s: its container is left over and removed", key, number)
                        container.remove()
        except AsuError as error:
            log.warning("containers not swept: %s", error.detail)
