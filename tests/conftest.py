"""Fixtures for all rings."""

import pytest
from hypothesis import settings

# A busy machine can take long for one example, and that is no failure.
settings.register_profile("without-deadline", deadline=None)
settings.load_profile("without-deadline")


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the services do."""
    return "asyncio"
