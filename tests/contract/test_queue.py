"""RQ's side of the queue: tickets; the integration ring runs the same tests on a real Redis."""

import json
import zlib
from collections.abc import Iterator
from typing import Any

import fakeredis
import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from asu.builds.build_queue import FUNCTION, PATIENCE, PAYLOAD_VERSION, QUEUE, BuildQueue


def tickets(redis: Redis) -> list[Job]:
    """Return the tickets that wait for a worker."""
    return Queue(QUEUE, connection=redis, serializer=JSONSerializer).jobs


class QueueContract:
    """What holds for the tickets; a subclass brings the fixture `redis`."""

    @pytest.fixture
    def queue(self, redis: Redis) -> BuildQueue:
        """Return the queue."""
        return BuildQueue(redis, deadline=600)

    def test_each_new_build_adds_a_ticket(self, queue: BuildQueue, redis: Redis) -> None:
        """So as many workers wake as builds wait."""
        for _ in range(3):
            queue.put()

        assert len(tickets(redis)) == 3

    def test_what_travels_is_versioned_json(self, queue: BuildQueue, redis: Redis) -> None:
        """A ticket names no build; nothing in Redis is executable."""
        queue.put()
        [ticket] = tickets(redis)

        data: Any = redis.hget(ticket.key, "data")
        assert (ticket.func_name, ticket.kwargs) == (
            FUNCTION,
            {"payload": {"version": PAYLOAD_VERSION}},
        )
        assert json.loads(zlib.decompress(data))

    def test_a_ticket_may_take_as_long_as_a_build(self, queue: BuildQueue, redis: Redis) -> None:
        """RQ's limit comes after all of ours; an ended ticket leaves nothing in Redis."""
        queue.put()
        [ticket] = tickets(redis)

        assert (ticket.timeout, ticket.result_ttl) == (600 + PATIENCE, 0)

    @pytest.mark.parametrize(
        ("there", "due", "then"), [(0, 3, 3), (2, 3, 3), (3, 3, 3), (4, 3, 4), (1, 0, 1)]
    )
    def test_only_missing_tickets_are_added(
        self, queue: BuildQueue, redis: Redis, there: int, due: int, then: int
    ) -> None:
        """Some were lost, or a retry became due; tickets too many end by themselves."""
        for _ in range(there):
            queue.put()

        queue.top_up(due)

        assert len(tickets(redis)) == then


class TestImitatedQueue(QueueContract):
    """RQ in an imitation of Redis."""

    @pytest.fixture
    def redis(self) -> Iterator[Redis]:
        """Return a client of an imitated server."""
        with fakeredis.FakeRedis() as redis:
            yield redis
