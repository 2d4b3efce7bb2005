"""What the OpenAPI file says of the statistics' answers."""

from typing import Any

from asu.errors import AsuError, InvalidRequest, QueueUnavailable

from .documented import Responses, failures

_QUEUE = {"queue_length": 3, "builds_running": 2, "workers_alive": 2}


def _answers(example: Any, *errors: type[AsuError]) -> Responses:
    """Return the description of an answer whose schema is that of the route's own return type."""
    return {
        200: {"content": {"application/json": {"example": example}}},
        **failures(QueueUnavailable, *errors),
    }


QUEUE = _answers(_QUEUE)
SUMMARY = _answers(
    {
        "since": "2026-02-01",
        "days_kept": 200,
        "requests": 1200,
        "cache_hits": 300,
        "cache_hit_ratio": 0.25,
        "builds": 850,
        "failures": {"user": 40, "upstream": 6, "infra": 4},
        "build_seconds": {"median": 41.2, "mean": 47.9},
        **_QUEUE,
    }
)
PER_DAY = _answers(
    {
        "labels": ["2026-02-28Z", "2026-03-01Z"],
        "datasets": [
            {"label": "Requests", "data": [60, 48], "color": "green"},
            {"label": "Cache-Hits", "data": [20, 12], "color": "orange"},
            {"label": "Failures", "data": [2, 3], "color": "red"},
            {"label": "Builds", "data": [38, 33], "color": "blue"},
        ],
    }
)
BY_VERSION = _answers(
    {
        "labels": ["2026-02-16Z", "2026-02-23Z"],
        "datasets": [{"label": "24.10", "data": [120, 131]}, {"label": "25.12", "data": [40, 66]}],
    },
    InvalidRequest,
)
TOP_PACKAGES = _answers(
    {"packages": [{"name": "luci", "count": 700}, {"name": "owut", "count": 310}]}, InvalidRequest
)
STATUS = _answers(
    {
        "version": "1.0.0",
        "workers_alive": 2,
        "queue_length": 3,
        "queue_oldest_seconds": 41.0,
        "builds_running": 2,
        "metadata_age_seconds": 12.0,
        "hours": [
            {"time": "2026-03-01T12:00:00Z", "done": 31, "user": 2, "upstream": 0, "infra": 0}
        ],
        "last_failures": [
            {
                "fault": "user",
                "time": "2026-03-01T12:00:00Z",
                "code": "impossible-selection",
                "count": 2,
            }
        ],
    }
)
BUILD_ERRORS = _answers(
    {
        "errors": [
            {
                "time": "2026-03-01T12:00:00Z",
                "count": 3,
                "code": "impossible-selection",
                "fault": "user",
                "version": "24.10.4",
                "target": "ath79/generic",
                "profile": "tplink_archer-c7-v5",
                "problems": [{"kind": "missing", "package": "no-such-package"}],
            }
        ]
    }
)
