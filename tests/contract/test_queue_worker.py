"""RQ's worker as ours needs it: what it begins, what it does besides, how it ends; the integration ring runs it on a real Redis."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import get_version

from asu.builds.build_queue import QUEUE, has_live_worker
from asu.errors import QueueUnavailable
from asu.worker.queue_worker import BuildWorker, runnable
from tests.contract.test_queue import A, B, C, Line, rq_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class Answers:
    """Whether a build may be begun: one answer after the other, and the last for ever."""

    def __init__(self, answers: Sequence[bool]) -> None:
        self._answers, self.asked = list(answers), 0

    def __call__(self) -> bool:
        """Return the next answer."""
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


class WorkerContract:
    """What a worker does, whatever Redis it is; a subclass brings the fixtures `line` and `redis`."""

    def test_a_worker_runs_its_own_function(self, redis: Redis) -> None:
        """Whatever function somebody writes into Redis, a worker hands the payload to its builder."""
        built: list[Mapping[str, Any]] = []
        Queue(QUEUE, connection=redis, serializer=JSONSerializer).enqueue(
            "os.abort", kwargs={"payload": {"key": B}}, job_id=A
        )

        runnable(built.append).fetch(A, connection=redis, serializer=JSONSerializer).perform()

        assert built == [{"key": B}]

    def test_a_worker_sweeps_while_it_builds(self, line: Line, redis: Redis) -> None:
        """Where every worker builds, none would notice otherwise that another was lost; a sweep that fails ends no build."""
        sweeps: list[str] = []

        def sweep() -> None:
            sweeps.append("swept")
            raise QueueUnavailable

        worker = BuildWorker(redis, build=lambda _: None, sweep=sweep)
        worker.register_birth()
        line.queue.put(A)
        job = Job.fetch(A, connection=redis, serializer=JSONSerializer)
        worker.maintain_heartbeats(job, worker.prepare_execution(job))

        assert sweeps == ["swept"]

    def test_a_worker_is_known_to_live_where_it_works(self, redis: Redis) -> None:
        """A health check looks for its own worker, not for anybody's."""
        BuildWorker(redis, build=lambda _: None, sweep=lambda: None).register_birth()

        assert has_live_worker(redis, socket.gethostname())
        assert not has_live_worker(redis, "elsewhere")

    def test_a_worker_that_fell_silent_is_not_alive(self, redis: Redis) -> None:
        """A worker that hangs keeps its name in Redis for a while, and is found out by its last sign of life."""
        worker = BuildWorker(redis, build=lambda _: None, sweep=lambda: None)
        worker.register_birth()
        redis.hset(worker.key, "last_heartbeat", "2026-01-01T00:00:00.000000Z")

        assert not has_live_worker(redis, socket.gethostname())

    @pytest.mark.parametrize(
        ("wanted", "begun", "left"),
        [
            ([C], C, [A, B]),
            ([B, A], B, [A, C]),
            ([A, C], A, [B, C]),
            (["d" * 64, C], C, [A, B]),
            (["d" * 64], A, [B, C]),
            ([], A, [B, C]),
        ],
    )
    def test_a_worker_begins_the_build_that_should_be_next(
        self, line: Line, redis: Redis, wanted: list[str], begun: str, left: list[str]
    ) -> None:
        """RQ knows only who came first; the one whose turn it was by that comes next. One that is not in the list cannot be had."""
        for key in (A, B, C):
            line.queue.put(key)
        taken = BuildWorker(
            redis, build=lambda _: None, sweep=lambda: None, choose=lambda: wanted
        ).dequeue_job_and_maintain_ttl(None)

        assert taken is not None
        assert (taken[0].id, taken[0].kwargs["payload"]["key"], line.keys()) == (begun, begun, left)
        # Older servers have no command for a list of what was taken.
        held = [begun.encode()] if get_version(redis) >= (6, 2, 0) else []
        assert redis.lrange(taken[1].intermediate_queue_key, 0, -1) == held

    def test_a_choice_that_fails_ends_no_worker(
        self, line: Line, redis: Redis, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Then it is the turn of whoever came first; what went wrong may quote a plan, so the log tells only where."""

        def choose() -> list[str]:
            raise ValueError(B)

        for key in (A, B):
            line.queue.put(key)
        taken = BuildWorker(
            redis, build=lambda _: None, sweep=lambda: None, choose=choose
        ).dequeue_job_and_maintain_ttl(None)

        assert taken is not None
        assert (taken[0].id, line.keys()) == (A, [B])
        assert "ValueError" in caplog.text
        assert B not in caplog.text

    def test_only_workers_that_were_heard_of_live(self, line: Line, redis: Redis) -> None:
        """One that was killed keeps its name in Redis until another tidies, and there may be no other."""
        workers = [BuildWorker(redis, build=lambda _: None, sweep=lambda: None) for _ in range(2)]
        for worker in workers:
            worker.register_birth()
        both = line.queue.live_workers()
        redis.hset(workers[0].key, "last_heartbeat", "2026-01-01T00:00:00.000000Z")

        assert (both, line.queue.live_workers()) == (2, 1)

    @pytest.mark.parametrize("lost", ["its hash", "its place", "both"])
    def test_a_worker_that_was_lost_sight_of_is_counted_again(
        self, line: Line, redis: Redis, lost: str
    ) -> None:
        """Its hash ends while Redis is away, and another worker tidies it out of the sets; RQ itself enters it once."""
        worker = BuildWorker(redis, build=lambda _: None, sweep=lambda: None)
        worker.register_birth()
        if lost != "its place":
            redis.delete(worker.key)
        if lost != "its hash":
            for workers in ("rq:workers", f"rq:workers:{QUEUE}"):
                redis.srem(workers, worker.key)

        worker.heartbeat()

        assert (line.queue.live_workers(), has_live_worker(redis, socket.gethostname())) == (
            1,
            True,
        )
        assert 0 < redis.ttl(worker.key) < 100

    def test_a_worker_that_has_ended_is_not_counted(self, line: Line, redis: Redis) -> None:
        """Neither among those of the queue nor on its machine."""
        worker = BuildWorker(redis, build=lambda _: None, sweep=lambda: None)
        worker.register_birth()
        worker.register_death()

        assert (line.queue.live_workers(), has_live_worker(redis, socket.gethostname())) == (
            0,
            False,
        )
        assert 0 < redis.ttl(worker.key) <= 60

    def test_without_workers_there_are_none(self, line: Line) -> None:
        """Operators see that nobody works."""
        assert line.queue.live_workers() == 0

    def test_no_build_is_begun_until_one_may_be(self, line: Line, redis: Redis) -> None:
        """What waits stays in line, the worker lives and sweeps, and begins the build once it may."""
        seen: list[tuple[list[str], bool]] = []
        may_begin = Answers([False, False, True])
        worker = BuildWorker(
            redis,
            build=lambda _: None,
            sweep=lambda: seen.append((line.keys(), has_live_worker(redis, socket.gethostname()))),
            may_begin=may_begin,
        )
        worker.register_birth()
        for key in (A, B):
            line.queue.put(key)
        taken = worker.dequeue_job_and_maintain_ttl(None)

        assert taken is not None
        assert (taken[0].id, line.keys(), may_begin.asked) == (A, [B], 4)
        assert seen == [([A, B], True)]

    def test_what_was_taken_and_may_not_be_begun_goes_back_to_its_place(
        self, line: Line, redis: Redis
    ) -> None:
        """A worker may have waited long for a job; by then its disk is full, and another worker gets the build at once."""
        left: list[list[str]] = []
        may_begin = Answers([True, False, False, True])

        def look() -> bool:
            left.append(line.keys())
            return may_begin()

        for key in (A, B, C):
            line.queue.put(key)
        taken = BuildWorker(
            redis, build=lambda _: None, sweep=lambda: None, may_begin=look, choose=lambda: [B]
        ).dequeue_job_and_maintain_ttl(None)

        assert taken is not None
        assert left == [[A, B, C], [A, C], [B, A, C], [B, A, C], [A, C]]
        held = [B.encode()] if get_version(redis) >= (6, 2, 0) else []
        assert (taken[0].id, redis.lrange(taken[1].intermediate_queue_key, 0, -1)) == (B, held)

    def test_a_job_that_was_put_in_again_meanwhile_is_not_doubled(
        self, line: Line, redis: Redis
    ) -> None:
        """Whoever missed it may have put it in anew while this worker had it."""
        may_begin = Answers([True, False, True])

        def look() -> bool:
            if may_begin.asked == 1:
                redis.rpush(f"rq:queue:{QUEUE}", A)
            return may_begin()

        for key in (A, B):
            line.queue.put(key)
        taken = BuildWorker(
            redis, build=lambda _: None, sweep=lambda: None, may_begin=look
        ).dequeue_job_and_maintain_ttl(None)

        assert taken is not None
        assert (taken[0].id, line.keys()) == (A, [B])

    @pytest.mark.parametrize("moment", ["look", "sweep", "choice"])
    def test_a_worker_that_is_told_to_end_does_so_whatever_it_does(
        self, line: Line, redis: Redis, moment: str
    ) -> None:
        """Also where the exception that RQ raises then is passed over, as those of a sweep and a choice are; and it takes no build along."""
        told: list[str] = []

        def tell(now: str) -> None:
            if now == moment and not told:
                told.append(now)
                os.kill(os.getpid(), signal.SIGTERM)

        def choose() -> list[str]:
            tell("choice")
            return []

        def look() -> bool:
            tell("look")
            return moment != "look"

        line.queue.put(A)
        begun: list[Mapping[str, Any]] = []
        worker = BuildWorker(
            redis, build=begun.append, sweep=lambda: tell("sweep"), choose=choose, may_begin=look
        )
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            worker.work(logging_level=None)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

        assert (told, begun, line.keys()) == ([moment], [], [A])


class TestImitatedWorker(WorkerContract):
    """A worker at an imitation of Redis."""

    @pytest.fixture
    def redis(self) -> Iterator[Redis]:
        """Return a client of an imitated server."""
        with fakeredis.FakeRedis() as redis:
            yield redis

    @pytest.fixture
    def line(self, redis: Redis) -> Line:
        """Return a queue and its keys."""
        return rq_line(redis)
