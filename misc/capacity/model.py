"""Release day as a discrete-event simulation (SimPy).

Devices ask for images over some days after a release. Equal requests share one build. The rules are
the server's own: admission up to MAX_PENDING_JOBS, one line in order of arrival, builds that come
back begin first, RETRY_DELAYS, MAX_ATTEMPTS, a lease that ends when a worker dies, and prebuilding
in a line of its own that never delays a person's build.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import simpy

HOUR, DAY = 3600.0, 86_400.0
LOST_SECONDS = 30.0  # A dead worker's lease ends after 20 s, and a sweep finds it within 10.


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated. Times are seconds; fractions lie between 0 and 1.

    `distinct` of all requests want an image that nobody else wants; the others choose among
    `popular` selections, of which the k-th is asked for in proportion to 1/k. `day_one` of all
    requests come in the first 24 hours, each later day brings the same part of what is left.
    """

    devices: int = 1_000_000
    days: float = 14.0
    distinct: float = 0.1
    popular: int = 20_000
    day_one: float = 0.25
    night: float = 0.6
    workers: int = 8
    build_seconds: float = 20.0
    build_spread: float = 0.35
    user_failures: float = 0.04
    passing_failures: float = 0.01
    worker_days: float = 30.0
    pending_limit: int = 1000
    attempts: int = 3
    delays: tuple[float, ...] = (5.0, 30.0)
    comes_again: float = HOUR
    prebuild_hours: float = 0.0
    image_mb: float = 12.0
    kept_days: float = 1.0
    worker_hour_cost: float = 0.02
    seed: int = 1


@dataclass(slots=True)
class Outcome:
    """What came of it. `waits` are seconds from the request to the image, for those that waited."""

    waits: list[float] = field(default_factory=list)
    ready: int = 0
    refused: int = 0
    gave_up: int = 0
    failed: int = 0
    built: int = 0
    prebuilt: int = 0
    longest_line: int = 0
    busy: float = 0.0
    peak_mb: float = 0.0

    def wait(self, part: float) -> float:
        """Return a quantile of the waiting times of all who got an image; 0 where it was ready."""
        rank = math.ceil(part * (len(self.waits) + self.ready)) - self.ready - 1
        return sorted(self.waits)[rank] if rank >= 0 and self.waits else 0.0


@dataclass(slots=True, eq=False)
class _Build:
    image: int
    askers: list[float]
    tries: int = 0


class ReleaseDay:
    """One run of a scenario."""

    def __init__(self, scenario: Scenario, arrivals: Iterable[float] | None = None) -> None:
        self._is = scenario
        self._random = random.Random(scenario.seed)  # noqa: S311 - A simulation.
        self._world, self.outcome = simpy.Environment(-scenario.prebuild_hours * HOUR), Outcome()
        self._line: deque[_Build] = deque()
        self._first: deque[_Build] = deque()
        self._prebuild = iter(range(scenario.popular))
        self._known: dict[int, _Build] = {}
        self._done: dict[int, float] = {}  # Image → when its files go.
        self._stored: deque[tuple[float, int]] = deque()
        self._bell = self._world.event()
        self._times = arrival_times(scenario, self._random) if arrivals is None else arrivals

    def run(self) -> Outcome:
        """Simulate until every build has ended."""
        for _ in range(self._is.workers):
            self._world.process(self._worker())
        self._world.process(self._arrivals())
        self._world.run(until=self._is.days * DAY + DAY)
        return self.outcome

    def _arrivals(self) -> Generator[Any, Any, None]:
        for at in self._times:
            yield self._world.timeout(max(0.0, at - self._world.now))
            self._ask(self._image())

    def _image(self) -> int:
        """Return a number of an image: popular ones from 0, others once each."""
        if self._random.random() < self._is.distinct:
            return self._is.popular + self._random.getrandbits(60)
        return int((self._is.popular + 1) ** self._random.random()) - 1

    def _ask(self, image: int, tries: int = 1) -> None:
        if self._done.get(image, -math.inf) > self._world.now:
            self.outcome.ready += 1
        elif (known := self._known.get(image)) is not None:
            known.askers.append(self._world.now)
        elif len(self._line) >= self._is.pending_limit:
            self.outcome.refused += 1
            if tries < self._is.attempts:
                self._world.process(self._again(image, tries + 1))
            else:
                self.outcome.gave_up += 1
        else:
            build = self._known[image] = _Build(image, [self._world.now])
            self._line.append(build)
            self.outcome.longest_line = max(self.outcome.longest_line, len(self._line))
            self._ring()

    def _again(self, image: int, tries: int) -> Generator[Any, Any, None]:
        yield self._world.timeout(self._random.expovariate(1 / self._is.comes_again))
        self._ask(image, tries)

    def _ring(self) -> None:
        bell, self._bell = self._bell, self._world.event()
        bell.succeed()

    def _worker(self) -> Generator[Any, Any, None]:
        while True:
            build = self._next()
            if build is None:
                yield self._bell
                continue
            build.tries += 1
            seconds = self._seconds()
            yield self._world.timeout(seconds)
            self.outcome.busy += seconds
            if self._random.random() < seconds / (self._is.worker_days * DAY):
                yield self._world.timeout(LOST_SECONDS)
                self._first.append(build)
            else:
                self._end(build)

    def _next(self) -> _Build | None:
        if self._first:
            return self._first.popleft()
        if self._line:
            return self._line.popleft()
        if self._is.prebuild_hours:
            for image in self._prebuild:
                if image not in self._known and image not in self._done:
                    build = self._known[image] = _Build(image, [])
                    return build
        return None

    def _end(self, build: _Build) -> None:
        draw = self._random.random()
        if draw < self._is.passing_failures and build.tries < self._is.attempts:
            self._world.process(self._retry(build))
            return
        del self._known[build.image]
        if draw < self._is.user_failures:
            self.outcome.failed += len(build.askers)
            return
        now = self._world.now
        self.outcome.waits.extend(now - asked for asked in build.askers)
        self.outcome.built += bool(build.askers)
        self.outcome.prebuilt += not build.askers
        self._done[build.image] = now + self._is.kept_days * DAY
        self._stored.append((now + self._is.kept_days * DAY, build.image))
        while self._stored[0][0] < now:
            self._done.pop(self._stored.popleft()[1], None)
        self.outcome.peak_mb = max(self.outcome.peak_mb, len(self._stored) * self._is.image_mb)

    def _retry(self, build: _Build) -> Generator[Any, Any, None]:
        yield self._world.timeout(self._is.delays[min(build.tries, len(self._is.delays)) - 1])
        self._first.append(build)
        self._ring()

    def _seconds(self) -> float:
        """Draw a build's time: log-normal, with the scenario's mean."""
        spread = self._is.build_spread
        return self._is.build_seconds * self._random.lognormvariate(-spread * spread / 2, spread)


def arrival_times(scenario: Scenario, source: random.Random) -> Iterator[float]:
    """Return when each device asks, in order: decay from day to day, and a wave within each day."""
    hours = int(scenario.days * 24)
    weights = [
        (1 - scenario.day_one) ** (hour / 24)
        * (1 + scenario.night * math.sin(2 * math.pi * (hour % 24 - 9) / 24))
        for hour in range(hours)
    ]
    chosen = source.choices(range(hours), weights, k=scenario.devices)
    return iter(sorted((hour + source.random()) * HOUR for hour in chosen))
