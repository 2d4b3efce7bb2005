"""What the API tells the operator's monitoring, through the whole application."""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from asu.builds.fleet import WorkerNote
from asu.errors import WorkerLost
from asu.operations.metrics import HTTP_REQUESTS, METRICS, PROCESS_METRICS, Metric, error_codes
from asu.records.redis_memory import MemoryUse
from asu.statistics.build_statistics import Failure, FinishedBuild, hour_of
from asu.statistics.build_totals import BOUNDS
from asu.stores.store import StoreUsage
from misc.reference import app_routes
from tests.twins.imitated_statistics import ImitatedStatistics
from tests.twins.memory_fleet import MemoryFleet
from tests.twins.memory_upstream import MemoryUpstream
from tests.unit.test_api_operations import AbsentRecords, absent_fleet
from tests.unit.worlds import REQUEST, BrokenUpstream, World, opened

SAMPLE = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
FAILURE = Failure(
    hour="2026-03-01T12:00:00Z",
    code="worker-lost",
    fault="infra",
    version="24.10.4",
    target="x86/64",
    profile="generic",
)
LABEL = re.compile(r'([a-z]+)="([^"]*)"')


def samples(world: World) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Scrape, and return values by name and labels."""
    answer = world.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = [
        SAMPLE.fullmatch(line) for line in answer.text.splitlines() if not line.startswith("#")
    ]
    return {
        (match["name"], frozenset(LABEL.findall(match["labels"] or ""))): float(match["value"])
        for match in found
        if match
    }


def value(world: World, name: str, **labels: str) -> float | None:
    """Scrape, and return one value; None where it is absent."""
    return samples(world).get((name, frozenset(labels.items())))


def statistics() -> ImitatedStatistics:
    """Return what workers have counted: two builds, and a failure."""
    counted, now = ImitatedStatistics(), datetime.now(UTC)
    for seconds in (12.0, 70.0):
        counted.add_finished(
            FinishedBuild(
                at=now,
                version="24.10.4",
                seconds=seconds,
                packages=frozenset(),
                steps={"image": seconds - 5},
            )
        )
    counted.add_failure(replace(FAILURE, hour=hour_of(now)), {})
    return counted


def test_nothing_is_told_that_is_not_declared() -> None:
    """No name, label or value of a label beside those that are declared; and all that is declared
    is told.
    """
    with opened(statistics=statistics()) as world:
        world.fleet.workers["a"] = WorkerNote(trouble="", disk_free=1)
        world.fleet.note_store(StoreUsage(builds=1, bytes=1))
        world.records.memory_use = MemoryUse(used=1, limit=2**40)
        world.post(REQUEST)
        world.client.get("/nowhere")
        world.client.request("BREW", "/")
        told = samples(world)
        routes = {route.path for route in app_routes(world.app)} | {"other"}
    declared = {
        name: metric for metric in (*METRICS, *PROCESS_METRICS) for name in names_of(metric)
    }

    assert {name for name, _ in told} <= set(declared)
    # Its directory is not there.
    assert {metric.name for metric in METRICS} - {declared[name].name for name, _ in told} == {
        "asu_disk_free_bytes"
    }
    for name, labels in told:
        allowed = {
            **declared[name].labels,
            **({"route": tuple(routes)} if declared[name] is HTTP_REQUESTS else {}),
        }
        assert {label for label, _ in labels} - {"le"} == set(allowed)
        assert all(text in allowed[label] for label, text in labels if label != "le")


def names_of(metric: Metric) -> list[str]:
    """Return the names of a metric's series."""
    return (
        [f"{metric.name}_{part}" for part in ("bucket", "sum", "count")]
        if metric.kind == "histogram"
        else [metric.name]
    )


def test_help_and_type_are_those_of_the_declaration() -> None:
    """People read them in their monitoring."""
    with opened() as world:
        text = world.client.get("/metrics").text

    told = [
        metric
        for metric in METRICS
        if f"# TYPE {metric.name} {metric.kind}\n" in text
        and f"# HELP {metric.name} {metric.help}\n" in text
    ]
    # Of the disk, of the store's two and of the workers' disk nothing is known here; Redis has no
    # limit.
    assert len(told) == len(METRICS) - 5


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (MemoryUse(used=7, limit=9), (7, 9)),
        (MemoryUse(used=7, limit=0), (7, None)),
        (None, (None, None)),
    ],
)
def test_the_memory_of_redis_is_told(
    use: MemoryUse | None, told: tuple[float | None, float | None]
) -> None:
    """And of how much; what Redis does not tell is absent."""
    with opened() as world:
        world.records.memory_use = use

        assert (
            value(world, "asu_redis_memory_bytes"),
            value(world, "asu_redis_memory_max_bytes"),
        ) == told
        assert value(world, "asu_redis_up") == 1


def test_requests_are_counted_by_route_method_and_class() -> None:
    """By the template, never by what the client wrote."""
    with opened() as world:
        for number in range(3):
            world.client.get(f"/api/v1/build/{number:064}")
        world.client.get("/no/such/path")
        world.client.put("/api/v1/build")

        assert (
            value(
                world,
                "asu_http_requests_total",
                route="/api/v1/build/{request_hash}",
                method="GET",
                status="4xx",
            )
            == 3
        )
        assert (
            value(world, "asu_http_requests_total", route="other", method="GET", status="4xx") == 1
        )
        assert (
            value(
                world,
                "asu_http_requests_total",
                route="/api/v1/build",
                method="other",
                status="4xx",
            )
            == 1
        )


