"""Requests as clients send them: one upgrade from the preview to the file, and many at once, of
which none may fail.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.smoke.engine import SmokeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OK, ACCEPTED = 200, 202
BUILD_SECONDS = 120.0  # The stand-in's build takes a few.
PATIENCE = 20.0
REQUEST: dict[str, Any] = {
    "version": "25.12.1",
    "from_version": "23.05.5",
    "target": "lantiq/xrx200",
    "profile": "bt,homehub-v5a",
    "packages": ["luci", "luci-app-opkg"],
}
# Names that the stand-in's feeds have, for requests that differ: equal ones would be answered from
# memory.
EXTRA = (
    "tmux",
    "nano",
    "htop",
    "tcpdump",
    "curl",
    "iperf3",
    "mtr",
    "ethtool",
    "bash",
    "vim",
    "screen",
    "rsync",
    "socat",
)


class Client:
    """A client of one port of this machine; keeps its connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Send one request and return status and body; a status of 0 means that there was no
        answer.
        """
        content = None if body is None else json.dumps(body).encode()
        try:
            self.connection.request(
                method, path, content, {"Content-Type": "application/json"} if content else {}
            )
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            return 0, f"{type(error).__name__}: {error}".encode()

    def ask_for(
        self, method: str, path: str, body: object = None, *, expected: tuple[int, ...] = (OK,)
    ) -> Any:
        """Send one request that must be answered with one of these statuses; return the JSON."""
        status, content = self.ask(method, path, body)
        if status not in expected:
            raise SmokeError(
                f"{method} {path} was answered with {status}:"
                f" {content[:2000].decode(errors='replace')}"
            )
        return json.loads(content)


def request_build(client: Client, **changes: object) -> str:
    """Preview a request and ask for the build that was shown; return its key."""
    prepared = client.ask_for("POST", "/api/v1/build/prepare", {**REQUEST, **changes})
    path = "/api/v1/build?skip_package_resolution=true"
    answer = client.ask_for("POST", path, prepared["prepared_request"], expected=(OK, ACCEPTED))
    if answer["request_hash"] != prepared["request_hash"]:
        raise SmokeError("the build has another identity than its preview")
    return str(prepared["request_hash"])


def await_build(client: Client, key: str) -> dict[str, Any]:
    """Poll until a build is done; return its answer."""
    deadline = time.monotonic() + BUILD_SECONDS
    while time.monotonic() < deadline:
        status, content = client.ask("GET", f"/api/v1/build/{key}")
        if status == OK:
            answer: dict[str, Any] = json.loads(content)
            return answer
        if status != ACCEPTED:
            raise SmokeError(
                f"the build ended with {status}: {content[:3000].decode(errors='replace')}"
            )
        time.sleep(0.3)
    raise SmokeError(
        f"the build took longer than {BUILD_SECONDS:.0f} s; last answer: {content[:1000]!r}"
    )


def download(client: Client, build: dict[str, Any]) -> int:
    """Fetch every image of a build and hold it against its sum; return the bytes."""
    if not build["images"]:
        raise SmokeError("the build has no images")
    total = 0
    for image in build["images"]:
        status, content = client.ask("GET", f"/store/{build['bin_dir']}/{image['name']}")
        if status != OK or hashlib.sha256(content).hexdigest() != image["sha256"]:
            raise SmokeError(
                f"{image['name']} was answered with {status} and is not what was announced"
            )
        total += len(content)
    return total


def preview_of(number: int) -> dict[str, Any]:
    """Return a request that differs from those of other numbers."""
    chosen = [name for place, name in enumerate(EXTRA) if number >> place & 1]
    return {**REQUEST, "packages": [*REQUEST["packages"], *chosen]}


@dataclass(slots=True)
class Load:
    """What became of many requests."""

    sent: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def must_be_flawless(self, what: str) -> str:
        """Return a line for the report; raises SmokeError when one of the requests failed."""
        if self.failures or not self.sent:
            raise SmokeError(
                f"{what}: {len(self.failures)} of {self.sent} requests failed: {self.failures[:5]}"
            )
        return (
            f"{what}: 0 of {self.sent} requests failed ({self.sent / self.seconds:.0f} a second),"
            f" the slowest took {self.slowest:.2f} s"
        )


@contextmanager
def under_load(
    port: int,
    ask: Callable[[Client, int], tuple[int, bytes]],
    *,
    accepted: tuple[int, ...],
    clients: int,
    rate: float = 0,
) -> Iterator[Load]:
    """Have clients ask for as long as the block lasts, `rate` times a second in all, or as fast as
    they can.
    """
    load, over, lock, numbers = Load(), threading.Event(), threading.Lock(), itertools.count(1)

    def keep_asking() -> None:
        client, due = Client(port), time.monotonic()
        while not over.is_set():
            began = time.monotonic()
            status, content = ask(client, next(numbers))
            taken = time.monotonic() - began
            with lock:
                load.sent += 1
                load.slowest = max(load.slowest, taken)
                if status not in accepted:
                    load.failures.append(f"{status} {content[:200].decode(errors='replace')}")
            if rate:
                # What an answer was late is not made up for.
                due = max(due + clients / rate, began)
                over.wait(max(0.0, due - time.monotonic()))
        client.connection.close()

    threads = [threading.Thread(target=keep_asking, daemon=True) for _ in range(clients)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
        load.seconds = time.monotonic() - started


def ask_preview(client: Client, number: int) -> tuple[int, bytes]:
    """Ask asu-prepare through the gateway for a preview."""
    return client.ask("POST", "/api/v1/prepare", preview_of(number))
