"""RQ's worker with our sweep; it begins no build while its machine has no space for one.

RQ waits for tickets, forks a process for each, watches it and ends after the current build when it
gets SIGTERM. A full Redis refuses most of what RQ writes, and none of that is needed.
"""

import contextlib
import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import OutOfMemoryError
from redis.exceptions import TimeoutError as NoAnswer
from rq import Queue, Worker
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker import WorkerStatus
from typing_extensions import override

from asu.builds.build_queue import PAYLOAD_VERSION, QUEUE
from asu.errors import QueueUnavailable
from asu.logs import where_it_failed
from asu.records.redis_connections import ignoring_out_of_memory

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # From <sys/prctl.h>.
# Seconds; RQ's defaults (420, 30, 600) would let a lost worker go unnoticed for minutes.
WORKER_TTL = 20
MAINTENANCE_INTERVAL = 5
LOOK_AGAIN = 1.0  # Seconds between two looks at a disk or a Redis that is full; each costs little.


def ticket_class(build: Callable[[], None]) -> type[Job]:
    """Return a class of jobs that call `build`, whatever function stands in Redis.

    An error fails the job without its message, which may quote a first-boot script.
    """

    class Ticket(Job):
        def _execute(self) -> None:
            version = self.kwargs["payload"].get("version")
            if version not in range(1, PAYLOAD_VERSION + 1):
                log.error(
                    "job of version %r is not understood; "
                    "upgrade all workers together with the API",
                    version,
                )
                return None
            try:
                return build()
            except BaseException as error:  # noqa: BLE001  # RQ catches all of them, too.
                where = where_it_failed(error)
            log.error("job %s ended with an error of ours: %s", self.id, where)
            # Out here it has no cause that RQ could quote.
            raise RuntimeError("an error of ours; the worker's log says where")

    return Ticket


class BuildWorker(Worker):
    """RQ's worker with our sweep. It takes no ticket while `may_begin` returns False.

    `leave` is called when it ends.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        build: Callable[[], None],
        sweep: Callable[[], object],
        may_begin: Callable[[], bool] = lambda: True,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        job_class = ticket_class(build)
        super().__init__(
            [Queue(QUEUE, connection=redis, serializer=JSONSerializer, job_class=job_class)],
            connection=redis,
            serializer=JSONSerializer,
            job_class=job_class,
            worker_ttl=WORKER_TTL,
            job_monitoring_interval=MAINTENANCE_INTERVAL,
            maintenance_interval=MAINTENANCE_INTERVAL,
            log_job_description=False,
        )
        self._sweep, self._may_begin, self._leave = sweep, may_begin, leave

    @override
    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        take = super().dequeue_job_and_maintain_ttl
        while True:
            self._wait_until_one_may_begin()
            # Redis may have filled up since the look.
            with ignoring_out_of_memory("no build is begun"):
                taken = take(timeout, max_idle_time)
                # It may have waited long for this ticket, and its disk may be full by now.
                if taken is None or (self._may_begin() and not self._stop_requested):
                    return taken
                ticket, queue = taken
                queue.push_job_id(ticket.id, at_front=True)
                queue.intermediate_queue.remove(ticket.id)

    def _wait_until_one_may_begin(self) -> None:
        """Return when a build may be begun, or raise StopRequested; do RQ's duties meanwhile."""
        while True:
            self._end_if_stopped()
            if self._may_begin():
                return
            # A Redis that comes back finds its worker waiting.
            with contextlib.suppress(NoConnection, NoAnswer):
                self.heartbeat()
                if self.should_run_maintenance_tasks:
                    self.run_maintenance_tasks()
            time.sleep(LOOK_AGAIN)

    @override
    def execute_job(self, job: Job, queue: Queue) -> None:
        # A worker that ended here might not be started again.
        with ignoring_out_of_memory("RQ does not learn what becomes of a build"):
            super().execute_job(job, queue)
        self.executions.clear()  # The next build would be taken for one that RQ could not note.
        self.set_state(WorkerStatus.IDLE)

    @override
    def run_maintenance_tasks(self) -> None:
        with ignoring_out_of_memory("RQ does not tidy"):
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]  # RQ has no types.
        # RQ skips this when Redis refuses a write; without it, sweeps would run back to back.
        self.last_cleaned_at = now()  # type: ignore[assignment]
        self._sweep_safely()
        self._end_if_stopped()

    @override
    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        with ignoring_out_of_memory("RQ does not learn that a build goes on"):
            super().maintain_heartbeats(job, execution)
        # RQ does its other duties only between jobs, and busy workers have no pause.
        self._sweep_safely()

    def _sweep_safely(self) -> None:
        try:
            self._sweep()
        except Exception:
            log.exception("sweep failed; it is tried again in %s s", MAINTENANCE_INTERVAL)

    @override
    def handle_warm_shutdown_request(self) -> None:
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]  # As above.
        # RQ raises an exception at any line, and a sweep goes on after those.
        self._stop_requested = True

    def _end_if_stopped(self) -> None:
        if self._stop_requested:
            raise StopRequested

    @override
    def main_work_horse(self, job: Job, queue: Queue) -> None:
        # This process builds. It must die with its worker, or two would build the same.
        if (
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            or os.getppid() != self.pid
        ):
            os._exit(1)
        super().main_work_horse(job, queue)

    # What RQ keeps about a worker is only seen with RQ's own commands, so it may be missing.

    @override
    def register_birth(self) -> None:
        with ignoring_out_of_memory("RQ does not learn of this worker"):
            super().register_birth()  # type: ignore[no-untyped-call]  # As above.

    @override
    def register_death(self) -> None:
        with contextlib.suppress(QueueUnavailable):
            self._leave()
        with ignoring_out_of_memory("RQ does not learn that its worker has ended"):
            super().register_death()  # type: ignore[no-untyped-call]  # As above.

    @override
    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        with contextlib.suppress(OutOfMemoryError):
            super().heartbeat(timeout, pipeline)

    @override
    def set_state(self, state: str, pipeline: Pipeline | None = None) -> None:
        with ignoring_out_of_memory("RQ does not learn what its worker does"):
            super().set_state(state, pipeline)

    @override
    def set_shutdown_requested_date(self) -> None:
        # This is within a signal's handler, where an error would leave the build alone.
        with ignoring_out_of_memory("RQ does not learn that its worker ends"):
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]  # As above.

    @override
    def check_for_suspension(self, burst: bool) -> None:
        with ignoring_out_of_memory("a worker does not learn whether it is suspended"):
            super().check_for_suspension(burst)
