"""Serves an application as a service does, from a thread of the test's process."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn

from tests.requirements import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp


@contextmanager
def served(application: ASGIApp, **options: Any) -> Iterator[int]:
    """Serve an application with uvicorn's options until the end of the `with`; return the port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(application, port=port, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield port
    finally:
        server.should_exit = True
        thread.join()
