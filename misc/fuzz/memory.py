"""Whether the services' memory stays flat while everything possible is sent to them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Self

from misc.bench.servers import weigh
from misc.native.processes import Processes
from misc.native.trouble import Trouble

SERVICES = ("asu", "prepare")
EVERY = 2.0  # Seconds; reading takes a millisecond.
# Until a third of the time has passed, caches fill and the allocator finds its size. From then on
# nothing may grow that has no bound; what was seen on a machine at rest is a MiB or two, of
# requests that are larger than those before.
ALLOWED_MIB = 8.0
JUDGED_AFTER = 300  # Seconds; in less, caches still fill in the second third.


class MemoryWatch(threading.Thread):
    """Weighs the services while it is entered."""

    def __init__(self, processes: Processes) -> None:
        super().__init__(daemon=True)
        self._processes, self._ended = processes, threading.Event()
        # MiB that each service holds, by its name.
        self.samples: dict[str, list[float]] = defaultdict(list)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Weigh until the end; a service that is not there then is found by other checks."""
        while not self._ended.wait(EVERY):
            for name in SERVICES:
                record = self._processes.running(name)
                if record is not None:
                    try:
                        self.samples[name].append(weigh(record.pid).rss)
                    except Trouble:
                        continue


def growth(samples: Sequence[float]) -> float:
    """Return by how many MiB the last third of samples is above the second, by their medians."""
    third = len(samples) // 3
    return median(samples[-third:]) - median(samples[third:-third]) if third else 0.0


def judge(samples: Mapping[str, Sequence[float]], seconds: int) -> tuple[list[str], bool]:
    """Return a line about each service, and whether none grew in `seconds`."""
    lines, is_flat = [], True
    for name, weights in samples.items():
        grown = growth(weights)
        is_judged = seconds >= JUDGED_AFTER
        is_flat = is_flat and not (is_judged and grown > ALLOWED_MIB)
        verdict = "" if not is_judged else ", too much" if grown > ALLOWED_MIB else ", flat"
        seen = f"{weights[0]:.0f} MiB at first, {max(weights):.0f} at most"
        trend = f"{grown:+.1f} from the second third to the last"
        lines.append(f"memory of {name}: {seen}; {trend}{verdict}")
    return lines, is_flat
