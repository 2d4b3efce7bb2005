"""What a worker tells RQ of itself, also in a Redis whose memory is full.

RQ tells it in transactions, and Redis refuses all of one for want of memory. A script is asked for
memory before its first write alone (`redis_scripts.py`), so each of these begins with a write that
needs none. A sign of life says everything about its worker: one whose hash has ended while Redis
was away, or that another has taken out of the sets, is counted again with the next.
"""

from redis.client import Pipeline
from rq import Worker
from rq.utils import now, utcformat
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from asu.records.redis_connections import bears_full_memory

# Seconds that RQ gives a worker beyond its time, and for which it remembers one that has ended.
GRACE = 60

_ALIVE = """
redis.call('HDEL', KEYS[1], 'death')
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
for i = 3, #KEYS do redis.call('SADD', KEYS[i], KEYS[1]) end
return 1
"""
_DEAD = """
for i = 3, #KEYS do redis.call('SREM', KEYS[i], KEYS[1]) end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'death', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""


class AudibleWorker(Worker):
    """RQ's worker, whose signs of life come through while Redis' memory is full; what it says besides is left out then."""

    def register_birth(self) -> None:
        """Say for the first time that it lives. Its name is a random one, so no other has it."""
        self.birth_date = now()
        self.heartbeat()

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:  # noqa: ARG002  # RQ's.
        """Say that it lives, for so many seconds, and all that is to be known of it.

        It is said at once, also where RQ would say it in a transaction, which would be refused.
        """
        self.last_heartbeat = now()
        self.birth_date = self.birth_date or self.last_heartbeat
        told = {**self.serialize(), "state": self.get_state()}
        self._tell(
            _ALIVE,
            timeout or self.worker_ttl + GRACE,
            *(part for pair in told.items() for part in pair),
        )

    def register_death(self) -> None:
        """Say that it has ended."""
        self._tell(_DEAD, utcformat(now()), GRACE)

    def set_state(self, state: str, pipeline: Pipeline | None = None) -> None:
        """Say what it does now; its next sign of life tells that again."""
        with bears_full_memory("RQ does not learn at once what its worker does"):
            super().set_state(state, pipeline)

    def set_shutdown_requested_date(self) -> None:
        """Say that it was told to end: from within a signal's handler, where an error would part it from the build that it waits for."""
        with bears_full_memory("RQ does not learn that its worker was told to end"):
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]  # RQ leaves this method untyped.

    def check_for_suspension(self, burst: bool) -> None:  # noqa: FBT001  # RQ's.
        """Wait while workers are suspended, as far as Redis tells: RQ asks in a transaction."""
        with bears_full_memory("a worker does not learn whether it is suspended"):
            super().check_for_suspension(burst)

    def _tell(self, script: str, *arguments: str | int) -> None:
        sets = [REDIS_WORKER_KEYS, *(WORKERS_BY_QUEUE_KEY % name for name in self.queue_names())]
        self.connection.register_script(script)(
            keys=[self.key, self.executions_key, *sets], args=arguments
        )
