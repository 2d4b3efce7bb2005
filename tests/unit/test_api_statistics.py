"""The statistics as people and programs ask for them, through the whole application."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from asu.statistics.build_statistics import Failure, FinishedBuild, Problem, hour_of, today, week_of
from tests.twins.imitated_statistics import ImitatedStatistics
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.test_api_operations import AbsentRecords, absent_fleet
from tests.unit.test_figures import WatchedStatistics
from tests.unit.worlds import REQUEST, World, indexed, opened

PATHS = [
    "/stats",
    "/stats/summary",
    "/builds-per-day",
    "/builds-by-version",
    "/top-packages",
    "/build-errors",
]


@pytest.fixture(scope="module")
def busy() -> Iterator[World]:
    """Return an API that has built and failed today; no test changes it."""
    statistics, now = ImitatedStatistics(), datetime.now(UTC)
    for version, packages in (
        ("24.10.4", {"vim", "luci"}),
        ("24.10.4", {"vim"}),
        ("25.12.0-rc1", {"nano"}),
    ):
        statistics.add_finished(
            FinishedBuild(at=now, version=version, seconds=60.0, packages=frozenset(packages))
        )
    failure = Failure(
        hour=hour_of(now),
        code="impossible-selection",
        fault="user",
        version="24.10.4",
        target="x86/64",
        profile="generic",
        problems=(
            Problem(kind="missing", package="of-somebody-alone"),
            Problem(kind="conflict", package="luci"),
        ),
    )
    for _ in range(2):
        statistics.add_failure(failure, {})
    statistics.add_forecast("agrees")
    asyncio.run(statistics.add_requests(today(), requests=8, cache_hits=2))
    upstream = MemoryUpstream(indexed("vim", "luci", "nano"))
    with opened(statistics=statistics, upstream=upstream) as world:
        yield world


def ask(world: World, path: str) -> Any:
    """Return what an endpoint answers."""
    answer = world.client.get(f"/api/v1{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_summary(busy: World) -> None:
    """Totals, ratio, durations and the queue, under names of their own."""
    assert ask(busy, "/stats/summary") == {
        "since": str(today()),
        "days_kept": 200,
        "requests": 8,
        "cache_hits": 2,
        "cache_hit_ratio": 0.25,
        "builds": 3,
        "builds_24h": 3,
        "forecasts": {
            "agrees": 1,
            "differs": 0,
            "false_problem": 0,
            "missed_problem": 0,
            "unknown": 0,
        },
        "failures": {"user": 2, "upstream": 0, "infra": 0},
        "build_seconds": {"median": pytest.approx(60.0, rel=0.05), "mean": 60.0},
        "queue_length": 0,
        "builds_running": 0,
        "workers_alive": 1,
    }


def test_builds_per_day(busy: World) -> None:
    """The shape of the reference server, today last."""
    body = ask(busy, "/builds-per-day")

    assert (set(body), body["labels"][-1], len(body["labels"])) == (
        {"labels", "datasets"},
        f"{today()}Z",
        30,
    )
    assert [
        (series["label"], series["color"], series["data"][-1]) for series in body["datasets"]
    ] == [
        ("Requests", "green", 8),
        ("Cache-Hits", "orange", 2),
        ("Failures", "red", 2),
        ("Builds", "blue", 3),
    ]


def test_builds_by_version(busy: World) -> None:
    """One dataset per branch, or per version of one."""
    body = ask(busy, "/builds-by-version")

    assert (body["labels"][-1], len(body["labels"])) == (f"{week_of(today())}Z", 26)
    assert body["datasets"] == [
        {"label": "24.10", "data": [*[0] * 25, 2]},
        {"label": "25.12", "data": [*[0] * 25, 1]},
    ]
    assert [
        series["label"] for series in ask(busy, "/builds-by-version?branch=25.12")["datasets"]
    ] == ["25.12.0-rc1"]
    assert ask(busy, "/builds-by-version?branch=19.07")["datasets"] == []
    assert ask(busy, "/builds-by-version?branch=SNAPSHOT")["datasets"] == []


@pytest.mark.parametrize(
    "query",
    [
        "branch=24.10.4",
        "branch=",
        "branch=24",
        "branch=24.10-SNAPSHOT",
        "branch=main",
        f"branch={'2' * 99}",
        "branch=24.10%0a",
    ],
)
def test_what_is_no_branch_is_refused(busy: World, query: str) -> None:
    """With words, and a detail that is a string."""
    answer = busy.client.get(f"/api/v1/builds-by-version?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert answer.json()["detail"] == "`branch` must be a branch such as 24.10 or SNAPSHOT."


def test_top_packages(busy: World) -> None:
    """The most frequent first, as many as are wanted."""
    assert ask(busy, "/top-packages")["packages"][0] == {"name": "vim", "count": 2}
    assert ask(busy, "/top-packages?limit=2") == {
        "packages": [{"name": "vim", "count": 2}, {"name": "luci", "count": 1}]
    }
    assert ask(busy, "/top-packages?branch=25.12&n=1") == {
        "packages": [{"name": "nano", "count": 1}]
    }
    assert ask(busy, "/top-packages?branch=23.05") == {"packages": []}


@pytest.mark.parametrize("limit", ["0", "-1", "101", "many", ""])
def test_the_limit_is_bounded(busy: World, limit: str) -> None:
    """Nobody gets all there is at once."""
    for query in (
        f"top-packages?limit={limit}",
        f"top-packages?n={limit}",
        f"build-errors?n={limit}",
    ):
        assert busy.client.get(f"/api/v1/{query}").status_code == 422


def test_build_errors(busy: World) -> None:
    """Equal failures of an hour are one entry with its count."""
    [entry] = ask(busy, "/build-errors")["errors"]

    assert entry.pop("time").endswith(":00:00Z")
    assert entry == {
        "code": "impossible-selection",
        "fault": "user",
        "version": "24.10.4",
        "target": "x86/64",
        "profile": "generic",
        "problems": [{"kind": "conflict", "package": "luci"}],
        "count": 2,
    }


@pytest.mark.parametrize("path", PATHS)
def test_head_is_answered_and_timestamps_are_ignored(busy: World, path: str) -> None:
    """Clients add the time to every address."""
    head, get = (
        busy.client.request(method, f"/api/v1{path}?1795421294847") for method in ("HEAD", "GET")
    )

    assert (head.status_code, get.status_code, head.content) == (200, 200, b"")
    assert get.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", PATHS)
def test_without_redis_there_are_no_figures(path: str) -> None:
    """503 in JSON, never a 500 and never zeros that look like truth."""
    statistics = WatchedStatistics()
    statistics.is_away = True
    with opened(statistics=statistics, records=AbsentRecords(), fleet=absent_fleet()) as world:
        answer = world.client.get(f"/api/v1{path}")

    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (
        503,
        503,
        "queue-unavailable",
    )


def test_requests_are_counted() -> None:
    """Each answered request counts, those whose image is there as hits too; polls, previews and
    refused requests do not.
    """
    with opened() as world:
        key = world.key(REQUEST)
        world.post(REQUEST)
        world.finish(key)
        assert world.post(REQUEST).status_code == 200
        world.client.get(f"/api/v1/build/{key}")
        world.client.post("/api/v1/build/prepare", json=REQUEST)
        world.post({**REQUEST, "version": "1.2.3"})
        give_up = time.monotonic() + 60
        while (
            not asyncio.run(world.statistics.days([today()]))[0].requests
            and time.monotonic() < give_up
        ):
            time.sleep(0.02)

        assert (
            ask(world, "/stats/summary")["requests"],
            ask(world, "/stats/summary")["cache_hits"],
        ) == (3, 1)
