"""The unit ring works without network and without the machine's environment."""

import socket
from typing import NoReturn

import pytest

from asu.settings import Settings


def _no_network(*_: object) -> NoReturn:
    pytest.fail(
        "A unit test opened a network connection; it belongs to the contract or the integration"
        " ring."
    )


@pytest.fixture(autouse=True)
def _without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that connects to anything or listens for anything."""
    for name in ("connect", "connect_ex", "bind", "listen"):
        monkeypatch.setattr(socket.socket, name, _no_network)


@pytest.fixture(autouse=True)
def _without_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide settings that the machine may have in its environment."""
    for name in ("asu_config", *Settings.model_fields):
        monkeypatch.delenv(name.upper(), raising=False)
