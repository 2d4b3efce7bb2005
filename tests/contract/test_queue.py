"""The build queue: one set of rules, held by the in-memory twin and by RQ; the integration ring runs it on a real Redis."""

import json
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import fakeredis
import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from asu.builds.build_queue import (
    FUNCTION,
    PATIENCE,
    PAYLOAD_VERSION,
    QUEUE,
    BuildQueue,
    MemoryBuildQueue,
    Reconciler,
    RqBuildQueue,
)

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A queue, and the keys in it as its workers would get them; `take` is what a worker does with the first."""

    queue: BuildQueue
    keys: Callable[[], list[str]]
    take: Callable[[], None]


class QueueContract:
    """What every implementation does; a subclass brings the fixture `line`."""

    def test_first_come_first_served(self, line: Line) -> None:
        """Workers get the builds in the order in which they came."""
        for key in (C, A, B):
            line.queue.put(key)

        assert line.keys() == [C, A, B]

    def test_a_build_is_put_in_once(self, line: Line) -> None:
        """Putting it again changes neither the number nor the order."""
        for key in (A, B, A, A):
            line.queue.put(key)

        assert line.keys() == [A, B]

    def test_many_at_once_make_one_job(self, line: Line) -> None:
        """Equal requests that arrive in the same moment share one job."""
        start = threading.Barrier(16)

        def put(_: int) -> None:
            start.wait()
            line.queue.put(A)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(put, range(16)))

        assert line.keys() == [A]

    def test_reconciling_puts_back_what_was_lost(self, line: Line) -> None:
        """What is there stays where it is."""
        line.queue.put(B)
        Reconciler(line.queue)([A, B, C])

        assert line.keys() == [B, A, C]

    def test_a_job_that_was_just_taken_is_not_doubled(self, line: Line) -> None:
        """Between taking the job and beginning the build lies a moment."""
        line.queue.put(A)
        line.take()
        reconcile = Reconciler(line.queue)
        reconcile([A])
        reconcile([])
        reconcile([A])

        assert line.keys() == []

    def test_a_job_that_leads_nowhere_is_replaced(self, line: Line) -> None:
        """Its worker died before the build began: at the second round the build gets another job, and only one."""
        line.queue.put(A)
        line.take()
        reconcile = Reconciler(line.queue)
        for _ in range(3):
            reconcile([A])

        assert line.keys() == [A]


def rq_line(redis: Redis) -> Line:
    """Return an RQ queue in a Redis, and its list of job ids."""

    def keys() -> list[str]:
        ids: Any = redis.lrange(f"rq:queue:{QUEUE}", 0, -1)
        return [one.decode() for one in ids]

    def take() -> None:
        key: Any = redis.lpop(f"rq:queue:{QUEUE}")
        redis.hset(f"rq:job:{key.decode()}", "status", "started")

    return Line(queue=RqBuildQueue(redis, deadline=600), keys=keys, take=take)


class TestMemoryQueue(QueueContract):
    """The in-memory twin."""

    @pytest.fixture
    def line(self) -> Line:
        """Return a queue and its keys."""
        queue = MemoryBuildQueue()
        return Line(
            queue=queue,
            keys=lambda: list(queue.keys),
            take=lambda: queue.taken.add(queue.keys.pop(0)),
        )


class RqContract(QueueContract):
    """What holds for RQ beyond that; a subclass brings the fixtures `line` and `redis`."""

    def job(self, redis: Redis, key: str = A) -> Job:
        """Return the job of a build."""
        return Job.fetch(key, connection=redis, serializer=JSONSerializer)

    def test_what_travels_is_versioned_json(self, line: Line, redis: Redis) -> None:
        """A job names a build and nothing else; nothing in Redis is executable."""
        line.queue.put(A)

        data: Any = redis.hget(f"rq:job:{A}", "data")
        assert self.job(redis).kwargs == {"payload": {"version": PAYLOAD_VERSION, "key": A}}
        assert self.job(redis).func_name == FUNCTION
        assert json.loads(zlib.decompress(data))

    def test_a_job_may_take_as_long_as_a_build(self, line: Line, redis: Redis) -> None:
        """RQ's limit comes after all of ours; an ended job leaves nothing that would keep the next one out."""
        line.queue.put(A)

        assert (self.job(redis).timeout, self.job(redis).result_ttl) == (600 + PATIENCE, 0)

    @pytest.mark.parametrize("status", ["finished", "failed", "stopped", "canceled"])
    def test_a_dead_job_keeps_nobody_out(self, line: Line, redis: Redis, status: str) -> None:
        """A job that ended without its build, as with a killed worker, makes way for a new one."""
        line.queue.put(A)
        redis.delete(f"rq:queue:{QUEUE}")
        redis.hset(f"rq:job:{A}", "status", status)

        line.queue.put(A)

        assert line.keys() == [A]

    def test_the_rest_of_a_job_keeps_nobody_out(self, line: Line, redis: Redis) -> None:
        """A heartbeat that comes after a job has ended leaves something under its name that has no status."""
        line.queue.put(A)
        line.take()
        redis.delete(Job.key_for(A))
        redis.hset(Job.key_for(A), "last_heartbeat", "2026-03-01T12:00:00.000000Z")

        line.queue.put(A)

        assert line.keys() == [A]

    @pytest.mark.parametrize("status", ["started", "queued"])
    def test_a_living_job_is_left_alone(self, line: Line, redis: Redis, status: str) -> None:
        """A worker has it: another job of the same build would be a second build."""
        line.queue.put(A)
        redis.delete(f"rq:queue:{QUEUE}")
        redis.hset(f"rq:job:{A}", "status", status)

        line.queue.put(A)

        assert line.keys() == []


class ForgetfulRedis(fakeredis.FakeRedis):
    """A Redis in which every hash is gone as soon as it has been read."""

    def hgetall(self, name: Any) -> Any:
        """Return a hash and forget it."""
        found = super().hgetall(name)
        self.delete(name)
        return found


class TestRqQueue(RqContract):
    """RQ in an imitation of Redis."""

    @pytest.fixture
    def redis(self) -> Iterator[Redis]:
        """Return a client of an imitated server."""
        with fakeredis.FakeRedis() as redis:
            yield redis

    @pytest.fixture
    def line(self, redis: Redis) -> Line:
        """Return a queue and its keys."""
        return rq_line(redis)

    def test_a_job_that_ends_while_it_is_looked_at_keeps_nobody_out(self) -> None:
        """A build that fails at once and is asked for again is put in while a worker still forgets its last job."""
        redis = ForgetfulRedis()
        queue = RqBuildQueue(redis, deadline=600)
        queue.put(A)
        redis.delete(f"rq:queue:{QUEUE}")

        queue.put(A)

        assert redis.lrange(f"rq:queue:{QUEUE}", 0, -1) == [A.encode()]
