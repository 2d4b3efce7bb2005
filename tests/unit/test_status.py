"""How the server does right now, as people and programs ask for it."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from asu.operations.status import HourCounts, last_hours, newest_by_class
from asu.statistics.build_statistics import HOURS_SHOWN, Failure, FinishedBuild, hour_of
from asu.statistics.figure_shapes import FailureCount
from tests.twins.imitated_statistics import ImitatedStatistics
from tests.twins.memory_fleet import MemoryFleet
from tests.unit.test_api_operations import AbsentRecords, absent_fleet
from tests.unit.worlds import REQUEST, opened

NOW = datetime(2026, 3, 1, 1, 30, tzinfo=UTC)


def failed(
    fault: str, code: str, hour: str = "2026-03-01T12:00:00Z", count: int = 1
) -> FailureCount:
    """Return a failure as the figures tell it."""
    return FailureCount(
        time=hour,
        code=code,
        fault=fault,
        version="24.10.4",
        target="ath79/generic",
        profile="tplink_archer-c7-v5",
        problems=[],
        count=count,
    )


def test_the_status_in_json() -> None:
    """Workers, queue, what ended in this hour, the last failure, the version: one look shows
    whether the server is well.
    """
    statistics, now = ImitatedStatistics(), datetime.now(UTC)
    statistics.add_finished(
        FinishedBuild(at=now, version="24.10.4", seconds=1.0, packages=frozenset())
    )
    statistics.add_failure(
        Failure(
            hour=hour_of(now),
            code="worker-lost",
            fault="infra",
            version="24.10.4",
            target="ath79/generic",
            profile="tplink_archer-c7-v5",
        ),
        {},
    )
    with opened(statistics=statistics) as world:
        world.start(world.key(REQUEST))
        world.post({**REQUEST, "packages": []})
        world.records.let_pass(40)
        body = world.client.get("/status.json").json()

    assert (
        body["workers_alive"],
        body["queue_length"],
        body["queue_oldest_seconds"],
        body["builds_running"],
    ) == (1, 1, 40, 1)
    assert (
        sum(hour["done"] for hour in body["hours"]),
        sum(hour["infra"] for hour in body["hours"]),
    ) == (1, 1)
    assert [(last["fault"], last["code"], last["count"]) for last in body["last_failures"]] == [
        ("infra", "worker-lost", 1)
    ]
    assert {"version", "metadata_age_seconds"} <= body.keys()


def test_the_hours_are_the_last_ones() -> None:
    """The newest first, over midnight, and an hour in which nothing ended is there as zeros."""
    counts = {
        "2026-03-01T01:00:00Z": {"done": 2},
        "2026-02-28T23:00:00Z": {"user": 1, "of-the-future": 4},
        "2026-02-28T01:00:00Z": {"done": 9},
    }

    hours = last_hours(counts, NOW)

    assert len(hours) == HOURS_SHOWN
    assert hours[0] == HourCounts(time="2026-03-01T01:00:00Z", done=2, user=0, upstream=0, infra=0)
    assert hours[2] == HourCounts(time="2026-02-28T23:00:00Z", done=0, user=1, upstream=0, infra=0)
    assert hours[-1].time == hour_of(NOW - timedelta(hours=23))
    assert sum(hour.done for hour in hours) == 2


def test_each_class_has_its_newest_failure() -> None:
    """Of failures that come newest first, in the order of the classes."""
    last = newest_by_class(
        [
            failed("infra", "worker-lost"),
            failed("user", "image-too-big", count=3),
            failed("infra", "store-failed"),
        ]
    )

    assert [(entry.fault, entry.code, entry.count) for entry in last] == [
        ("user", "image-too-big", 3),
        ("infra", "worker-lost", 1),
    ]


def test_the_page_shows_it_without_a_script() -> None:
    """Complete as it is sent, in the policy of the other pages, and with nothing from elsewhere."""
    statistics = ImitatedStatistics()
    statistics.add_finished(
        FinishedBuild(at=datetime.now(UTC), version="24.10.4", seconds=1.0, packages=frozenset())
    )
    with opened(statistics=statistics) as world:
        answer = world.client.get("/status")

    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "The server is ready; nobody waits." in answer.text
    assert answer.headers["refresh"] == "30"
    assert "<script" not in answer.text
    assert not re.search(r'(?:src|href)="(?:https?:)?//', answer.text)


def test_hours_without_a_build_are_one_row() -> None:
    """A quiet night does not push the busy hours off the screen."""
    statistics, now = ImitatedStatistics(), datetime.now(UTC)
    for back in (0, 6, 7):
        statistics.add_finished(
            FinishedBuild(
                at=now - timedelta(hours=back),
                version="24.10.4",
                seconds=1.0,
                packages=frozenset(),
            )
        )
    with opened(statistics=statistics) as world:
        text = world.client.get("/status").text

    first, last = (hour_of(now - timedelta(hours=back)) for back in (1, 5))
    assert text.count('<th scope="row">') == 5
    assert text.count("nothing ended") == 2
    assert f"{last.replace('T', ' ')[:16]} to {first[11:16]}" in text


@pytest.mark.parametrize(
    ("started", "words"),
    [(True, "Images are being built."), (False, "No image is being built right now.")],
)
def test_the_page_says_what_the_server_does(started: bool, words: str) -> None:  # noqa: FBT001
    """A build that waits, for a worker or for its next attempt, is not shown as one that is
    made.
    """
    with opened() as world:
        key = world.key(REQUEST)
        if started:
            world.start(key)

        assert words in world.client.get("/status").text


def test_the_page_says_that_no_worker_is_there() -> None:
    """Whoever waits learns why."""
    with opened(fleet=MemoryFleet()) as world:
        assert "no worker is alive" in world.client.get("/status").text


@pytest.mark.parametrize("path", ["/status", "/status.json"])
def test_without_redis_nobody_knows(path: str) -> None:
    """503, as a page or in JSON; zeros would be lies."""
    with opened(records=AbsentRecords(), fleet=absent_fleet()) as world:
        answer = world.client.get(path)

    assert answer.status_code == 503
    assert "does not answer" in answer.text
