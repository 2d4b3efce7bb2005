"""Every metric of asu: name, type, help, and all values of each label. Nothing else is exposed.

A label has a small closed set of values, so no client can make the monitoring grow. `ROUTES` stands
for the templates of the routes, `other` for a path without one.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from asu.errors import error_classes
from asu.statistics.build_totals import FORECASTS, Durations

Kind = Literal["counter", "gauge", "histogram"]
# For each metric its values, by those of its labels.
Readings = dict["Metric", Mapping[tuple[str, ...], float | Durations]]

ROUTES = ("other",)
METHODS = ("GET", "HEAD", "POST", "other")
STATUS_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
OUTCOMES = ("done", "user", "upstream", "infra")
STEPS = ("info", "manifest", "image", "setup")


def error_codes() -> tuple[str, ...]:
    """Return the codes of all errors that are raised, sorted."""
    return tuple(sorted(error.code for error in error_classes()))


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """What is exposed under one name; `labels` lists the values of each, in the order of use."""

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


HTTP_REQUESTS = Metric(
    "asu_http_requests_total",
    "counter",
    "Requests that the API has answered, but for preflights of browsers.",
    {"route": ROUTES, "method": METHODS, "status": STATUS_CLASSES},
)
BUILD_REQUESTS = Metric(
    "asu_build_requests_total",
    "counter",
    "Accepted requests for a build: whether the image was there already (hit) or not (miss).",
    {"cache": ("hit", "miss")},
)
PREVIEWS = Metric(
    "asu_previews_total",
    "counter",
    "Requests for a preview: without problems, with problems of packages, refused, or failed.",
    {"outcome": ("ok", "problems", "refused", "unavailable")},
)
PREVIEW_FALLBACKS = Metric(
    "asu_preview_fallbacks_total",
    "counter",
    "Previews that the API made itself because asu-prepare was away, slow or wrong.",
    {"reason": ("unanswered", "wrong")},
)
UPSTREAM_FETCHES = Metric(
    "asu_upstream_fetches_total",
    "counter",
    "Answers of the downloads server: new, copy still current, no such document, or unusable.",
    {"outcome": ("fresh", "not_modified", "missing", "failed")},
)
METADATA_AGE = Metric(
    "asu_metadata_age_seconds",
    "gauge",
    "Age of the copy of a document that was validated longest ago.",
)
DISK_FREE = Metric(
    "asu_disk_free_bytes", "gauge", "Bytes free on the disk of STORE_PATH, as the API sees it."
)
DISK_RESERVE = Metric(
    "asu_disk_reserve_bytes", "gauge", "Bytes that should be free there, by DISK_RESERVE_MB."
)
QUEUE_LIMIT = Metric(
    "asu_queue_limit",
    "gauge",
    "How many may wait before new ones are refused, by MAX_PENDING_JOBS.",
)
REDIS_UP = Metric(
    "asu_redis_up",
    "gauge",
    "1 if Redis answered, else 0; then every metric below is absent, since nobody knows.",
)
QUEUE_LENGTH = Metric("asu_queue_length", "gauge", "Builds that wait.")
LONGEST_WAIT = Metric(
    "asu_queue_oldest_seconds",
    "gauge",
    "How long the first in line has waited; 0 where none waits.",
)
BUILDS_RUNNING = Metric("asu_builds_running", "gauge", "Builds that run.")
WORKERS_ALIVE = Metric("asu_workers_alive", "gauge", "Workers that live.")
WORKERS_WITHOUT_PODMAN = Metric(
    "asu_workers_without_podman",
    "gauge",
    "Workers that lately reported that podman does not answer.",
)
WORKER_DISK_FREE = Metric(
    "asu_worker_disk_free_bytes",
    "gauge",
    "Bytes free for builds on the worker that has the least; absent without workers.",
)
REDIS_MEMORY = Metric(
    "asu_redis_memory_bytes",
    "gauge",
    "Memory that Redis counts against its limit; absent where Redis does not say.",
)
REDIS_MEMORY_MAX = Metric(
    "asu_redis_memory_max_bytes",
    "gauge",
    "The `maxmemory` of Redis, absent without; above nine tenths new builds are refused.",
)
STORE_BUILDS = Metric(
    "asu_store_builds", "gauge", "Builds in the store; absent until a worker has looked."
)
STORE_BYTES = Metric(
    "asu_store_bytes", "gauge", "Bytes of their files; absent until a worker has looked."
)
BUILDS = Metric(
    "asu_builds_total",
    "counter",
    "Builds that ended: well (done), or by whose fault they failed.",
    {"outcome": OUTCOMES},
)
BUILD_FAILURES = Metric(
    "asu_build_failures_total",
    "counter",
    "Builds that failed, by the code of the error.",
    {"code": error_codes()},
)
FORECASTS_COMPARED = Metric(
    "asu_forecasts_total",
    "counter",
    "Forecasts of asu-prepare, by how they compare with the build that followed.",
    {"result": FORECASTS},
)
BUILD_RETRIES = Metric(
    "asu_build_retries_total",
    "counter",
    "Attempts after which a build was put back in line, by the code of the error.",
    {"code": error_codes()},
)
STEP_SECONDS = Metric(
    "asu_step_seconds",
    "histogram",
    "How long make's commands took, and unpacking a snapshot's builder.",
    {"step": STEPS},
)
BUILD_SECONDS = Metric(
    "asu_build_seconds",
    "histogram",
    "How long builds took that ended well, from their start by a worker.",
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
# Of the process that answers, by the client library's own collector; only on systems with /proc.
PROCESS_METRICS = (
    Metric("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes."),
    Metric("process_resident_memory_bytes", "gauge", "Resident memory size in bytes."),
    Metric(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
    ),
    Metric(
        "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds."
    ),
    Metric("process_open_fds", "gauge", "Number of open file descriptors."),
    Metric("process_max_fds", "gauge", "Maximum number of open file descriptors."),
)


class Counts:
    """What this process has counted, in the event loop's thread alone, so without a lock."""

    def __init__(self) -> None:
        counted = (BUILD_REQUESTS, PREVIEWS, PREVIEW_FALLBACKS, UPSTREAM_FETCHES)
        # A counter that exists from the start shows its first event, too. The routes would be a
        # thousand counters.
        self._counts: dict[Metric, dict[tuple[str, ...], int]] = {
            metric: dict.fromkeys(itertools.product(*metric.labels.values()), 0)
            for metric in counted
        }
        self._requests: dict[tuple[str, str, int], int] = {}

    def add(self, metric: Metric, *values: str) -> None:
        """Count an event; raises KeyError for label values that are not declared."""
        self._counts[metric][values] += 1

    def count(self, metric: Metric, *values: str) -> int:
        """Return how many events with these values were counted."""
        return self._counts[metric][values]

    def add_request(self, route: str, method: str, status: int) -> None:
        """Count an answered request by the template of its route, `other` without one."""
        key = route, method if method in METHODS else "other", status
        self._requests[key] = self._requests.get(key, 0) + 1

    def readings(self) -> Readings:
        """Return all counts as they are now."""
        requests: dict[tuple[str, ...], int] = {}
        for (route, method, status), count in self._requests.items():
            values = route, method, f"{status // 100}xx"
            requests[values] = requests.get(values, 0) + count
        return {
            HTTP_REQUESTS: requests,
            **{metric: dict(counts) for metric, counts in self._counts.items()},
        }
