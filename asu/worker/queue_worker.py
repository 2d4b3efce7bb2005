"""RQ's worker, as ours needs it: it sweeps, begins the build that should be next, and none while its machine has no room for one.

RQ takes whatever comes first in its list. What was taken and is not to be begun goes back to the
head of the list, where another worker gets it. What a worker tells of itself is said in
`signs_of_life.py`.
"""

import contextlib
import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import OutOfMemoryError
from redis.exceptions import TimeoutError as NoAnswer
from rq import Queue
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker import WorkerStatus

from asu.builds.build_queue import QUEUE, BuildJob
from asu.logs import where_it_failed
from asu.records.redis_connections import bears_full_memory, expect_memory

from .signs_of_life import AudibleWorker

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # From <sys/prctl.h>.
# With these a lost worker is noticed within half a minute even on an idle fleet (RQ's defaults: 400
# s).
WORKER_TTL = 20
MAINTENANCE_INTERVAL = 5
# Seconds between two looks at a disk or a Redis that is full; each costs little, and those who wait
# have waited enough.
LOOK_AGAIN = 1.0


# A job that was taken stands in a list of its own until it is executed.
_EXCHANGE = """
if redis.call('EXISTS', KEYS[3]) == 0 or redis.call('LREM', KEYS[1], 1, ARGV[2]) == 0 then return 0 end
if redis.call('LREM', KEYS[2], 1, ARGV[1]) == 1 then redis.call('LPUSH', KEYS[2], ARGV[2]) end
redis.call('LPUSH', KEYS[1], ARGV[1])
return 1
"""
# First taken out of the list, should somebody have missed it meanwhile and put it in again.
_GIVE_BACK = """
redis.call('LREM', KEYS[2], 1, ARGV[1])
redis.call('LREM', KEYS[1], 0, ARGV[1])
if redis.call('EXISTS', KEYS[3]) == 1 then redis.call('LPUSH', KEYS[1], ARGV[1]) end
return 1
"""


def runnable(build: Callable[[Mapping[str, Any]], None]) -> type[BuildJob]:
    """Return a class of jobs that hand their payload to `build`, whatever function somebody wrote into Redis.

    What `build` raises fails the job without its words: RQ logs and keeps what it hears, and they
    may quote a first-boot script.
    """

    class RunnableJob(BuildJob):
        def _execute(self) -> None:
            try:
                return build(self.kwargs["payload"])
            except BaseException as error:  # noqa: BLE001  # RQ tells no kinds of them apart either.
                where = where_it_failed(error)
            log.error("build %s: its job ended with an error of ours: %s", self.id, where)
            # Out here it has no cause that RQ could quote.
            raise RuntimeError("an error of ours; the worker's log says where")

    return RunnableJob


