"""Keeps a store within its budget: removes the builds that were unused for longest.

A build is used when it is published, when the API answers with it or sends a file of it, and when
its files are read past the API. The file system notes the latter, but often only once a day.
"""

import logging
import time
from collections.abc import Iterable

from asu.disk_space import MIB
from asu.records.worker_records import WorkerRecords
from asu.stores.store import Store, StoredBuild

log = logging.getLogger(__name__)

# Seconds; clients download an image within minutes, over a slow line too.
GRACE = 600.0
# Seconds of one pass: a worker shows no sign of life meanwhile, and a bucket takes its time for
# each file.
LONGEST = 15.0


def keep_within(budget_mb: int, store: Store, records: WorkerRecords) -> list[str]:
    """Remove builds until the rest has at most `budget_mb` MiB (0: any); return their keys.

    What waits or runs stays, and so does what was used within the grace. The record goes first:
    with a record whose files are gone, a poll would have the build made again. Raise StoreFailed,
    QueueUnavailable.
    """
    builds = store.builds() if budget_mb else []
    excess = sum(build.bytes for build in builds) - budget_mb * MIB
    if not builds or excess <= 0:
        return []
    removed: list[str] = []
    end = time.monotonic() + LONGEST
    for build in _least_used(builds, records):
        if excess <= 0 or time.monotonic() >= end:
            return removed
        if records.forget(build.key, GRACE) and store.remove(build.key, GRACE):
            removed.append(build.key)
            excess -= build.bytes
    if excess > 0:
        log.warning(
            "the store has %s MiB more than STORE_BUDGET_MB, and all that is left is in use",
            -(-excess // MIB),
        )
    return removed


def _least_used(builds: Iterable[StoredBuild], records: WorkerRecords) -> list[StoredBuild]:
    """Return those that were not used within the grace, longest first."""
    idle = records.idle([build.key for build in builds])

    def seconds(build: StoredBuild) -> float:
        return min(build.idle, idle.get(build.key, build.idle))

    return sorted((build for build in builds if seconds(build) > GRACE), key=seconds, reverse=True)
