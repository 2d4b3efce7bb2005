"""The statistics in Redis: plain commands, one script per event and one pipeline per reading.

An event's commands are run by a script, all at once, so that no key is left without its end of
life, and once: where a reply is lost, the client library asks again, and an event that was counted
is known by its nonce. What is read is decoded in a thread: half a year takes tens of milliseconds,
for which no poll has to wait.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from itertools import chain
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asu.records.build_record import new_nonce
from asu.records.redis_connections import answers

from .build_statistics import (
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
from .build_totals import WHOLE, BuildTotals, increments, read_totals

DAY_SECONDS = 86_400
TOTALS = f"{PREFIX}totals"
COUNTED = f"{PREFIX}counted:"  # With the nonce of an event: that it was counted.
# Seconds for which that is known. Who asks again does so within two, as `redis_connections` has it;
# the rest is for a Redis that stood still.
COUNTED_SECONDS = 60

# Runs commands unless the event was counted. Each stands among the arguments behind the number of
# its words.
COUNT_ONCE = """
if not redis.call('SET', KEYS[1], 1, 'NX', 'EX', ARGV[1]) then return 0 end
local at = 2
while at <= #ARGV do
  local last = at + tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, last))
  at = last + 1
end
return 1
"""

Command = tuple[str | int, ...]


class RedisStatistics:
    """The API's side."""

    def __init__(self, redis: AsyncRedis) -> None:
        self._redis = redis
        self._count_once = redis.register_script(COUNT_ONCE)

    async def add_requests(self, day: date, *, requests: int, cache_hits: int) -> None:
        """See Statistics."""
        key = _day(day)
        counted: list[Command] = [
            ("HINCRBY", key, "requests", requests),
            ("HINCRBY", key, "cache_hits", cache_hits),
            ("EXPIRE", key, KEPT_DAYS * DAY_SECONDS),
        ]
        with answers():
            await self._count_once(keys=[COUNTED + new_nonce()], args=_arguments(counted))

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
                    pipeline.zrange(
                        _packages(week), 0, PACKAGES_READ - 1, desc=True, withscores=True
                    )
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
        self._count_once = redis.register_script(COUNT_ONCE)

    def add_finished(self, build: FinishedBuild) -> None:
        """See BuildStatistics."""
        day = build.at.date()
        key, packages = _day(day), _packages(week_of(day))
        self._count(
            ("HINCRBY", key, "builds", 1),
            ("HINCRBY", key, "milliseconds", round(build.seconds * 1000)),
            ("HINCRBY", key, f"version:{build.version}", 1),
            ("HINCRBY", key, f"took:{duration_step(build.seconds)}", 1),
            ("EXPIRE", key, KEPT_DAYS * DAY_SECONDS),
            *(("ZINCRBY", packages, 1, name) for name in build.packages),
            ("ZREMRANGEBYRANK", packages, 0, -PACKAGES_KEPT - 1),
            ("EXPIRE", packages, KEPT_DAYS * DAY_SECONDS),
            *_ended(hour_of(build.at), "done", None, {**build.steps, WHOLE: build.seconds}),
        )

    def add_failure(self, failure: Failure, steps: Mapping[str, float]) -> None:
        """See BuildStatistics."""
        key, failures = _day(failure.day), _failures(failure.day)
        self._count(
            ("HINCRBY", key, f"fault:{failure.fault}", 1),
            ("EXPIRE", key, KEPT_DAYS * DAY_SECONDS),
            ("ZINCRBY", failures, 1, failure.encoded()),
            ("ZREMRANGEBYRANK", failures, 0, -FAILURES_KEPT - 1),
            ("EXPIRE", failures, FAILURE_DAYS * DAY_SECONDS),
            *_ended(failure.hour, failure.fault, failure.code, steps),
        )

    def _count(self, *commands: Command) -> None:
        with answers():
            self._count_once(keys=[COUNTED + new_nonce()], args=_arguments(commands))


def _arguments(commands: Iterable[Command]) -> list[str | int]:
    """Return commands as the script takes them."""
    return [COUNTED_SECONDS, *chain.from_iterable((len(command), *command) for command in commands)]


def _ended(
    hour: str, outcome: str, code: str | None, seconds: Mapping[str, float]
) -> Iterator[Command]:
    """Yield what adds a build to the totals, and to the hour in which it ended."""
    for field, amount in increments(outcome, code, seconds):
        yield "HINCRBY", TOTALS, field, amount
    key = _hours(date.fromisoformat(hour[:10]))
    yield "HINCRBY", key, f"{hour[11:13]}:{outcome}", 1
    yield "EXPIRE", key, (HOURS_DAYS + 1) * DAY_SECONDS


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
    totals: dict[str, Any] = {
        name: plain.get(name, 0) for name in ("requests", "cache_hits", "builds", "milliseconds")
    }
    return DayCounts(
        **totals, failures=named["fault"], versions=named["version"], durations=durations
    )