def test_requests_that_fail_by_our_mistake_are_counted() -> None:
    """Those an operator wants to know of most."""
    with opened(upstream=BrokenUpstream()) as world:
        world.client.post("/api/v1/build/prepare", json=REQUEST)

        assert (
            value(
                world,
                "asu_http_requests_total",
                route="/api/v1/build/prepare",
                method="POST",
                status="5xx",
            )
            == 1
        )


def test_hits_and_misses_of_the_cache() -> None:
    """An image that was there already is a hit, all else a miss."""
    with opened() as world:
        world.finish(world.key(REQUEST))
        world.post(REQUEST)
        world.post({**REQUEST, "packages": []})

        assert (
            value(world, "asu_build_requests_total", cache="hit"),
            value(world, "asu_build_requests_total", cache="miss"),
        ) == (1, 2)


@pytest.mark.parametrize(
    ("packages", "profile", "outcome"),
    [(["luci"], "tplink_archer-c7-v5", "ok"), (["luci"], "no-such-device", "refused")],
)
def test_previews_by_outcome(packages: list[str], profile: str, outcome: str) -> None:
    """What came of each."""
    with opened() as world:
        world.client.post(
            "/api/v1/build/prepare", json={**REQUEST, "packages": packages, "profile": profile}
        )

        assert value(world, "asu_previews_total", outcome=outcome) == 1


def test_previews_that_cannot_be_had() -> None:
    """A downloads server that is away is not a request that is refused."""
    with opened(upstream=MemoryUpstream({}, down=True)) as world:
        world.client.post("/api/v1/build/prepare", json=REQUEST)

        assert value(world, "asu_previews_total", outcome="unavailable") == 1


def test_builds_of_all_workers() -> None:
    """Outcomes, codes and durations come from the statistics that all workers share."""
    with opened(statistics=statistics()) as world:
        assert (
            value(world, "asu_builds_total", outcome="done"),
            value(world, "asu_builds_total", outcome="infra"),
        ) == (2, 1)
        assert value(world, "asu_build_failures_total", code=WorkerLost.code) == 1
        buckets = [value(world, "asu_build_seconds_bucket", le=str(bound)) for bound in BOUNDS]
        assert buckets == [0 if bound < 12 else 1 if bound < 70 else 2 for bound in BOUNDS]
        assert (value(world, "asu_build_seconds_count"), value(world, "asu_build_seconds_sum")) == (
            2,
            82,
        )
        assert value(world, "asu_step_seconds_sum", step="image") == 72


def test_retries_of_all_workers() -> None:
    """By the code with which the attempt before ended; none of those that ended for good."""
    with opened() as world:
        assert value(world, "asu_build_retries_total", code="download-failed") == 0
        attempt, _ = world.start(world.key(REQUEST))
        assert world.records.retry(attempt, "download-failed", 5)

    with opened(records=world.records) as later:
        assert value(later, "asu_build_retries_total", code="download-failed") == 1
        assert value(later, "asu_build_failures_total", code="download-failed") == 0


def test_the_queue_at_this_moment() -> None:
    """Who waits and for how long, who runs, who works."""
    with opened() as world:
        world.start(world.key(REQUEST))
        world.post({**REQUEST, "packages": []})
        world.records.let_pass(90)
        world.fleet.workers = MemoryFleet(workers=3).workers
        told = {name: value for (name, _), value in samples(world).items()}

    assert (
        told["asu_queue_length"],
        told["asu_builds_running"],
        told["asu_workers_alive"],
        told["asu_queue_oldest_seconds"],
    ) == (1, 1, 3, 90)


def test_what_workers_have_noted() -> None:
    """Of podman, of the fullest disk, of the store."""
    with opened(disk_reserve_mb=2) as world:
        world.fleet.workers["a"] = WorkerNote(trouble="podman does not answer", disk_free=700)
        world.fleet.workers["b"] = WorkerNote(trouble="", disk_free=900)
        world.fleet.note_store(StoreUsage(builds=7, bytes=4096))
        told = {name: value for (name, _), value in samples(world).items()}

    assert (
        told["asu_workers_without_podman"],
        told["asu_worker_disk_free_bytes"],
        told["asu_disk_reserve_bytes"],
    ) == (1, 700, 2 * 1024 * 1024)
    assert (told["asu_store_builds"], told["asu_store_bytes"]) == (7, 4096)


def test_without_redis_a_scrape_tells_what_it_can() -> None:
    """An answer with what is known beats none, and zeros would be lies."""
    with opened(records=AbsentRecords(), fleet=absent_fleet()) as world:
        told = {name for name, _ in samples(world)}

        assert value(world, "asu_redis_up") == 0
        assert {"asu_previews_total", "asu_metadata_age_seconds"} <= told
        assert told.isdisjoint(
            {"asu_queue_length", "asu_workers_alive", "asu_builds_total", "asu_build_seconds_count"}
        )


def test_codes_are_those_of_the_errors() -> None:
    """A new error has its own series without anybody thinking of it."""
    assert {"worker-lost", "impossible-selection", "overloaded"} <= set(error_codes())
    assert "error" not in error_codes()


def test_a_newer_worker_adds_no_label() -> None:
    """What another release counts is passed over until this one declares it."""
    counted = ImitatedStatistics()
    counted.add_failure(replace(FAILURE, code="of-the-future", fault="cosmic"), {"paint": 1.0})
    assert asyncio.run(counted.totals()).codes == {"of-the-future": 1}

    with opened(statistics=counted) as world:
        assert not any(
            text in ("of-the-future", "cosmic", "paint")
            for _, labels in samples(world)
            for _, text in labels
        )
