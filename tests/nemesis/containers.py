"""Never two live containers for one build, but for the time that it takes to find out that the
older one's owner has gone.

What an older attempt leaves is removed by the sweep of any worker: once every 15 s, found due by a
look at its duties every 5 s, and then podman lists and removes, for which a busy machine is given
10 s. So an older container may run beside its successor for 30 s. The clock begins anew when the
end of a fault is the first moment at which a sweep can be: none can without podman, without Redis,
or while both workers are away. Two containers of one attempt are never right. The sampler sees each
second, so what lives shorter may be missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from tests.nemesis.history import DIED, History, Sample, Window
from tests.nemesis.schedule import WORKERS

SWEPT_AFTER = 15.0 + 5.0 + 10.0
BLIND = {"kill-redis", "restart-podman"}
AWAY = {"kill-worker", "freeze-worker", DIED}


def two_containers(history: History) -> Iterator[str]:
    """Yield each pair of containers that lived beside each other and must not have."""
    blind = list(_without_sweeps(history.windows))
    since: dict[tuple[str, int, int], float] = {}
    told: set[tuple[str, int, int]] = set()
    for sample in history.samples:
        pairs = set(_pairs(sample))
        since = {
            pair: max(
                [since.get(pair, sample.at), *[end for begin, end in blind if begin <= sample.at]]
            )
            for pair in pairs
        }
        for pair in sorted(pairs - told):
            key, older, younger = pair
            if older == younger:
                told.add(pair)
                yield f"build {key} attempt {older} has two containers at {sample.at:.1f}"
            elif sample.at - since[pair] > SWEPT_AFTER:
                told.add(pair)
                yield (
                    f"build {key}: the container of attempt {older} has lived beside that of"
                    f" {younger} for {SWEPT_AFTER:.0f} s at {sample.at:.1f}"
                )


def longest_overlap(history: History) -> float:
    """Return for how many seconds, as sampled, containers of two attempts of one build lived beside
    each other at most.
    """
    seen: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for sample in history.samples:
        for pair in _pairs(sample):
            seen[pair].append(sample.at)
    return max((times[-1] - times[0] for times in seen.values()), default=0.0)


def _pairs(sample: Sample) -> Iterator[tuple[str, int, int]]:
    """Yield key and attempts of containers that are alive at once, the older one first."""
    alive: dict[str, list[int]] = defaultdict(list)
    for container in sample.containers:
        if container.is_alive:
            alive[container.key].append(container.attempt)
    for key, attempts in alive.items():
        yield from ((key, older, younger) for older, younger in pairwise(sorted(attempts)))


def _without_sweeps(windows: tuple[Window, ...]) -> Iterator[tuple[float, float]]:
    """Yield the times in which no sweep could be."""
    yield from ((window.began, window.ended) for window in windows if window.kind in BLIND)
    away = {
        name: [window for window in windows if window.kind in AWAY and window.target == name]
        for name in WORKERS
    }
    first, second = (away[name] for name in WORKERS)
    for one in first:
        for other in second:
            if one.meets(other.began, other.ended):
                yield max(one.began, other.began), min(one.ended, other.ended)
