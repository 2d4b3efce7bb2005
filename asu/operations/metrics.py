"""Every metric of asu: name, type, help, and all values of each label. Nothing else is exposed.

A label has a small closed set of values, so that a client cannot make the monitoring grow: no hash,
package, version or address. `ROUTES` stands for the templates of the routes, and `other` for a path
without one. The documentation is made from this file, and tests compare exposition, dashboard and
alert rules with it.

Events in the API are counted in its process (`Counts`), events in workers in Redis
(`build_totals`, and retries in the records). What is true at this moment is looked up by `scrape`.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from asu.errors import error_classes
from asu.statistics.build_totals import Durations

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metric:
    """What is exposed under one name; `labels` lists the values of each, in the order of use."""

    name: str
    kind: Kind
    help: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """Yield every combination of values; one, of nothing, without labels."""
        yield from itertools.product(*self.labels.values())


HTTP_REQUESTS = Metric(
    name="asu_http_requests_total",
    kind="counter",
    help="Requests that the API has answered, but for preflights of browsers.",
    labels={"route": ROUTES, "method": METHODS, "status": STATUS_CLASSES},
)
BUILD_REQUESTS = Metric(
    name="asu_build_requests_total",
    kind="counter",
    help="Accepted requests for a build: whether the image was there already (hit) or not (miss).",
    labels={"cache": ("hit", "miss")},
)
PREVIEWS = Metric(
    name="asu_previews_total",
    kind="counter",
    help="Requests for a preview: without problems, with problems of packages, refused, or failed.",
    labels={"outcome": ("ok", "problems", "refused", "unavailable")},
)
PREVIEW_FALLBACKS = Metric(
    name="asu_preview_fallbacks_total",
    kind="counter",
    help="Previews that the API made itself because asu-prepare was away, slow or wrong.",
    labels={"reason": ("unanswered", "wrong")},
)
UPSTREAM_FETCHES = Metric(
    name="asu_upstream_fetches_total",
    kind="counter",
    help="Answers of the downloads server: new, copy still current, no such document, or unusable.",
    labels={"outcome": ("fresh", "not_modified", "missing", "failed")},
)
METADATA_AGE = Metric(
    name="asu_metadata_age_seconds",
    kind="gauge",
    help="Age of the copy of a document that was validated longest ago.",
)
DISK_FREE = Metric(
    name="asu_disk_free_bytes",
    kind="gauge",
    help="Bytes free on the disk of STORE_PATH, as the API sees it.",
)
WORKER_DISK_FREE = Metric(
    name="asu_worker_disk_free_bytes",
    kind="gauge",
    help="Bytes free for builds on the worker that has the least; absent without workers.",
)
DISK_RESERVE = Metric(
    name="asu_disk_reserve_bytes",
    kind="gauge",
    help="Bytes that should be free there, by DISK_RESERVE_MB.",
)
REDIS_UP = Metric(
    name="asu_redis_up",
    kind="gauge",
    help="1 if Redis answered, else 0; then every metric below is absent, since nobody knows.",
)
QUEUE_LENGTH = Metric(name="asu_queue_length", kind="gauge", help="Builds that wait.")
QUEUE_LIMIT = Metric(
    name="asu_queue_limit",
    kind="gauge",
    help="How many may wait before new ones are refused, by MAX_PENDING_JOBS.",
)
LONGEST_WAIT = Metric(
    name="asu_queue_oldest_seconds",
    kind="gauge",
    help="How long the first in line has waited; 0 where none waits.",
)
BUILDS_RUNNING = Metric(name="asu_builds_running", kind="gauge", help="Builds that run.")
WORKERS_ALIVE = Metric(name="asu_workers_alive", kind="gauge", help="Workers that live.")
WORKERS_WITHOUT_PODMAN = Metric(
    name="asu_workers_without_podman",
    kind="gauge",
    help="Workers that lately reported that podman does not answer.",
)
REDIS_MEMORY = Metric(
    name="asu_redis_memory_bytes",
    kind="gauge",
    help="Memory that Redis counts against its limit; absent where Redis does not say.",
)
REDIS_MEMORY_MAX = Metric(
    name="asu_redis_memory_max_bytes",
    kind="gauge",
    help="The `maxmemory` of Redis, absent without; above nine tenths new builds are refused.",
)
STORE_BUILDS = Metric(
    name="asu_store_builds",
    kind="gauge",
    help="Builds in the store; absent until a worker has looked.",
)
STORE_BYTES = Metric(
    name="asu_store_bytes",
    kind="gauge",
    help="Bytes of their files; absent until a worker has looked.",
)
BUILDS = Metric(
    name="asu_builds_total",
    kind="counter",
    help="Builds that ended: well (done), or by whose fault they failed.",
    labels={"outcome": OUTCOMES},
)
BUILD_FAILURES = Metric(
    name="asu_build_failures_total",
    kind="counter",
    help="Builds that failed, by the code of the error.",
    labels={"code": error_codes()},
)
BUILD_RETRIES = Metric(
    name="asu_build_retries_total",
    kind="counter",
    help="Attempts after which a build was put back in line, by the code of the error.",
    labels={"code": error_codes()},
)
STEP_SECONDS = Metric(
    name="asu_step_seconds",
    kind="histogram",
    help="How long make's commands took, and unpacking a snapshot's builder.",
    labels={"step": STEPS},
)
BUILD_SECONDS = Metric(
    name="asu_build_seconds",
    kind="histogram",
    help="How long builds took that ended well, from their start by a worker.",
)

METRICS = (
    HTTP_REQUESTS,
    BUILD_REQUESTS,
    PREVIEWS,
    PREVIEW_FALLBACKS,
    UPSTREAM_FETCHES,
    METADATA_AGE,
    DISK_FREE,
    DISK_RESERVE,
    QUEUE_LIMIT,
    REDIS_UP,
    QUEUE_LENGTH,
    LONGEST_WAIT,
    BUILDS_RUNNING,
    WORKERS_ALIVE,
    WORKERS_WITHOUT_PODMAN,
    WORKER_DISK_FREE,
    REDIS_MEMORY,
    REDIS_MEMORY_MAX,
    STORE_BUILDS,
    STORE_BYTES,
    BUILDS,
    BUILD_FAILURES,
    BUILD_RETRIES,
    STEP_SECONDS,
    BUILD_SECONDS,
)
# Of the process that answers, by the client library's own collector; only on systems with /proc.
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
    """What this process has counted, in the event loop's thread alone, so without a lock."""

    def __init__(self) -> None:
        counted = (BUILD_REQUESTS, PREVIEWS, PREVIEW_FALLBACKS, UPSTREAM_FETCHES)
        # A counter that exists from the start shows its first event, too. The routes would be a
        # thousand counters.
        self._counts: dict[Metric, dict[tuple[str, ...], int]] = {
            metric: dict.fromkeys(metric.combinations(), 0) for metric in counted
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
