"""What is looked at beside the clients: the containers all the time, and everything once more when
the run is over.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from redis import Redis

from asu.worker.fencing import LABEL_FENCE
from misc.native import web
from misc.native.trouble import Trouble
from tests.nemesis.clients import Line
from tests.nemesis.deployment import REDIS_PORT, Deployment
from tests.nemesis.history import Container, Recorder, Sample, Survey

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY = 1.0  # Seconds between two samples; podman lists in 40 ms.
RECORD = "asu:build:"
KEY = re.compile(r"[0-9a-f]{64}")
# The longest until a sweep has removed the last container: 15 s and 5 s, on a busy machine and with
# room to spare.
LEFTOVERS_SECONDS = 45.0
PAUSE = 1.0


class Sampler(threading.Thread):
    """Notes which containers there are, until it is told to stop."""

    def __init__(self, deployment: Deployment, recorder: Recorder, stop: threading.Event) -> None:
        super().__init__(name="sampler", daemon=True)
        self._deployment, self._recorder, self._stop_event = deployment, recorder, stop

    def run(self) -> None:
        """Sample again and again."""
        while not self._stop_event.wait(EVERY):
            with contextlib.suppress(Trouble):  # A sample less.
                self._recorder.write(
                    Sample(at=self._recorder.now(), containers=builds_of(self._deployment))
                )


def builds_of(deployment: Deployment) -> tuple[Container, ...]:
    """Return the containers in which builds run, without those that close their networks for a
    moment at the beginning.
    """
    return tuple(
        _container(entry) for entry in deployment.containers() if LABEL_FENCE not in entry["Labels"]
    )


def containers_of(deployment: Deployment) -> tuple[Container, ...]:
    """Return all containers that the system's builds have."""
    return tuple(_container(entry) for entry in deployment.containers())


def _container(entry: Mapping[str, Any]) -> Container:
    labels = entry["Labels"]
    return Container(
        key=labels["asu.build"], attempt=int(labels["asu.attempt"]), state=str(entry["State"])
    )


def survey(deployment: Deployment, recorder: Recorder) -> Survey:
    """Look at everything, once the last leftovers have been swept or should have been, and let a
    last client fetch every image.
    """
    give_up = time.monotonic() + LEFTOVERS_SECONDS
    while containers_of(deployment) and time.monotonic() < give_up:
        time.sleep(PAUSE)
    records = _records()
    _fetch_all(deployment, recorder, [key for key, state in records.items() if state == "done"])
    metrics = _metrics(deployment)
    return Survey(
        at=recorder.now(),
        records=records,
        store=_store(deployment),
        containers=containers_of(deployment),
        counted={
            labels["outcome"]: value
            for name, labels, value in metrics
            if name == "asu_builds_total"
        },
        failures=sum(value for name, _, value in metrics if name == "asu_build_failures_total"),
        waiting=sum(value for name, _, value in metrics if name == "asu_queue_length"),
        running=sum(value for name, _, value in metrics if name == "asu_builds_running"),
    )


def _records() -> dict[str, str]:
    """Return the state of every record; Redis runs, since all faults are healed."""
    with Redis.from_url(f"redis://127.0.0.1:{REDIS_PORT}/0", decode_responses=True) as redis:
        states = {
            str(name).removeprefix(RECORD): redis.hget(str(name), "state")
            for name in redis.scan_iter(f"{RECORD}*")
        }
    return {key: str(state) for key, state in states.items()}


def _fetch_all(deployment: Deployment, recorder: Recorder, keys: list[str]) -> None:
    line = Line(recorder, deployment.settings.gateway_port, session=0, wish="")
    for key in keys:
        exchange, _ = line.ask("poll", f"/api/v1/build/{key}", key=key)
        line.fetch(key, exchange.promised)


def _store(deployment: Deployment) -> dict[str, dict[str, str]]:
    """Return every build in the store with the hashes of its files."""
    directories = [path for path in deployment.settings.store.iterdir() if KEY.fullmatch(path.name)]
    return {
        path.name: {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in path.iterdir()
        }
        for path in directories
    }


def _metrics(deployment: Deployment) -> list[tuple[str, dict[str, str], int]]:
    """Return name, labels and value of each line of the API's metrics that is a whole number."""
    text = web.ask(f"{deployment.settings.asu_url}/metrics").body.decode()
    lines = re.finditer(r"^(\w+)(?:\{(.*)\})? (\d+)(?:\.0)?$", text, re.MULTILINE)
    return [
        (line[1], dict(re.findall(r'(\w+)="([^"]*)"', line[2] or "")), int(line[3]))
        for line in lines
    ]
