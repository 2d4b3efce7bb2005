"""RQ's worker as ours needs it: what it begins, what it does besides, how it ends; the integration
ring runs it on a real Redis.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from asu.builds.build_queue import PAYLOAD_VERSION, QUEUE, BuildQueue
from asu.errors import QueueUnavailable
from asu.worker.queue_worker import BuildWorker, ticket_class
from tests.contract.test_queue import tickets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rq.job import Job

KEY = "a" * 64


class Answers:
    """Whether a build may be begun: one answer after the other, and the last for ever."""

    def __init__(self, answers: Sequence[bool]) -> None:
        self._answers, self.asked = list(answers), 0

    def __call__(self) -> bool:
        """Return the next answer."""
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def nothing() -> None:
    """Do nothing."""


def ids(jobs: list[Job]) -> list[str]:
    """Return the ids of jobs."""
    return [job.id for job in jobs]


class WorkerContract:
    """What a worker does, whatever Redis it is; a subclass brings the fixture `redis`."""

    @pytest.fixture
    def queue(self, redis: Redis) -> BuildQueue:
        """Return the queue."""
        return BuildQueue(redis, deadline=600)

    @pytest.mark.parametrize(
        "payload", [{"version": PAYLOAD_VERSION}, {"version": 1, "key": KEY}], ids=["now", "before"]
    )
    def test_a_ticket_calls_the_workers_own_function(
        self, redis: Redis, payload: dict[str, Any]
    ) -> None:
        """Whatever function somebody writes into Redis. A job of the release before names a build,
        and is a ticket too.
        """
        built: list[str] = []
        Queue(QUEUE, connection=redis, serializer=JSONSerializer).enqueue(
            "os.abort", kwargs={"payload": payload}, job_id=KEY
        )
        ticket = ticket_class(lambda: built.append("built"))

        ticket.fetch(KEY, connection=redis, serializer=JSONSerializer).perform()

        assert built == ["built"]

    def test_a_ticket_of_a_later_release_is_left_alone(
        self, redis: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A worker does not guess what a newer API means."""
        built: list[str] = []
        Queue(QUEUE, connection=redis, serializer=JSONSerializer).enqueue(
            "os.abort", kwargs={"payload": {"version": PAYLOAD_VERSION + 1}}, job_id=KEY
        )
        ticket = ticket_class(lambda: built.append("built"))

        ticket.fetch(KEY, connection=redis, serializer=JSONSerializer).perform()

        assert built == []
        assert "upgrade all workers together with the API" in caplog.text

    def test_a_worker_sweeps_while_it_builds(self, queue: BuildQueue, redis: Redis) -> None:
        """Where every worker builds, none would notice otherwise that another was lost; a sweep
        that fails ends no build.
        """
        sweeps: list[str] = []

        def sweep() -> None:
            sweeps.append("swept")
            raise QueueUnavailable

        worker = BuildWorker(redis, build=nothing, sweep=sweep)
        worker.register_birth()
        queue.put()
        [ticket] = tickets(redis)
        worker.maintain_heartbeats(ticket, worker.prepare_execution(ticket))

        assert sweeps == ["swept"]

    def test_a_worker_that_ends_says_so(self, redis: Redis) -> None:
        """Its note goes at once; a Redis that is away by then keeps it from nothing."""
        left: list[str] = []

        def leave() -> None:
            left.append("left")
            raise QueueUnavailable

        worker = BuildWorker(redis, build=nothing, sweep=nothing, leave=leave)
        worker.register_birth()
        worker.register_death()

        assert left == ["left"]

    def test_no_ticket_is_taken_until_a_build_may_begin(
        self, queue: BuildQueue, redis: Redis
    ) -> None:
        """They stay for other workers; this one sweeps, and takes one once it may."""
        seen: list[int] = []
        may_begin = Answers([False, False, True])
        worker = BuildWorker(
            redis,
            build=nothing,
            sweep=lambda: seen.append(len(tickets(redis))),
            may_begin=may_begin,
        )
        worker.register_birth()
        for _ in range(2):
            queue.put()
        first, second = ids(tickets(redis))
        taken = worker.dequeue_job_and_maintain_ttl(None)

        assert taken is not None
        assert (taken[0].id, ids(tickets(redis)), may_begin.asked) == (first, [second], 4)
        assert seen == [2]

    def test_a_ticket_that_was_taken_too_late_goes_back(
        self, queue: BuildQueue, redis: Redis
    ) -> None:
        """A worker may have waited long for it; by then its disk is full, and another worker gets
        the ticket at once.
        """
        left: list[int] = []
        may_begin = Answers([True, False, False, True])

        def look() -> bool:
            left.append(len(tickets(redis)))
            return may_begin()

        for _ in range(2):
            queue.put()
        taken = BuildWorker(
            redis, build=nothing, sweep=nothing, may_begin=look
        ).dequeue_job_and_maintain_ttl(None)

        assert taken is not None
        assert left == [2, 1, 2, 2, 1]
        assert taken[1].intermediate_queue.get_job_ids() in ([taken[0].id], [])

    @pytest.mark.parametrize("moment", ["look", "sweep"])
    def test_a_worker_that_gets_a_signal_ends_whatever_it_does(
        self, queue: BuildQueue, redis: Redis, moment: str
    ) -> None:
        """Also where the exception that RQ raises then is passed over, as those of a sweep are; and
        it takes no ticket along.
        """
        sent: list[str] = []

        def send(now: str) -> None:
            if now == moment and not sent:
                sent.append(now)
                os.kill(os.getpid(), signal.SIGTERM)

        def look() -> bool:
            send("look")
            return moment != "look"

        queue.put()
        begun: list[str] = []
        worker = BuildWorker(
            redis,
            build=lambda: begun.append("begun"),
            sweep=lambda: send("sweep"),
            may_begin=look,
        )
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            worker.work(logging_level=None)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

        assert (sent, begun, len(tickets(redis))) == ([moment], [], 1)


class TestImitatedWorker(WorkerContract):
    """A worker at an imitation of Redis."""

    @pytest.fixture
    def redis(self) -> Iterator[Redis]:
        """Return a client of an imitated server."""
        with fakeredis.FakeRedis() as redis:
            yield redis
