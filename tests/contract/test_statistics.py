"""The statistics in an imitation of Redis; the integration ring runs the same tests on a real
one.
"""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Self

import fakeredis
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.statistics.build_statistics import (
    FAILURE_DAYS,
    FAILURES_KEPT,
    HOURS_DAYS,
    KEPT_DAYS,
    PACKAGES_KEPT,
    PACKAGES_READ,
    DayCounts,
    Failure,
    FinishedBuild,
    Problem,
    duration_step,
)
from asu.statistics.build_totals import BOUNDS, WHOLE, Durations
from asu.statistics.redis_statistics import (
    DAY_SECONDS,
    RedisBuildStatistics,
    RedisStatistics,
)
from tests.contract.imitated_redis import ImitatedRedis

MONDAY, TUESDAY, WEDNESDAY = date(2026, 10, 26), date(2026, 10, 27), date(2026, 10, 28)
NOON = datetime(2026, 10, 27, 12, 30, 59, tzinfo=UTC)  # On the Tuesday.
BUILD = FinishedBuild(at=NOON, version="24.10.4", seconds=61.5, packages=frozenset({"vim", "luci"}))
FAILURE = Failure(
    hour="2026-10-27T12:00:00Z",
    code="impossible-selection",
    fault="user",
    version="24.10.4",
    target="ath79/generic",
    profile="tplink_archer-c7-v5",
    problems=(Problem(kind="missing", package="nothing"),),
)

