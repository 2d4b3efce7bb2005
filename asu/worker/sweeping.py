"""What a worker tidies between and during builds.

Builds whose worker died, jobs that were lost, containers that nobody owns, files that nobody knows any more.

Every worker sweeps; the transitions are atomic, so it does no harm when two do at once.
"""

import contextlib
import logging
import time
from collections.abc import Callable

from asu.build_queue import BuildQueue, Reconciler
from asu.build_record import Attempt, WorkerRecords
from asu.errors import AsuError, StoreFailed, WorkerLost
from asu.settings import Settings
from asu.stores.base import Lifetimes, Store

from .accounting import Accounts
from .container import ContainerEngine
from .progress import Progress

log = logging.getLogger(__name__)

CONTAINERS_EVERY = 15.0  # Seconds; listing containers costs podman 20 ms.
# Seconds. Who was told of an image in the last second of its record may still download it; and a build that waits for Redis
# to come back has its workplace for longer than its deadline.
GRACE = 3600


class Sweep:
    """The regular tidying of a worker."""

    def __init__(
        self,
        settings: Settings,
        *,
        records: WorkerRecords,
        queue: BuildQueue,
        store: Store,
        engine: Callable[[], ContainerEngine],
        accounts: Accounts,
    ) -> None:
        self._settings, self._records, self._queue, self._store, self._engine, self._accounts = settings, records, queue, store, engine, accounts
        # A directory without a manifest does not tell whether it holds a snapshot, so the longer life of a release is that of all.
        longest = max(settings.build_ttl, settings.build_ttl_unversioned)
        self._lifetimes = Lifetimes(grace=GRACE, undocumented=longest + GRACE, workplaces=settings.build_deadline + GRACE)
        self._reconcile = Reconciler(queue)
        self._containers_due = self._files_due = 0.0

    def __call__(self) -> None:
        """Tidy once."""
        for attempt in self._records.abandoned():
            self._take_back(attempt)
        self._reconcile(self._records.waiting_keys())
        if time.monotonic() >= self._containers_due:
            self._containers_due = time.monotonic() + CONTAINERS_EVERY
            self._remove_containers()
        if time.monotonic() >= self._files_due:
            self._files_due = time.monotonic() + self._store.expire_every
            self._remove_files()

    def _take_back(self, attempt: Attempt) -> None:
        if attempt.tries < self._settings.max_attempts:
            if self._records.requeue(attempt.key, attempt.number):
                self._queue.replace(attempt.key)
                log.warning("build %s: its worker was lost, try %s starts over", attempt.key, attempt.tries + 1)
            return
        record = Progress(attempt.plan).failed(WorkerLost(attempts=attempt.tries))
        if self._records.finish(attempt, record, self._settings.retry_failure_ttl):
            self._accounts.note(attempt.plan, record, seconds=0)

    def _remove_containers(self) -> None:
        try:
            with contextlib.closing(self._engine()) as engine:
                for key, number, container in engine.leftovers():
                    if not self._records.is_current(Attempt(key=key, number=number, plan={})):
                        log.warning("build %s attempt %s: its container is left over and removed", key, number)
                        container.remove()
        except AsuError as error:
            log.warning("containers not swept: %s", error.detail)

    def _remove_files(self) -> None:
        try:
            for key in self._store.expire(self._lifetimes, self._records.is_known):
                log.info("build %s: its record has ended, its files are removed", key)
        except StoreFailed as error:
            log.warning("files not swept: %s", error.detail)
