"""Sessions as real clients have them, replayed against the whole system: through the gateway, and
to the API without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.replay import replay

if TYPE_CHECKING:
    from tests.system.native import NativeSystem

SESSIONS = sorted((Path(__file__).parent / "sessions").glob("*.json"))


@pytest.mark.parametrize("port", ["GATEWAY_PORT", "ASU_PORT"])
@pytest.mark.parametrize("session", SESSIONS, ids=[path.stem for path in SESSIONS])
def test_a_client_gets_what_it_reads(
    clients_system: NativeSystem, session: Path, port: str
) -> None:
    """Status, headers and fields of every exchange are what this client decides by."""
    assert replay(session, f"http://127.0.0.1:{clients_system.environment[port]}") == []
