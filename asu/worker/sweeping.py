"""Tidies between and during builds: lost builds and tickets, left-over containers, old files.

Every worker sweeps, also at the same time: the transitions are atomic. Where one part or one lost
build fails, the others are done nevertheless.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from asu.builds.build_queue import BuildQueue
from asu.builds.fleet import STEADY_SECONDS, FleetNotes, WorkerNote
from asu.disk_space import free_bytes
from asu.errors import AsuError, BuildStopsWorkers, WorkerLost
from asu.logs import logged_with, where_it_failed
from asu.records.build_plan import safe_plan
from asu.records.build_record import LEASE_SECONDS, Attempt
from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from asu.stores.store import Lifetimes, Store

from .audit import AuditLog
from .container import ContainerEngine
from .kept_failures import keep_failure
from .outcome_statistics import OutcomeStatistics
from .progress import Progress
from .publication import failure_lifetime
from .retention import keep_within

log = logging.getLogger(__name__)

CONTAINERS_EVERY = 15.0  # Seconds; listing containers costs podman 20 ms.
# Seconds. A client that saw an image in the last second of its record may still download it; and a
# build that waits for Redis keeps its workplace for longer than its deadline.
GRACE = 3600


@dataclass(slots=True, kw_only=True)
class Swept:
    """What one sweep did, by the keys of builds, and in words what it could not do."""

    taken_back: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    evicted: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def in_words(self) -> str:
        """Return a line for each thing that was done, and for each that could not be."""
        done = {
            "put back in line, its worker was lost": self.taken_back,
            "given up, all its workers were lost": self.given_up,
            "its container is left over and removed": self.containers,
            "its record has ended, its files are removed": self.files,
            (
                "the store has more than its budget, and nobody wanted it for longest; "
                "record and files are removed"
            ): self.evicted,
            (
                "its files were damaged and are removed, it is built again when it is asked for"
            ): self.damaged,
        }
        lines = [f"build {key}: {what}" for what, keys in done.items() for key in keys]
        lines += [f"not swept: {trouble}" for trouble in self.troubles]
        return "".join(f"{line}\n" for line in lines or ["nothing was to be done"])


class Sweep:
    """The regular tidying of a worker; what it sees of podman, disk and store goes to `notes`."""

    def __init__(
        self,
        settings: Settings,
        *,
        records: WorkerRecords,
        queue: BuildQueue,
        store: Store,
        engine: Callable[[], ContainerEngine],
        statistics: OutcomeStatistics,
        live_workers: Callable[[], Collection[str]],
        steady_workers: Callable[[], Collection[str]] = tuple,
        notes: FleetNotes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live_workers, self._steady_workers = live_workers, steady_workers
        self._settings, self._records, self._queue = settings, records, queue
        self._store, self._engine, self._statistics = store, engine, statistics
        self._notes, self._audit, self._trouble = notes, AuditLog(settings.audit_log), ""
        # A directory without a manifest may be of a release or a snapshot: the longer time counts.
        longest = max(settings.build_ttl, settings.build_ttl_unversioned)
        self._lifetimes = Lifetimes(
            grace=GRACE, undocumented=longest + GRACE, workplaces=settings.build_deadline + GRACE
        )
        self._containers_due = self._files_due = 0.0
        self._clock, self._steady_since, self._last_began = clock, clock(), clock()
        # Redis may have given them up already, and its reply was lost.
        self._unconfirmed: dict[tuple[str, int], Attempt] = {}

    def __call__(self) -> Swept:
        """Tidy once, containers and files only if it is time for them; return what was done."""
        swept, began = Swept(), self._clock()
        self._note_worker(swept)
        if swept.troubles or began - self._last_began > STEADY_SECONDS:
            self._steady_since = self._clock()
        self._last_began = began
        with _alone("lost builds", swept):
            self._take_all_back(swept)
        with _alone("tickets", swept):
            self._queue.top_up(len(self._records.due_keys()))
        if time.monotonic() >= self._containers_due:
            self._containers_due = time.monotonic() + CONTAINERS_EVERY
            self._remove_containers(swept)
        if time.monotonic() >= self._files_due:
            self._files_due = time.monotonic() + self._store.expire_every
            self._remove_files(swept)
        return swept

    def _take_all_back(self, swept: Swept) -> None:
        """Take back what is abandoned, and builds that the last sweep gave up without an answer.

        Their outcome must still reach the audit log and the statistics.
        """
        found = {(attempt.key, attempt.number): attempt for attempt in self._records.abandoned()}
        for place, attempt in (found | self._unconfirmed).items():
            with logged_with(**attempt.log_fields), _alone(f"build {attempt.key}", swept):
                self._take_back(attempt, swept)
                self._unconfirmed.pop(place, None)
            self._containers_due = 0.0  # Its container builds on, for nobody.

    def _take_back(self, attempt: Attempt, swept: Swept) -> None:
        # Its worker lives, so the build itself has stopped the process that makes it.
        is_stopped = self._is_witness() and attempt.worker in self._steady_workers()
        error: AsuError = WorkerLost(attempts=attempt.tries)
        if is_stopped and self._was_stopped_before(attempt):
            error = BuildStopsWorkers()
        elif attempt.tries < self._settings.max_attempts:
            code = BuildStopsWorkers.code if is_stopped else WorkerLost.code
            if self._records.requeue(attempt.key, attempt.number, code):
                swept.taken_back.append(attempt.key)
                number = attempt.tries + 1
                log.warning(
                    "build %s: its worker was lost, try %s starts over", attempt.key, number
                )
            return
        plan = safe_plan(attempt.plan, attempt.key)
        record = Progress(plan).failed(error)
        self._unconfirmed[attempt.key, attempt.number] = attempt
        if self._records.give_up(attempt, record, failure_lifetime(error, self._settings)):
            swept.given_up.append(attempt.key)
            self._audit.note(attempt, record, seconds=0, files={})
            self._statistics.note(plan, record, seconds=0)
            keep_failure(record, attempt, self._store, self._records)

    def _was_stopped_before(self, attempt: Attempt) -> bool:
        try:
            last = json.loads(self._records.tried(attempt.key))[-1]
            return (last["code"], last["step"]) == (BuildStopsWorkers.code, attempt.step)
        except (ValueError, LookupError, TypeError):  # The first attempt, or what somebody wrote.
            return False

    def _is_witness(self) -> bool:
        """Whether Redis answered for so long that no lease can have ended for want of it."""
        return self._clock() - self._steady_since > 2 * LEASE_SECONDS

    def _remove_containers(self, swept: Swept) -> None:
        before = len(swept.troubles)
        with _alone("containers", swept), contextlib.closing(self._engine()) as engine:
            for key, number, container in engine.leftovers():
                if not self._records.is_current(Attempt(key=key, number=number, plan={})):
                    log.warning(
                        "build %s attempt %s: its container is left over and removed", key, number
                    )
                    container.remove()
                    swept.containers.append(key)
            engine.remove_networks(self._live_workers())
        trouble = "".join(swept.troubles[before:]).removeprefix("containers: ")
        if trouble != self._trouble:
            self._trouble = trouble
            self._note_worker(swept)

    def _note_worker(self, swept: Swept) -> None:
        """Note that this worker is alive, the trouble with podman, and the free disk space."""
        if self._notes:
            with _alone("note of this worker", swept):
                free = free_bytes(self._settings.store_path)
                self._notes.note_worker(WorkerNote(trouble=self._trouble, disk_free=free))

    def _remove_files(self, swept: Swept) -> None:
        with _alone("first-boot scripts", swept):
            self._records.erase_scripts()
        usage = None
        with _alone("files", swept):
            for key in self._store.expire(self._lifetimes, self._records.is_known):
                log.info("build %s: its record has ended, its files are removed", key)
                swept.files.append(key)
            for key in self._store.remove_damaged():
                log.warning(
                    "build %s: its files were damaged and are removed; look at the disk", key
                )
                swept.damaged.append(key)
            for key in keep_within(self._settings.store_budget_mb, self._store, self._records):
                log.info(
                    "build %s: removed before its time, to keep the store within its budget", key
                )
                swept.evicted.append(key)
            usage = self._store.usage() if self._notes else None
        if self._notes and usage:
            with _alone("note of the store", swept):
                self._notes.note_store(usage)


@contextlib.contextmanager
def _alone(part: str, swept: Swept) -> Iterator[None]:
    """Log and note what fails in a part of a sweep, and go on."""
    try:
        yield
    except AsuError as error:
        log.warning("%s not swept: %s", part, error.detail)
        swept.troubles.append(f"{part}: {error.detail}")
    except Exception as error:  # noqa: BLE001  # Its message may quote a plan.
        log.error("%s not swept: %s", part, where_it_failed(error))  # noqa: TRY400
        swept.troubles.append(f"{part}: an error of ours; the log says where")