ODD_FAILURES = [
    json.dumps(json.loads(FAILURE.encoded()) | odd).encode()
    for odd in (
        {"hour": None},
        {"code": 7},
        {"problems": None},
        {"problems": ["vim"]},
        {"problems": [{"kind": "missing"}]},
    )
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsSides:
    """Both sides of the same statistics."""

    api: RedisStatistics
    worker: RedisBuildStatistics


class StatisticsContract:
    """What holds in every Redis; a subclass brings `sides` and `redis`."""

    pytestmark = pytest.mark.anyio

    async def test_nothing_is_counted_at_first(self, sides: StatisticsSides) -> None:
        """Days without a count are days of zeros."""
        assert await sides.api.days([MONDAY, TUESDAY]) == [DayCounts(), DayCounts()]
        assert await sides.api.packages([MONDAY]) == {}
        assert await sides.api.failures([TUESDAY]) == []

    async def test_requests_are_added_to_their_day(self, sides: StatisticsSides) -> None:
        """Several API processes add to the same day, and no other day hears of it."""
        await sides.api.add_requests(TUESDAY, requests=5, cache_hits=2)
        await sides.api.add_requests(TUESDAY, requests=1, cache_hits=0)

        assert await sides.api.days([MONDAY, TUESDAY, WEDNESDAY]) == [
            DayCounts(),
            DayCounts(requests=6, cache_hits=2),
            DayCounts(),
        ]

    async def test_a_finished_build_is_counted_with_version_and_duration(
        self, sides: StatisticsSides
    ) -> None:
        """Each on the day on which it ended."""
        sides.worker.add_finished(BUILD)
        sides.worker.add_finished(replace(BUILD, version="SNAPSHOT"))
        sides.worker.add_finished(replace(BUILD, at=NOON.replace(day=28), seconds=0.0))

        assert await sides.api.days([TUESDAY, WEDNESDAY]) == [
            DayCounts(
                milliseconds=123_000,
                versions={"24.10.4": 1, "SNAPSHOT": 1},
                durations={duration_step(61.5): 2},
            ),
            DayCounts(milliseconds=0, versions={"24.10.4": 1}, durations={duration_step(0.0): 1}),
        ]

    async def test_packages_are_counted_by_week(self, sides: StatisticsSides) -> None:
        """Counts of a name are summed over the weeks that are asked for."""
        sides.worker.add_finished(BUILD)
        sides.worker.add_finished(
            replace(BUILD, at=NOON.replace(day=28), packages=frozenset({"vim"}))
        )
        sides.worker.add_finished(
            replace(BUILD, at=NOON.replace(day=25), packages=frozenset({"vim"}))
        )

        assert await sides.api.packages([MONDAY]) == {"vim": 2, "luci": 1}
        assert await sides.api.packages([date(2026, 10, 19), MONDAY]) == {"vim": 3, "luci": 1}

    async def test_packages_are_counted_by_branch(self, sides: StatisticsSides) -> None:
        """A branch's versions count together; all branches stand beside it."""
        sides.worker.add_finished(BUILD)
        sides.worker.add_finished(replace(BUILD, version="24.10-SNAPSHOT"))
        sides.worker.add_finished(replace(BUILD, version="SNAPSHOT", packages=frozenset({"vim"})))

        assert await sides.api.packages([MONDAY], "24.10") == {"vim": 2, "luci": 2}
        assert await sides.api.packages([MONDAY], "SNAPSHOT") == {"vim": 1}
        assert await sides.api.packages([MONDAY]) == {"vim": 3, "luci": 2}

    async def test_a_failure_is_counted_by_fault_and_as_it_was(
        self, sides: StatisticsSides
    ) -> None:
        """Equal ones are one with its count; another hour is another one."""
        later = replace(FAILURE, hour="2026-10-27T13:00:00Z")
        for failure in (FAILURE, later, FAILURE):
            sides.worker.add_failure(failure, {})

        assert sorted(
            await sides.api.failures([MONDAY, TUESDAY]), key=lambda entry: entry[0].hour
        ) == [(FAILURE, 2), (later, 1)]
        assert await sides.api.days([TUESDAY]) == [DayCounts(failures={"user": 3})]

    async def test_only_so_many_packages_are_kept(self, sides: StatisticsSides) -> None:
        """Whoever builds with ever new names drives out the rarest ones, and only the most frequent
        are read.
        """
        sides.worker.add_finished(BUILD)
        for part in range(4):
            names = frozenset(f"kmod-{part}-{number}" for number in range(PACKAGES_KEPT // 4))
            sides.worker.add_finished(replace(BUILD, packages=names | {"vim"}))
        found = await sides.api.packages([MONDAY])

        assert (len(found), found["vim"]) == (PACKAGES_READ, 5)

    async def test_only_so_many_failures_of_a_day_are_kept(self, sides: StatisticsSides) -> None:
        """Where counts are equal the newest stay; how many failed is known all the same."""
        for number in range(FAILURES_KEPT + 24):
            sides.worker.add_failure(
                replace(
                    FAILURE, hour=f"2026-10-27T{number % 24:02}:00:00Z", profile=f"device-{number}"
                ),
                {},
            )
        kept = [failure for failure, _ in await sides.api.failures([TUESDAY])]

        assert len(kept) == FAILURES_KEPT
        assert {failure.hour[11:13] for failure in kept} == {f"{hour:02}" for hour in range(4, 24)}
        assert (await sides.api.days([TUESDAY]))[0].failures == {"user": FAILURES_KEPT + 24}

    async def test_totals_only_grow(self, sides: StatisticsSides) -> None:
        """Outcomes, codes and durations of all workers are summed, each duration with the bound
        that it stays below.
        """
        sides.worker.add_finished(replace(BUILD, steps={"info": 0.4, "image": 60.0}))
        sides.worker.add_finished(replace(BUILD, seconds=5000.0, steps={"image": 0.7}))
        sides.worker.add_failure(FAILURE, {"info": 0.5})

        totals = await sides.api.totals()
        assert (totals.outcomes, totals.codes) == (
            {"done": 2, "user": 1},
            {"impossible-selection": 1},
        )
        assert totals.durations["info"] == Durations(
            counts=(2, *[0] * len(BOUNDS[1:]), 0), seconds=0.9
        )
        assert totals.durations["image"].counts[BOUNDS.index(60.0)] == 1
        assert totals.durations["image"].counts[BOUNDS.index(1.0)] == 1
        assert (totals.durations[WHOLE].counts[-1], totals.durations[WHOLE].seconds) == (1, 5061.5)

    async def test_builds_are_counted_by_the_hour(self, sides: StatisticsSides) -> None:
        """Of each day that is asked for, by how they ended."""
        sides.worker.add_finished(BUILD)
        sides.worker.add_finished(replace(BUILD, at=NOON.replace(hour=13)))
        sides.worker.add_failure(FAILURE, {})

        assert await sides.api.hours([MONDAY, TUESDAY]) == {
            "2026-10-27T12:00:00Z": {"done": 1, "user": 1},
            "2026-10-27T13:00:00Z": {"done": 1},
        }
        assert await sides.api.hours([MONDAY]) == {}

    async def test_every_key_ends_by_itself(self, sides: StatisticsSides, redis: Redis) -> None:
        """Nothing but some hundred totals is kept for ever, so Redis does not grow with the
        years.
        """
        await sides.api.add_requests(MONDAY, requests=1, cache_hits=0)
        sides.worker.add_finished(BUILD)
        sides.worker.add_failure(FAILURE, {})

        names = {
            "day:2026-10-26",
            "day:2026-10-27",
            "packages:2026-10-26",
            "packages:2026-10-26:24.10",
            "failures:2026-10-27",
            "hours:2026-10-27",
            "totals",
        }
        lifetimes = {name: redis.ttl(f"asu:statistics:{name}") for name in names}
        kept = KEPT_DAYS * DAY_SECONDS
        assert redis.dbsize() == len(names)
        others = {
            "failures:2026-10-27": FAILURE_DAYS * DAY_SECONDS,
            "hours:2026-10-27": (HOURS_DAYS + 1) * DAY_SECONDS,
            "totals": -1,
        }
        # A busy machine takes its time between the writing and the reading.
        assert lifetimes == pytest.approx({**dict.fromkeys(names, kept), **others}, abs=600)
        assert lifetimes["totals"] == -1

    async def test_only_so_many_packages_lie_in_redis(
        self, sides: StatisticsSides, redis: Redis
    ) -> None:
        """The bound is one of Redis' memory, not only of what is read."""
        for part in range(4):
            names = frozenset(f"kmod-{part}-{number}" for number in range(PACKAGES_KEPT // 3))
            sides.worker.add_finished(replace(BUILD, packages=names))

        assert redis.zcard("asu:statistics:packages:2026-10-26") == PACKAGES_KEPT

    async def test_fields_of_a_later_release_are_passed_over(
        self, sides: StatisticsSides, redis: Redis
    ) -> None:
        """An API of this release reads what a newer worker counts."""
        redis.hset(
            "asu:statistics:day:2026-10-26",
            mapping={"requests": 3, "refused": 2, "client:luci": 1, "fault:user": 1},
        )
        redis.hset(
            "asu:statistics:day:2026-10-26",
            mapping={
                "newest": "24.10.4",
                "took:": 1,
                "took:long": 1,
                "version:25.12.0": "few",
                b"\xff": 1,
            },
        )

        assert await sides.api.days([MONDAY]) == [DayCounts(requests=3, failures={"user": 1})]

    async def test_failures_of_a_later_release_are_read(
        self, sides: StatisticsSides, redis: Redis
    ) -> None:
        """What it tells besides is passed over, and what is equal without it is one failure."""
        for builder in ("opkg", "apk"):
            fields = json.loads(FAILURE.encoded()) | {
                "builder": builder,
                "problems": [{"kind": "missing", "package": "nothing", "feed": builder}],
            }
            redis.zadd("asu:statistics:failures:2026-10-27", {json.dumps(fields): 2})

        assert await sides.api.failures([TUESDAY]) == [(FAILURE, 4)]

    @pytest.mark.parametrize("odd", [b"", b"{", b"\xff", b"7", b"[]", b"{}", *ODD_FAILURES])
    async def test_a_failure_that_cannot_be_read_hides_no_other(
        self, sides: StatisticsSides, redis: Redis, odd: bytes
    ) -> None:
        """It is left out."""
        sides.worker.add_failure(FAILURE, {})
        redis.zadd("asu:statistics:failures:2026-10-27", {odd: 1})

        assert await sides.api.failures([TUESDAY]) == [(FAILURE, 1)]

    async def test_values_that_are_no_numbers_hide_no_others(
        self, sides: StatisticsSides, redis: Redis
    ) -> None:
        """An operator's hand, or another program, may have written there."""
        sides.worker.add_finished(BUILD)
        sides.worker.add_failure(FAILURE, {})
        for name in ("totals", "hours:2026-10-27", "day:2026-10-27"):
            for field in ("ended:done", "13:done", "took:3", "requests", b"\xff", "bucket:image:x"):
                redis.hset(f"asu:statistics:{name}", field, "nan")
        redis.hset("asu:statistics:totals", "bucket:image:x", 1)
        redis.zadd("asu:statistics:packages:2026-10-26", {"evil": float("inf")})
        redis.zadd("asu:statistics:failures:2026-10-27", {FAILURE.encoded() + " ": float("inf")})

        assert (await sides.api.totals()).outcomes == {"user": 1}
        assert (await sides.api.hours([TUESDAY]))["2026-10-27T12:00:00Z"] == {"done": 1, "user": 1}
        assert await sides.api.packages([MONDAY]) == {"vim": 1, "luci": 1}
        assert await sides.api.failures([TUESDAY]) == [(FAILURE, 1)]
        [day] = await sides.api.days([TUESDAY])
        assert (day.builds, day.failures) == (1, {"user": 1})

    async def test_totals_of_a_later_release_are_read(
        self, sides: StatisticsSides, redis: Redis
    ) -> None:
        """A bound that this release does not have counts with the next one, and other fields are
        passed over.
        """
        redis.hset(
            "asu:statistics:totals",
            mapping={
                "bucket:image:45.0": 2,
                "bucket:image:60.0": 1,
                "milliseconds:image": 100,
                "a:b:c:d": 1,
            },
        )

        durations = (await sides.api.totals()).durations
        assert set(durations) == {"image"}
        assert durations["image"].counts[BOUNDS.index(60.0)] == 3


class TestImitatedStatistics(ImitatedRedis, StatisticsContract):
    """The commands, in an imitation of Redis."""

    @pytest.fixture
    async def sides(self, asynchronous: AsyncRedis, redis: Redis) -> StatisticsSides:
        """Return both sides of one imitated server."""
        return StatisticsSides(
            api=RedisStatistics(asynchronous), worker=RedisBuildStatistics(redis)
        )


class NotedReply(list[Any]):
    """A reply of nothing that notes in which threads it is gone through."""

    def __init__(self, threads: set[int]) -> None:
        super().__init__()
        self.threads = threads

    def __iter__(self) -> Iterator[Any]:
        """Return the replies as list does."""
        self.threads.add(threading.get_ident())
        return super().__iter__()


class NotingRedis(fakeredis.FakeAsyncRedis):
    """An imitated Redis whose pipelines note in which threads their replies are gone through; it
    has none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def pipeline(self, *_: object, **__: object) -> Any:
        """Return a pipeline."""
        return NotingPipeline(self.threads)


class NotingPipeline:
    """Takes the commands of a reading, and answers none."""

    def __init__(self, threads: set[int]) -> None:
        self.threads = threads

    async def __aenter__(self) -> Self:
        """Return the pipeline itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of nothing."""

    def hgetall(self, _: str) -> None:
        """Take a command."""

    def zrange(self, *_: object, **__: object) -> None:
        """Take a command."""

    async def execute(self, *, raise_on_error: bool) -> NotedReply:
        """Return the reply."""
        assert not raise_on_error
        return NotedReply(self.threads)


@pytest.mark.anyio
@pytest.mark.parametrize("reading", ["days", "packages", "failures"])
async def test_replies_are_decoded_beside_the_event_loop(reading: str) -> None:
    """Polls go on meanwhile."""
    redis = NotingRedis()

    await getattr(RedisStatistics(redis), reading)([MONDAY])

    assert redis.threads
    assert threading.get_ident() not in redis.threads
