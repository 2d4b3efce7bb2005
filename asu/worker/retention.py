"""Keeps a store within its budget: what was of no use for longest goes first, record and files together.

A build is of use when it is published, when the API answers with it or sends a file of it
(`uses.py`), and when its files are read past the API, as by the gateway. Of that only the file
system knows, by the time of the last access. Many note it just once a day (relatime) or not at all
(noatime), which is why it can only add to what the API has noted; but clients ask the API right
before they download.
"""

import logging
import time
from collections.abc import Iterable

from asu.disk_space import MIB
from asu.records.worker_records import WorkerRecords
from asu.stores.store import Store, StoredBuild

log = logging.getLogger(__name__)

# Seconds; whoever was told of an image downloads it within minutes, over a slow line too.
GRACE = 600.0
# Seconds of one pass: a worker shows no sign of life meanwhile, and a bucket takes its time for
# each file.
LONGEST = 15.0


def keep_within(budget_mb: int, store: Store, records: WorkerRecords) -> list[str]:
    """Remove builds until the rest has no more than `budget_mb` MiB, where 0 is no limit; return their keys.

    What waits or runs stays, and so does what was of use within the grace. The record goes first: a
    poll then finds neither, instead of a record whose files are gone, which would have the build
    made again. Files that a killed worker leaves so are the first to go the next time. Raises
    StoreFailed, QueueUnavailable.
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
    """Return those that were of no use within the grace, longest first; what no record knows is of use to nobody."""
    idle = records.idle([build.key for build in builds])

    def seconds(build: StoredBuild) -> float:
        return min(build.idle, idle.get(build.key, build.idle))

    return sorted((build for build in builds if seconds(build) > GRACE), key=seconds, reverse=True)
