"""Wake workers through RQ. Beside `worker/queue_worker.py`, no other module knows RQ.

An RQ job is a *ticket*: it says "a build waits" and names none (docs/decisions/0031). It is
versioned JSON, without pickle, and a worker runs its own function, whatever function a job names.
"""

from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from asu.records.redis_connections import redis_errors_translated

QUEUE = "builds"
PAYLOAD_VERSION = 2  # Version 1 named a build; workers take such a job as a ticket.
# Seconds. A build asks a Redis that is away four times, for two minutes each.
PATIENCE = 600
FUNCTION = "asu.build"  # A label: RQ wants a name, but no worker looks it up.


class BuildQueue:
    """Wakes workers. Each method raises QueueUnavailable, or its subclass MemoryFull."""

    def __init__(self, redis: Redis, *, deadline: int) -> None:
        self._redis, self._deadline = redis, deadline
        self._queue = Queue(QUEUE, connection=redis, serializer=JSONSerializer)

    def put(self) -> None:
        """Add a ticket: one build more waits."""
        self._add(1)

    def top_up(self, due: int) -> None:
        """Add tickets until there are at least `due` of them."""
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
