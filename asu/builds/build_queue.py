"""Wake workers through RQ. Beside `worker/queue_worker.py`, no other module knows RQ.

The records alone say which build is next. An RQ job is a *ticket*: it says "a build waits" and names
none. The worker that takes it begins the first build that is due. So a ticket too many finds nothing
and ends at once, and a lost ticket is replaced by the next sweep (`top_up`).

A ticket is versioned JSON. Nothing in Redis is executable: no pickle, and a worker runs its own
function, whatever function a job in Redis names.
"""

from typing import Protocol

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer
from typing_extensions import override

from asu.records.redis_connections import redis_errors_translated

QUEUE = "builds"
PAYLOAD_VERSION = 2  # Version 1 named a build; workers take such a job as a ticket.
# Seconds; a build asks a Redis that is away four times, for two minutes each: to begin, and three
# times to end, which takes some.
PATIENCE = 600
FUNCTION = "asu.build"  # A label: RQ wants a name, but no worker looks it up.


class BuildQueue(Protocol):
    """Wakes workers. Each method raises QueueUnavailable, or its subclass MemoryFull."""

    def put(self) -> None:
        """Add a ticket: one build more waits."""

    def top_up(self, due: int) -> None:
        """Add tickets until there are at least `due` of them."""


class RqBuildQueue(BuildQueue):
    """The tickets are jobs of RQ."""

    def __init__(self, redis: Redis, *, deadline: int) -> None:
        self._redis, self._deadline = redis, deadline
        self._queue = Queue(QUEUE, connection=redis, serializer=JSONSerializer)

    @override
    def put(self) -> None:
        self._add(1)

    @override
    def top_up(self, due: int) -> None:
        with redis_errors_translated():
            missing = due - self._queue.count
        if missing > 0:
            self._add(missing)

    def _add(self, tickets: int) -> None:
        with redis_errors_translated(), self._redis.pipeline() as pipeline:
            for _ in range(tickets):
                self._queue.enqueue(
                    FUNCTION,
                    kwargs={"payload": {"version": PAYLOAD_VERSION}},
                    # Our own deadlines come first; RQ's ends what even they could not.
                    job_timeout=self._deadline + PATIENCE,
                    result_ttl=0,
                    failure_ttl=60,
                    pipeline=pipeline,
                )
            pipeline.execute()
