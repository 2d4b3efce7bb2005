"""A client of the service, without a network, and a request to begin with."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from asu_prepare.config import Settings
from asu_prepare.main import create_app


@pytest.fixture
def client() -> TestClient:
    """Return a client of a service with default settings."""
    return TestClient(create_app(Settings()), raise_server_exceptions=False)


@pytest.fixture
def home_hub() -> dict[str, Any]:
    """Return the request of a BT Home Hub 5A that goes from 24.10 to 25.12."""
    return {
        "from_version": "24.10.4",
        "version": "25.12.0",
        "target": "lantiq/xrx200",
        "profile": "bt_homehub-v5a",
        "packages": ["luci", "opkg", "-ppp"],
        "diff_packages": True,
    }
