"""The statistics in Redis: plain commands, one pipeline per event and per reading.

An event's pipeline is a transaction, so that no key is left without its end of life. What is read is decoded in a thread: half a
year takes tens of milliseconds, for which no poll has to wait.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from itertools import chain
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.client import Pipeline

from .build_totals import WHOLE, BuildTotals, increments, read_totals
from .redis_connections import answers
from .statistics import (
    FAILURE_DAYS,
    FAILURES_KEPT,
    HOURS_DAYS,
    KEPT_DAYS,
    PACKAGES_KEPT,
    PACKAGES_READ,
    PREFIX,
    DayCounts,
    Failure,
    FinishedBuild,
    duration_step,
    failures_of,
    hour_of,
    week_of,
)

DAY_SECONDS = 86_400
TOTALS = f"{PREFIX}totals"


class RedisStatistics:
    """The API's side."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis

    async def add_requests(self, day: date, *, requests: int, cache_hits: int) -> None:
        """See Statistics."""
        key = _day(day)
        with answers():
            async with self._redis.pipeline() as pipeline:
                pipeline.hincrby(key, "requests", requests)
                pipeline.hincrby(key, "cache_hits", cache_hits)
                pipeline.expire(key, KEPT_DAYS * DAY_SECONDS)
                await pipeline.execute()

    async def days(self, days: Sequence[date]) -> list[DayCounts]:
        """See Statistics."""
        with answers():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for day in days:
                    pipeline.hgetall(_day(day))
                found = await pipeline.execute()
        return await asyncio.to_thread(_all_counts, found)

    async def packages(self, weeks: Sequence[date]) -> dict[str, int]:
        """See Statistics."""
        with answers():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for week in weeks:
                    pipeline.zrange(_packages(week), 0, PACKAGES_READ - 1, desc=True, withscores=True)
                found = await pipeline.execute()
        return await asyncio.to_thread(_sums, found)

    async def failures(self, days: Sequence[date]) -> list[tuple[Failure, int]]:
        """See Statistics."""
        with answers():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for day in days:
                    pipeline.zrange(_failures(day), 0, -1, withscores=True)
                found = await pipeline.execute()
        return await asyncio.to_thread(_all_failures, found)

    async def totals(self) -> BuildTotals:
        """See Statistics."""
        with answers():
            found: Any = await self._redis.hgetall(TOTALS)
        return read_totals({name.decode(): int(value) for name, value in found.items()})

    async def hours(self, days: Sequence[date]) -> dict[str, dict[str, int]]:
        """See Statistics."""
        with answers():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for day in days:
                    pipeline.hgetall(_hours(day))
                found = await pipeline.execute()
        hours: dict[str, dict[str, int]] = {}
        for day, counts in zip(days, found, strict=True):
            for name, count in counts.items():
                hour, _, outcome = name.decode().partition(":")
                hours.setdefault(f"{day}T{hour}:00:00Z", {})[outcome] = int(count)
        return hours


class RedisBuildStatistics:
    """The worker's side."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def add_finished(self, build: FinishedBuild) -> None:
        """See BuildStatistics."""
        day = build.at.date()
        key, packages = _day(day), _packages(week_of(day))
        with answers(), self._redis.pipeline() as pipeline:
            pipeline.hincrby(key, "builds", 1)
            pipeline.hincrby(key, "milliseconds", round(build.seconds * 1000))
            pipeline.hincrby(key, f"version:{build.version}", 1)
            pipeline.hincrby(key, f"took:{duration_step(build.seconds)}", 1)
            pipeline.expire(key, KEPT_DAYS * DAY_SECONDS)
            for name in build.packages:
                pipeline.zincrby(packages, 1, name)
            pipeline.zremrangebyrank(packages, 0, -PACKAGES_KEPT - 1)
            pipeline.expire(packages, KEPT_DAYS * DAY_SECONDS)
            _count_ended(pipeline, hour_of(build.at), "done", None, {**build.steps, WHOLE: build.seconds})
            pipeline.execute()

    def add_failure(self, failure: Failure, steps: Mapping[str, float]) -> None:
        """See BuildStatistics."""
        key, failures = _day(failure.day), _failures(failure.day)
        with answers(), self._redis.pipeline() as pipeline:
            pipeline.hincrby(key, f"fault:{failure.fault}", 1)
            pipeline.expire(key, KEPT_DAYS * DAY_SECONDS)
            pipeline.zincrby(failures, 1, failure.encoded())
            pipeline.zremrangebyrank(failures, 0, -FAILURES_KEPT - 1)
            pipeline.expire(failures, FAILURE_DAYS * DAY_SECONDS)
            _count_ended(pipeline, failure.hour, failure.fault, failure.code, steps)
            pipeline.execute()


def _count_ended(pipeline: Pipeline, hour: str, outcome: str, code: str | None, seconds: Mapping[str, float]) -> None:
    """Add a build to the totals, and to the hour in which it ended."""
    for field, amount in increments(outcome, code, seconds):
        pipeline.hincrby(TOTALS, field, amount)
    key = _hours(date.fromisoformat(hour[:10]))
    pipeline.hincrby(key, f"{hour[11:13]}:{outcome}", 1)
    pipeline.expire(key, (HOURS_DAYS + 1) * DAY_SECONDS)


def _day(day: date) -> str:
    return f"{PREFIX}day:{day}"


def _packages(week: date) -> str:
    return f"{PREFIX}packages:{week}"


def _failures(day: date) -> str:
    return f"{PREFIX}failures:{day}"


def _all_counts(found: Iterable[Mapping[bytes, bytes]]) -> list[DayCounts]:
    return [_counts(day) for day in found]


def _sums(found: Iterable[Iterable[tuple[bytes, float]]]) -> dict[str, int]:
    counts: dict[bytes, int] = {}
    for name, count in chain.from_iterable(found):
        counts[name] = counts.get(name, 0) + int(count)
    return {name.decode(errors="replace"): count for name, count in counts.items()}


def _all_failures(found: Iterable[Iterable[tuple[bytes, float]]]) -> list[tuple[Failure, int]]:
    return failures_of(chain.from_iterable(found))


def _hours(day: date) -> str:
    return f"{PREFIX}hours:{day}"


def _counts(found: Mapping[bytes, bytes]) -> DayCounts:
    """Read a day's hash; fields of a later release are passed over, whatever they hold."""
    plain: dict[str, int] = {}
    named: dict[str, dict[str, int]] = {"fault": {}, "version": {}}
    durations: dict[int, int] = {}
    for field, value in found.items():
        kind, _, name = field.decode(errors="replace").partition(":")
        with suppress(ValueError):
            if name and kind in named:
                named[kind][name] = int(value)
            elif kind == "took":
                durations[int(name)] = int(value)
            elif not name:
                plain[kind] = int(value)
    totals: dict[str, Any] = {name: plain.get(name, 0) for name in ("requests", "cache_hits", "builds", "milliseconds")}
    return DayCounts(**totals, failures=named["fault"], versions=named["version"], durations=durations)