class BuildWorker(AudibleWorker):
    """RQ's worker, with our sweep among its regular duties.

    `choose` returns the keys of builds in the order in which they should be begun. While
    `may_begin` returns False, or Redis has no memory for what RQ writes of a build that begins,
    none is, and all else goes on: signs of life, the sweep, and the end when it is told to end.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        build: Callable[[Mapping[str, Any]], None],
        sweep: Callable[[], object],
        choose: Callable[[], Sequence[str]] = tuple,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        job_class = runnable(build)
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
        self._sweep, self._choose, self._may_begin, self._had_memory = (
            sweep,
            choose,
            may_begin,
            True,
        )
        self._exchange, self._give_back = (
            redis.register_script(_EXCHANGE),
            redis.register_script(_GIVE_BACK),
        )

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Take the next job when one may be begun, and exchange it for the one that should be next: RQ knows only the order of their coming."""
        take = super().dequeue_job_and_maintain_ttl
        while True:
            self._wait_until_one_may_begin()
            with bears_full_memory("no build is begun"):  # It may have filled up since the look.
                taken = take(timeout, max_idle_time)
                if taken is None:
                    return None
                job, queue = self._chosen(*taken)
                # It may have waited long for this job, or been told to end by now.
                if self._one_may_begin() and not self._stop_requested:
                    return job, queue
                self._give_back(
                    keys=[queue.key, queue.intermediate_queue_key, Job.key_for(job.id)],
                    args=[job.id],
                )

    def _wait_until_one_may_begin(self) -> None:
        """Return when a build may be begun; raises StopRequested. RQ's own duties are done as they are where it waits for a job."""
        while True:
            self._end_if_told()
            if self._one_may_begin():
                return
            # A Redis that comes back finds its worker waiting.
            with contextlib.suppress(NoConnection, NoAnswer):
                self.heartbeat()
                if self.should_run_maintenance_tasks:
                    self.run_maintenance_tasks()
            time.sleep(LOOK_AGAIN)

    def _one_may_begin(self) -> bool:
        return self._may_begin() and self._has_memory()

    def _has_memory(self) -> bool:
        """Whether Redis has memory for what RQ writes of a build; True, too, where it does not answer, which RQ bears where it waits for a job."""
        try:
            expect_memory(self.connection)
        except OutOfMemoryError:
            if self._had_memory:
                log.warning("the memory of Redis is full: no build is begun until there is some")
            self._had_memory = False
        except (NoConnection, NoAnswer):
            return True
        else:
            if not self._had_memory:
                log.info("there is memory in Redis again, builds are begun")
            self._had_memory = True
        return self._had_memory

    def _chosen(self, job: Job, queue: Queue) -> tuple[Job, Queue]:
        try:
            return self._exchanged(job, queue), queue
        except Exception as error:  # noqa: BLE001  # A choice that fails must not end the worker; the message may quote a plan.
            log.warning(
                "build %s is begun, whichever should be: %s", job.id, where_it_failed(error)
            )
            return job, queue

    def _exchanged(self, job: Job, queue: Queue) -> Job:
        """Return the job of the first build chosen that is still in the list, where the job at hand takes its place as the next."""
        for key in self._choose():
            if key == job.id:
                break
            if self._exchange(
                keys=[queue.key, queue.intermediate_queue_key, Job.key_for(key)], args=[job.id, key]
            ):
                chosen = self.job_class.fetch(
                    key, connection=self.connection, serializer=self.serializer
                )
                chosen.redis_server_version = job.redis_server_version
                return chosen
        return job

    def execute_job(self, job: Job, queue: Queue) -> None:
        """See that it is built. What RQ cannot note of it must not end the worker, which might not be started again."""
        with bears_full_memory("RQ does not learn what becomes of a build"):
            super().execute_job(job, queue)
        self.executions.clear()  # The next build would be taken for one that RQ could not note.
        self.set_state(WorkerStatus.IDLE)

    def run_maintenance_tasks(self) -> None:
        """RQ's own maintenance, which keeps its locks for 15 minutes, and ours, which depends on none."""
        with bears_full_memory("RQ does not tidy"):
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]  # RQ leaves this method untyped.
        self.last_cleaned_at = now()  # type: ignore[assignment]  # RQ forgets to where it was refused, and a sweep would follow on the other.
        self._sweep_safely()
        self._end_if_told()

    def handle_warm_shutdown_request(self) -> None:
        """Remember that it was told to end: RQ raises an exception wherever it is just then, and a sweep or a choice passes over those."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]  # As above.
        self._stop_requested = True

    def _end_if_told(self) -> None:
        if self._stop_requested:
            raise StopRequested

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Sweep while a build runs, too: RQ looks after its other duties only between jobs, and a busy fleet has no between."""
        # Which would die with its worker.
        with bears_full_memory("RQ does not learn that a build goes on"):
            super().maintain_heartbeats(job, execution)
        self._sweep_safely()

    def _sweep_safely(self) -> None:
        try:
            self._sweep()
        except Exception:
            log.exception("sweep failed; it is tried again in %s s", MAINTENANCE_INTERVAL)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Begin as the process that builds: when its worker dies, it dies too, or two would build the same."""
        if (
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            or os.getppid() != self.pid
        ):
            os._exit(1)
        super().main_work_horse(job, queue)
