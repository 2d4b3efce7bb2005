"""What the page of the server's status says."""

from collections.abc import Iterable, Sequence

from asu.operations.status import HourCounts, LastFailure, ServerStatus

from .charts import bar
from .markup import Html, element, fill
from .stats_page import cards, duration, head, number, queue_cards, table

CLASSES = {"user": "Their selection", "upstream": "OpenWrt's servers", "infra": "This server"}


def status_content(status: ServerStatus) -> Html:
    """Return the content of the page."""
    return fill(
        "status.html",
        state=_state(status),
        figures=cards(_figures(status)),
        hours=_hours(status.hours),
        failures=_failures(status.last_failures),
    )


def _state(status: ServerStatus) -> str:
    if not status.workers_alive:
        return "Requests are taken, but no worker is alive: builds wait until one starts."
    return (
        "Builds are made."
        if status.builds_running or status.queue_length
        else "The server waits for requests."
    )


def _figures(status: ServerStatus) -> Iterable[tuple[str, str, str]]:
    yield from queue_cards(status.queue_length, status.builds_running, status.workers_alive)
    yield (
        "The first in line waits",
        duration(status.queue_oldest_seconds) if status.queue_length else "nobody waits",
        "",
    )
    yield (
        "Age of the metadata",
        duration(status.metadata_age_seconds),
        "of OpenWrt's releases and packages",
    )


def _hours(hours: Sequence[HourCounts]) -> Html:
    most = max(hour.done for hour in hours) or 1
    rows = [
        [
            head(hour.time.replace("T", " ")[:16]),
            number(hour.done),
            *(number(count) for count in (hour.user, hour.upstream, hour.infra)),
            element("td", bar(hour.done, most), class_="bar"),
        ]
        for hour in hours
    ]
    return table(
        "Builds by the hour",
        ["Hour", "#Finished", *(f"#Failed: {name.lower()}" for name in CLASSES.values()), ""],
        rows,
    )


def _failures(failures: Sequence[LastFailure]) -> Html:
    if not failures:
        return element("p", "None failed.")
    rows = (
        [
            head(CLASSES[failure.fault]),
            element("td", failure.time.replace("T", " ")[:16], class_="time"),
            element("td", element("code", failure.code)),
            number(failure.count),
        ]
        for failure in failures
    )
    return table("Last failures", ["Because of", "Hour", "Reason", "#Count"], rows)
