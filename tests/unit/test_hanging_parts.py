"""While a part hangs, builds are asked for and polled, and no thread is lost.

Each part that blocks hangs in all that it does, while many clients ask for what needs it. asyncio
has a single shared thread here, so one that is taken shows.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from asu.services import open_services
from tests.twins.memory_fleet import MemoryBuildQueue
from tests.twins.memory_store import MemoryStore
from tests.unit.worlds import REQUEST, World, opened, settings

CLIENTS = 8  # For each request; all together more than threads are left for one part.
SECONDS = 30  # A test waits for no longer, and takes a tenth of it.


class Gate:
    """Open until a test closes it; what goes through meanwhile waits until it is opened again."""

    def __init__(self) -> None:
        self.is_open, self.was_closed = threading.Event(), threading.Event()
        self.is_open.set()

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that waits at the gate first."""

        def wait_first(*arguments: Any, **named: Any) -> Any:
            if not self.is_open.is_set():
                self.was_closed.set()
                self.is_open.wait()
            return function(*arguments, **named)

        return wait_first

    def all_of(self, kind: type) -> Any:
        """Return a kind of part all of whose methods wait at the gate."""
        methods = {
            name: self.before(getattr(kind, name))
            for name in dir(kind)
            if not name.startswith("_") and callable(getattr(kind, name))
        }
        return type(kind.__name__, (kind,), methods)


@contextmanager
def hanging(part: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[World, Gate]]:
    """Run an API with a part that hangs while the gate is closed."""
    gate = Gate()
    store = gate.all_of(MemoryStore) if part == "store" else MemoryStore
    queue = gate.all_of(MemoryBuildQueue) if part == "queue" else MemoryBuildQueue
    if part == "disk":
        monkeypatch.setattr(os, "statvfs", gate.before(os.statvfs))
    with opened(store=store(), queue=queue()) as world:
        assert world.client.portal is not None
        world.client.portal.call(have_one_shared_thread)
        try:
            yield world, gate
        finally:
            gate.is_open.set()


async def have_one_shared_thread() -> None:
    """Give asyncio a single thread for everyone."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))


async def use_shared_thread() -> int:
    """Do something in asyncio's shared thread."""
    return await asyncio.to_thread(int)


def requests(world: World, finished: str) -> list[Callable[[], object]]:
    """Return requests that need the store, the disk or the queue."""
    client = world.client
    return [
        lambda: client.get(f"/api/v1/build/{finished}"),
        lambda: client.get(f"/store/{finished}/firmware.bin"),
        lambda: client.head(f"/store/{finished}/firmware.bin"),
        lambda: client.get(f"/store/{finished}/"),
        lambda: client.get("/readyz?verbose"),
        lambda: client.get("/metrics"),
        lambda: client.post("/api/v1/build", json=REQUEST),
        lambda: client.post("/api/v1/build", json={**REQUEST, "packages": ["tmux"]}),
        lambda: client.post("/api/v1/build/prepare", json=REQUEST),
    ]


@pytest.mark.parametrize("part", ["store", "disk", "queue"])
def test_what_hangs_holds_up_nothing_else(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """New builds are taken, polls are answered, and asyncio's shared thread is free."""
    with hanging(part, monkeypatch) as (world, gate), ThreadPoolExecutor(200) as clients:
        finished = world.key(REQUEST)
        world.finish(finished)
        waiting = world.key({**REQUEST, "packages": ["vim"]})
        gate.is_open.clear()
        try:
            for request in requests(world, finished) * CLIENTS:
                clients.submit(request)
            assert gate.was_closed.wait(SECONDS), "nothing asks the part"
            new = {**REQUEST, "packages": ["nano"]}
            answers = [
                clients.submit(world.post, new),
                clients.submit(world.client.get, f"/api/v1/build/{waiting}"),
                clients.submit(world.client.get, "/readyz"),
            ]
            assert [one.result(SECONDS).status_code for one in answers] == [202, 202, 200]
            assert world.client.portal is not None
            shared = world.client.portal.start_task_soon(use_shared_thread)
            assert shared.result(SECONDS) == 0
        finally:
            gate.is_open.set()


@pytest.mark.anyio
async def test_a_name_server_that_hangs_leaves_threads_for_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As many connections as the API makes look their names up; Redis must still be found."""
    gate = Gate()
    gate.is_open.clear()
    monkeypatch.setattr(socket, "getaddrinfo", gate.before(socket.getaddrinfo))
    async with open_services(settings(store_path=tmp_path)):
        loop = asyncio.get_running_loop()
        lookups = [asyncio.ensure_future(loop.getaddrinfo("127.0.0.1", 80)) for _ in range(64)]
        await asyncio.sleep(0)  # They begin.
        try:
            async with asyncio.timeout(SECONDS):
                assert await use_shared_thread() == 0
        finally:
            gate.is_open.set()
            await asyncio.gather(*lookups)
