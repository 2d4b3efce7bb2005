"""Every metric of the service, with all values of each label. Nothing else may be exposed.

A label has one value of a small closed set, so that a caller cannot make the monitoring grow. The
tests hold the exposition and the table in the README against this file.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

# For each metric its values, by those of its labels.
Readings = dict["Metric", Mapping[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """What is exposed under one name; `labels` lists the values of each label, in order."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """Yield every combination of values; one, of nothing, without labels."""
        yield from itertools.product(*self.labels.values())


REQUESTS = Metric(
    name="asu_prepare_http_requests_total",
    kind="counter",
    help="Requests that were answered, on whatever path.",
    labels={"status": ("1xx", "2xx", "3xx", "4xx", "5xx")},
)
PREVIEWS = Metric(
    name="asu_prepare_previews_total",
    kind="counter",
    help="Requests for a preview: without problems of packages, with some, refused, or failed by "
    "our mistake.",
    labels={"outcome": ("ok", "problems", "refused", "failed")},
)
FETCHES = Metric(
    name="asu_prepare_metadata_fetches_total",
    kind="counter",
    help="Documents asked of the downloads server: a new one came, the copy is still current, "
    "there is none, or no usable answer.",
    labels={"outcome": ("fresh", "not_modified", "missing", "failed")},
)
METADATA_AGE = Metric(
    name="asu_prepare_metadata_age_seconds",
    kind="gauge",
    help="Age of the copy of a document that was confirmed longest ago.",
)

COUNTERS = (REQUESTS, PREVIEWS, FETCHES)
METRICS = (*COUNTERS, METADATA_AGE)
# Of the process, by the client library's own collector; only where the system has /proc.
PROCESS_METRICS = (
    Metric(name="process_virtual_memory_bytes", kind="gauge", help="Virtual memory size in bytes."),
    Metric(
        name="process_resident_memory_bytes", kind="gauge", help="Resident memory size in bytes."
    ),
    Metric(
        name="process_start_time_seconds",
        kind="gauge",
        help="Start time of the process since unix epoch in seconds.",
    ),
    Metric(
        name="process_cpu_seconds_total",
        kind="counter",
        help="Total user and system CPU time spent in seconds.",
    ),
    Metric(name="process_open_fds", kind="gauge", help="Number of open file descriptors."),
    Metric(name="process_max_fds", kind="gauge", help="Maximum number of open file descriptors."),
)


class Counts:
    """What this process has counted; only the event loop's thread counts, so no lock is needed."""

    def __init__(self) -> None:
        # Monitoring sees the first event only of a counter that was there before.
        self._counts = {metric: dict.fromkeys(metric.combinations(), 0) for metric in COUNTERS}

    def add(self, metric: Metric, *values: str) -> None:
        """Count an event with these values of the labels; raises KeyError for undeclared ones."""
        self._counts[metric][values] += 1

    def readings(self) -> Readings:
        """Return all counts as they are now."""
        return {metric: dict(counts) for metric, counts in self._counts.items()}
