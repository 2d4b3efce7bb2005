"""The statistics in Redis: one transaction per event, one pipeline per reading.

    asu:statistics:totals                hash of `build_totals`, without an end of life
    asu:statistics:day:2026-10-26        hash of a UTC day: `requests`, `cache_hits`,
                                         `milliseconds` (all builds together), `fault:NAME`,
                                         `version:NAME` and `took:STEP` (finished builds)
    asu:statistics:hours:2026-10-26      hash of a day: `13:OUTCOME`, builds that ended after 13:00
    asu:statistics:packages:2026-10-26   sorted set of the week that begins on this Monday:
                                         package → finished builds that requested it; with
                                         `:24.10` behind it, those of a branch
    asu:statistics:failures:2026-10-26   sorted set of a day: a failure as JSON → how often

Long replies are decoded in a thread: half a year takes tens of milliseconds.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from itertools import chain
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from asu.records.redis_connections import redis_errors_translated
from asu.resolution import Version

from .build_statistics import (
    BRANCH_PACKAGES_KEPT,
    FAILURE_DAYS,
    FAILURES_KEPT,
    HOURS_DAYS,
    KEPT_DAYS,
    PACKAGES_KEPT,
    PACKAGES_READ,
    DayCounts,
    Failure,
    FinishedBuild,
    duration_step,
    failures_of,
    hour_of,
    week_of,
)
from .build_totals import WHOLE, BuildTotals, Forecast, increments, read_totals

PREFIX = "asu:statistics:"
TOTALS = f"{PREFIX}totals"
DAY_SECONDS = 86_400

Command = tuple[str | int, ...]


class RedisStatistics:
    """The API's side: count requests, and read everything. Each call raises QueueUnavailable."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis

    async def add_requests(self, day: date, *, requests: int, cache_hits: int) -> None:
        """Add to the counts of a day."""
        key = f"{PREFIX}day:{day}"
        with redis_errors_translated():
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hincrby(key, "requests", requests)
                pipeline.hincrby(key, "cache_hits", cache_hits)
                pipeline.expire(key, KEPT_DAYS * DAY_SECONDS)
                await pipeline.execute()

    async def days(self, days: Sequence[date]) -> list[DayCounts]:
        """Return the counts of each day."""
        found = await self._read("day", days, lambda pipeline, key: pipeline.hgetall(key))
        return await asyncio.to_thread(lambda: [_counts(day) for day in _readable(found)])

    async def packages(self, weeks: Sequence[date], branch: str | None = None) -> dict[str, int]:
        """Return the most frequent packages of weeks (their Mondays), of all branches or one."""
        suffix, last = f":{branch}" if branch else "", PACKAGES_READ - 1

        def ask(pipeline: Any, key: str) -> None:
            pipeline.zrange(key + suffix, 0, last, desc=True, withscores=True)

        found = await self._read("packages", weeks, ask)
        return await asyncio.to_thread(lambda: _sums(_readable(found)))

    async def failures(self, days: Sequence[date]) -> list[tuple[Failure, int]]:
        """Return the failures of the days in no order, each once with its count."""
        found = await self._read(
            "failures", days, lambda pipeline, key: pipeline.zrange(key, 0, -1, withscores=True)
        )
        return await asyncio.to_thread(lambda: failures_of(chain.from_iterable(_readable(found))))

    async def totals(self) -> BuildTotals:
        """Return what workers have counted since counting began."""
        with redis_errors_translated():
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.hgetall(TOTALS)
                found: Any = await pipeline.execute(raise_on_error=False)
        return read_totals(_numbers(_readable(found)[0]))

    async def hours(self, days: Sequence[date]) -> dict[str, dict[str, int]]:
        """Return the builds that ended in each hour by outcome; an hour without one is left out."""
        found = await self._read("hours", days, lambda pipeline, key: pipeline.hgetall(key))
        hours: dict[str, dict[str, int]] = {}
        for day, counts in zip(days, _readable(found), strict=True):
            for name, count in _numbers(counts).items():
                hour, _, outcome = name.partition(":")
                hours.setdefault(f"{day}T{hour}:00:00Z", {})[outcome] = count
        return hours

    async def _read(
        self, kind: str, days: Iterable[date], ask: Callable[[Any, str], object]
    ) -> list[Any]:
        with redis_errors_translated():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for day in days:
                    ask(pipeline, f"{PREFIX}{kind}:{day}")
                found: list[Any] = await pipeline.execute(raise_on_error=False)
                return found


