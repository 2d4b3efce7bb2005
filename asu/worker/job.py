"""One build, from its start to its outcome.

start the container → make info → prepare it → make manifest → make image → copy out → sign →
publish → record
"""

import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from asu.errors import AsuError, InternalError, PlanUnusable, QueueUnavailable
from asu.logs import logged_with, where_it_failed
from asu.records.build_plan import is_plan_of, safe_plan
from asu.records.build_record import Attempt, BuildRecord, State, new_nonce
from asu.records.worker_records import WorkerRecords
from asu.settings import Settings
from asu.stores.store import Store

from .audit import AuditLog
from .build_run import BuildRun, Superseded, start_run
from .builder_steps import inspect_builder, install, make_images, prepare
from .container import ContainerEngine
from .disk_watch import disk_watched
from .forecast_check import check_forecast
from .kept_failures import keep_failure
from .lease import Lease, patiently
from .live_log import LiveLog
from .outcome_statistics import OutcomeStatistics
from .progress import Progress
from .publication import failure_lifetime, lifetime, publish

if TYPE_CHECKING:
    from .signing import Signer  # Without a key the library of signatures is not loaded.

log = logging.getLogger(__name__)


class Builder:
    """Runs builds with one engine, one store and one set of records."""

    def __init__(
        self,
        settings: Settings,
        *,
        records: WorkerRecords,
        store: Store,
        engine: Callable[[], ContainerEngine],
        statistics: OutcomeStatistics,
        signer: "Signer | None" = None,
        worker: str = "",
    ) -> None:
        self._settings, self._records, self._store, self._engine = settings, records, store, engine
        self._statistics, self._signer, self._worker = statistics, signer, worker
        self._audit = AuditLog(settings.audit_log)

    def run(self) -> None:
        """Build what is next in line, if a build is due; a failed build raises nothing.

        Raises QueueUnavailable where Redis stays away: the build waits, and a sweep adds a ticket.
        """
        nonce = new_nonce(self._worker)
        attempt = patiently(lambda: self._records.start_next(nonce))
        if attempt is None:
            log.info("no build is due")
            return
        with logged_with(**attempt.log_fields):
            self._run(attempt)

    def _run(self, attempt: Attempt) -> None:
        name = _name(attempt)
        log.info("%s begins, request %s", name, attempt.plan.get("request_id", "unknown"))
        progress = Progress(safe_plan(attempt.plan, attempt.key))
        if progress.plan["request"].get("defaults"):
            with contextlib.suppress(QueueUnavailable):
                self._records.note_script(attempt.key)
        # Removing the container takes up to 0.7 s, so the outcome is recorded before.
        with Lease(self._records, attempt) as lease, contextlib.ExitStack() as aftermath:
            try:
                self._build(attempt, progress, lease, aftermath)
                record, ttl = progress.done(), lifetime(attempt.plan["request"], self._settings)
            except Superseded:
                log.warning("%s: superseded, nothing published", name)
                return
            except Exception as error:  # noqa: BLE001  # Each accepted build gets an outcome.
                reason = error if isinstance(error, AsuError) else _mistake(attempt, error)
                if self._put_back(attempt, reason):
                    return
                record, ttl = progress.failed(reason), failure_lifetime(reason, self._settings)
            # Redis may be away for a while; the images are there already.
            if not patiently(lambda: self._records.finish(attempt, record, ttl)):
                log.warning("%s: superseded, outcome dropped", name)
                return
            log.info("%s: %s", name, record.state)
            with contextlib.suppress(QueueUnavailable):
                self._records.end_log(attempt.key)
            self._audit.note(attempt, record, seconds=progress.seconds, files=progress.files)
            self._statistics.note(progress.plan, record, seconds=progress.seconds)
            if record.state is State.FAILED:
                keep_failure(record, attempt, self._store, self._records)
            if self._settings.prepare_service_url:
                self._check_forecast(self._settings.prepare_service_url, progress.plan, record)

    def _check_forecast(self, url: str, plan: Mapping[str, Any], record: BuildRecord) -> None:
        result = check_forecast(url, plan, json.loads(record.body))
        if result is not None:
            self._statistics.note_forecast(result)

    def _build(
        self, attempt: Attempt, progress: Progress, lease: Lease, aftermath: contextlib.ExitStack
    ) -> None:
        if not is_plan_of(attempt.plan, attempt.key):
            raise PlanUnusable
        settings = self._settings
        show = partial(self._show, attempt, progress)
        run = start_run(
            attempt, settings, progress, show=show, engine=self._engine, aftermath=aftermath
        )
        lease.on_loss = run.container.kill

        def is_current() -> bool:
            return patiently(lambda: self._records.renew(attempt))

        printed = LiveLog(partial(self._records.append_log, attempt), run.request["defaults"])
        with disk_watched(run.container, settings):
            with printed:
                run = build_images(replace(run, heard=printed.write))
            builder = settings.builder_id or f"urn:x-asu:system:{patiently(self._records.system)}"
            publish(run, self._store, self._signer, builder_id=builder, is_current=is_current)

    def _show(self, attempt: Attempt, progress: Progress, step: str) -> None:
        """Show pollers a step; raises Superseded."""
        try:
            if not self._records.progress(attempt, step, progress.begun(step)):
                raise Superseded
        except QueueUnavailable:
            log.warning("%s: step %s not shown, Redis is away", _name(attempt), step)

    def _put_back(self, attempt: Attempt, error: AsuError) -> bool:
        """Put a build back in line if another attempt may go better; return whether it is there.

        While Redis is away this is impossible: the lease ends, and a sweep takes the build back as
        that of a lost worker.
        """
        delays = self._settings.retry_delays
        if not error.is_passing or attempt.tries > min(len(delays), error.most_retries):
            return False
        delay = delays[attempt.tries - 1]
        is_back = patiently(lambda: self._records.retry(attempt, error.code, delay))
        if is_back:
            reason = f"{error.code} ({error.fault}): {error.detail}"
            log.warning("%s: %s; begun again in %g s", _name(attempt), reason, delay)
        return is_back


def build_images(run: BuildRun) -> BuildRun:
    """Take a build from its started container to its images."""
    return make_images(install(prepare(inspect_builder(run))))


def _name(attempt: Attempt) -> str:
    return f"build {attempt.key} attempt {attempt.number}"


def _mistake(attempt: Attempt, error: Exception) -> AsuError:
    """Log where an unexpected error occurred; its message may quote the first-boot script."""
    log.error("%s failed: %s", _name(attempt), where_it_failed(error))
    return InternalError(request_id=attempt.key)
