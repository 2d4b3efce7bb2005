"""What tests need from the machine: a missing program skips its tests on a laptop and fails them in CI."""

import os
import shutil
import socket

import pytest


def required_program(name: str) -> str:
    """Return the path of a program; without it the test is skipped, or fails where `CI` is set."""
    path = shutil.which(name)
    if path is not None:
        return path
    if os.environ.get("CI"):
        pytest.fail(f"{name} is not installed, and CI must run every test (make install)")
    pytest.skip(f"{name} is not installed (make install)")


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
