"""What tests need from the machine: programs, ports, and locks between the test processes."""

import fcntl
import os
import random
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

# Below the ports that the kernel gives to outgoing connections (32768 and above on Linux).
# One of those could take a port between the look and the use.
FREE_PORTS = range(20000, 32768)


def required_program(name: str) -> str:
    """Return the path of a program; without it the test is skipped, or fails where `CI` is set."""
    path = shutil.which(name)
    if path is not None:
        return path
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and CI must run every test (make install)")
    pytest.skip(f"{name} is not installed (make install)")


def free_port() -> int:
    """Return a port that nobody listens on; other test processes look for one at the same time."""
    while True:
        port = random.choice(FREE_PORTS)  # noqa: S311  # It keeps processes apart, no secret.
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Wait until no other process holds this lock file, then hold it."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
