"""The only place that knows RQ, beside the worker's (`worker/queue_worker.py`, `worker/signs_of_life.py`).

What travels is versioned JSON that names a build by its key; what to build stands in the build
record. Nothing in Redis is executable: no pickle, and what a worker runs is its own, whatever
function a job in Redis names. Equal requests share one job, since the job's id is the build's key
and a second job of that id is not taken.

RQ hands out work; whether a build waits, runs or has ended is said by its record alone. A job is
therefore forgotten as soon as it ends, and losing one is harmless: `Reconciler` puts the missing
jobs of waiting builds back.
"""

import contextlib
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.exceptions import DuplicateJobError, InvalidJobOperation, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from asu.errors import MemoryFull, QueueUnavailable
from asu.records.redis_connections import answers, expect_memory

log = logging.getLogger(__name__)

QUEUE = "builds"
PAYLOAD_VERSION = 1
# Seconds; a build asks a Redis that is away four times, for two minutes each: to begin, and three
# times to end, which takes some.
PATIENCE = 600
FUNCTION = "asu.build"  # A label: RQ wants a name, but no worker looks it up.
# Seconds; a worker says every five that it lives, unless Redis or its machine is away for a moment.
SILENCE = 60.0
ALIVE = (JobStatus.QUEUED, JobStatus.STARTED, JobStatus.DEFERRED, JobStatus.SCHEDULED)


class BuildJob(Job):
    """A job that names a build; what a worker does with it is the worker's own, never a name out of Redis."""


class BuildQueue(Protocol):
    """Hands builds to workers."""

    def put(self, key: str) -> None:
        """Give a build to the workers unless they have it already; raises QueueUnavailable, or MemoryFull, which is one."""

    def replace(self, key: str) -> None:
        """Give a build to the workers whose last one was lost with the job in its hands; raises QueueUnavailable."""

    def out_of_line(self, keys: Iterable[str]) -> set[str]:
        """Return those of the keys that no worker will get next: their job was taken, or lost; raises QueueUnavailable."""

    def live_workers(self) -> int:
        """Return how many workers have said within a minute that they live; raises QueueUnavailable."""


class RqBuildQueue:
    """The queue in Redis."""

    def __init__(self, redis: Redis, *, deadline: int) -> None:
        self._redis, self._deadline = redis, deadline
        self._queue = Queue(QUEUE, connection=redis, serializer=JSONSerializer, job_class=BuildJob)

    def put(self, key: str) -> None:
        """See BuildQueue."""
        try:
            with answers():
                try:
                    self._enqueue(key)
                except DuplicateJobError:
                    if not self._is_alive(key):
                        self._enqueue(key)
        except DuplicateJobError:
            log.debug("build %s: somebody else has just put it in", key)

    def replace(self, key: str) -> None:
        """See BuildQueue."""
        try:
            # RQ itself would notice the dead job after minutes: it looks for such jobs four times
            # an hour.
            self._delete(key)
        except RedisError as error:
            raise QueueUnavailable from error
        self.put(key)

    def out_of_line(self, keys: Iterable[str]) -> set[str]:
        """See BuildQueue."""
        try:
            return set(keys).difference(self._queue.get_job_ids())
        except RedisError as error:
            raise QueueUnavailable from error

    def live_workers(self) -> int:
        """See BuildQueue."""
        try:
            return len(_heard_of(Worker.all(queue=self._queue, serializer=JSONSerializer)))
        except RedisError as error:
            raise QueueUnavailable from error

    def _enqueue(self, key: str) -> None:
        self._queue.enqueue(
            FUNCTION,
            kwargs={"payload": {"version": PAYLOAD_VERSION, "key": key}},
            job_id=key,
            unique=True,
            # Our own deadlines come first; RQ's ends what even they could not.
            job_timeout=self._deadline + PATIENCE,
            result_ttl=0,
            failure_ttl=60,
        )

    def _delete(self, key: str) -> None:
        """Forget a job, and whatever else stands under its name: a heartbeat that came after its end leaves a rest that is no job."""
        with contextlib.suppress(NoSuchJobError):
            BuildJob.fetch(key, connection=self._redis, serializer=JSONSerializer).delete()
        self._redis.delete(BuildJob.key_for(key))

    def _is_alive(self, key: str) -> bool:
        """Whether the job of that id still leads to something; a dead one is deleted."""
        try:
            job = BuildJob.fetch(key, connection=self._redis, serializer=JSONSerializer)
            is_alive = job.get_status() in ALIVE
        except (NoSuchJobError, InvalidJobOperation):
            # The latter says that the job has ended between these two lines.
            is_alive = False
        if not is_alive:
            self._delete(key)
        return is_alive


def has_live_worker(redis: Redis, host: str) -> bool:
    """Whether a worker on `host` has said within a minute that it lives.

    Raises QueueUnavailable where Redis cannot tell: MemoryFull where none was heard of, but Redis
    might not have taken in what it said.
    """
    with answers():
        if any(
            worker.hostname == host
            for worker in _heard_of(Worker.all(connection=redis, serializer=JSONSerializer))
        ):
            return True
        expect_memory(redis)
    return False


def _heard_of(workers: Iterable[BaseWorker]) -> list[BaseWorker]:
    """Return those that have said within a minute that they live: one that was killed keeps its name in Redis until another tidies."""
    since = datetime.now(UTC) - timedelta(seconds=SILENCE)
    return [worker for worker in workers if worker.last_heartbeat and worker.last_heartbeat > since]


class MemoryBuildQueue:
    """The in-memory twin: keys in the order in which they were put, each once; `taken` are in the hands of workers."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.taken: set[str] = set()
        self.workers = 1

    def put(self, key: str) -> None:
        """See BuildQueue."""
        if key not in self.keys and key not in self.taken:
            self.keys.append(key)

    def replace(self, key: str) -> None:
        """See BuildQueue."""
        self.taken.discard(key)
        self.put(key)

    def out_of_line(self, keys: Iterable[str]) -> set[str]:
        """See BuildQueue."""
        return set(keys).difference(self.keys)

    def live_workers(self) -> int:
        """See BuildQueue."""
        return self.workers


class Reconciler:
    """Gives each waiting build a job that leads to something.

    A job may be lost with Redis' last second, or be in the hands of a process that died before it
    began the build, or between taking the build back and putting it in again. A worker begins a
    build a moment after it took the job; so a build that waits out of line for two rounds gets a
    new job. Should the first worker be alive after all, only one of the two can begin.
    """

    def __init__(self, queue: BuildQueue) -> None:
        self._queue = queue
        self._absent: set[str] = set()

    def __call__(self, waiting: Iterable[str]) -> None:
        """Do one round, which ends early where Redis has no memory for a job; raises QueueUnavailable."""
        keys = list(waiting)
        absent = self._queue.out_of_line(keys)
        try:
            for key in keys:
                if key in absent & self._absent:
                    log.warning("build %s waits, but its job leads nowhere; it gets a new one", key)
                    self._queue.replace(key)
                elif key in absent:
                    self._queue.put(key)
        except MemoryFull:  # No reason to leave the rest of a sweep undone, which may free some.
            log.warning("the memory of Redis is full: builds that wait without a job get one later")
        self._absent = absent