class RedisBuildStatistics:
    """The worker's side: count how builds end. Each call raises QueueUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._blocking = redis

    def add_finished(self, build: FinishedBuild) -> None:
        """Count a build that succeeded."""
        day = build.at.date()
        key, packages = f"{PREFIX}day:{day}", f"{PREFIX}packages:{week_of(day)}"
        branch = f"{packages}:{Version.parse(build.version).branch}"
        self._count(
            ("HINCRBY", key, "milliseconds", round(build.seconds * 1000)),
            ("HINCRBY", key, f"version:{build.version}", 1),
            ("HINCRBY", key, f"took:{duration_step(build.seconds)}", 1),
            ("EXPIRE", key, KEPT_DAYS * DAY_SECONDS),
            *_ranked(packages, build.packages, PACKAGES_KEPT, KEPT_DAYS),
            *_ranked(branch, build.packages, BRANCH_PACKAGES_KEPT, KEPT_DAYS),
            *_ended(hour_of(build.at), "done", None, {**build.steps, WHOLE: build.seconds}),
        )

    def add_failure(self, failure: Failure, steps: Mapping[str, float]) -> None:
        """Count a build that failed; `steps` are the seconds of make's commands until then."""
        day = failure.hour[:10]
        key, failures = f"{PREFIX}day:{day}", f"{PREFIX}failures:{day}"
        self._count(
            ("HINCRBY", key, f"fault:{failure.fault}", 1),
            ("EXPIRE", key, KEPT_DAYS * DAY_SECONDS),
            *_ranked(failures, [failure.encoded()], FAILURES_KEPT, FAILURE_DAYS),
            *_ended(failure.hour, failure.fault, failure.code, steps),
        )

    def add_forecast(self, result: Forecast) -> None:
        """Count how a forecast of asu-prepare compares with the build."""
        self._count(("HINCRBY", TOTALS, f"forecast:{result}", 1))

    def _count(self, *commands: Command) -> None:
        with redis_errors_translated(), self._blocking.pipeline(transaction=True) as pipeline:
            queue: Any = pipeline.execute_command  # The library gives it no types.
            for command in commands:
                queue(*command)
            pipeline.execute()


def _readable(answers: Iterable[Any]) -> list[Any]:
    """Return what Redis has answered, and nothing for keys into which somebody has written."""
    found = []
    with redis_errors_translated():
        for answer in answers:
            if isinstance(answer, RedisError) and not str(answer).startswith("WRONGTYPE"):
                raise answer
            found.append({} if isinstance(answer, RedisError) else answer)
    return found


def _ranked(key: str, names: Iterable[str], kept: int, days: int) -> Iterator[Command]:
    """Yield what adds one to each name in a sorted set, and keeps the `kept` most frequent."""
    for name in names:
        yield "ZINCRBY", key, 1, name
    yield "ZREMRANGEBYRANK", key, 0, -kept - 1
    yield "EXPIRE", key, days * DAY_SECONDS


def _ended(
    hour: str, outcome: str, code: str | None, seconds: Mapping[str, float]
) -> Iterator[Command]:
    """Yield what adds a build to the totals, and to the hour in which it ended."""
    for field, amount in increments(outcome, code, seconds):
        yield "HINCRBY", TOTALS, field, amount
    key = f"{PREFIX}hours:{hour[:10]}"
    yield "HINCRBY", key, f"{hour[11:13]}:{outcome}", 1
    yield "EXPIRE", key, (HOURS_DAYS + 1) * DAY_SECONDS


def _sums(found: Iterable[Iterable[tuple[bytes, float]]]) -> dict[str, int]:
    counts = Counter[bytes]()
    for name, count in chain.from_iterable(found):
        if math.isfinite(count):
            counts[name] += int(count)
    return {name.decode(errors="replace"): count for name, count in counts.items()}


def _numbers(found: Mapping[bytes, bytes]) -> dict[str, int]:
    """Read a hash of counts; a value that is not a number is skipped."""
    numbers: dict[str, int] = {}
    for field, value in found.items():
        with suppress(ValueError):
            numbers[field.decode(errors="replace")] = int(value)
    return numbers


def _counts(found: Mapping[bytes, bytes]) -> DayCounts:
    """Read a day's hash; fields of a later release are skipped."""
    numbers = _numbers(found)
    failures, versions, durations = dict[str, int](), dict[str, int](), dict[int, int]()
    for field, value in numbers.items():
        match field.split(":", 1):
            case ["fault", name] if name:
                failures[name] = value
            case ["version", name] if name:
                versions[name] = value
            case ["took", step]:
                with suppress(ValueError):
                    durations[int(step)] = value
    return DayCounts(
        requests=numbers.get("requests", 0),
        cache_hits=numbers.get("cache_hits", 0),
        milliseconds=numbers.get("milliseconds", 0),
        failures=failures,
        versions=versions,
        durations=durations,
    )
