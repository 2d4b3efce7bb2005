"""A result of a gibibyte is copied out of a real container without taking a worker's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asu.worker.copying import copy_out
from misc.bench.copy import GROWTH, MIB, peak, start_watching
from tests.integration.podman_world import BASE, OPKG, PodmanWorld, builder_image, started

if TYPE_CHECKING:
    from pathlib import Path

# podman-py forgets to close a socket that it could not connect.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*UDSSocket:pytest.PytestUnraisableExceptionWarning",
    "ignore:.*UDSSocket:ResourceWarning",
)

SIZE = 1024  # MiB.


def test_a_large_result_takes_little_memory(podman: PodmanWorld, tmp_path: Path) -> None:
    """Whatever podman, its library, tar and hashing hold of it on the way."""
    with started(podman.engine(), builder_image(f"{BASE}:x86-64-v{OPKG}")) as container:
        made = container.run(
            ["sh", "-c", f"mkdir out && truncate -s {SIZE}M out/image.bin"], deadline=60
        )
        assert made.exit_code == 0, made.stderr
        before = start_watching()
        hashes = copy_out(
            container.read_out("/builder/out", deadline=300), tmp_path, max_bytes=2 * SIZE * MIB
        )
        growth = peak() - before

    image = tmp_path / "image.bin"
    assert (list(hashes), image.stat().st_size) == (["image.bin"], SIZE * MIB)
    image.unlink()  # Nobody needs it until pytest forgets its directories.
    assert growth <= GROWTH
