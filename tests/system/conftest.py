"""What the tests of clients share: one system that was started with `make up`, for two releases and
two targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.native import CAN_RUN, NativeSystem, running_system

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def clients_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeSystem]:
    """Run one system that takes first-boot scripts, with 23.05.5 to come from and 24.10.4 to go
    to.
    """
    if not CAN_RUN:
        pytest.skip("needs root, podman, redis-server and debootstrap (make install)")
    wanted = {
        "STANDIN_VERSIONS": "24.10.4",
        "STANDIN_TARGETS": "ath79/generic x86/64",
        "ALLOW_DEFAULTS": "true",
    }
    with running_system(tmp_path_factory.mktemp("clients"), **wanted) as system:
        yield system
