"""Copying out of a container of a podman that stalls: a stand-in on a socket, since the real one
cannot be made to.
"""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest
from podman import PodmanClient

from asu.errors import BuildTimeout, ContainerFailed
from asu.worker.podman_container import PodmanContainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BEGINNING = b"x" * 100_000
TRICKLE = 60  # Pieces, a tenth of a second apart: six times the deadline, and an end in any case.


class Podman(BaseHTTPRequestHandler):
    """A podman that begins to hand out an archive as a real one does, in chunks."""

    protocol_version = "HTTP/1.1"
    goes_on: Callable[[Podman], None]
    thaw: threading.Event

    def do_GET(self) -> None:
        """Answer with an archive."""
        self.send_response(200)
        self.send_header("Content-Type", "application/x-tar")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):  # Who asked has gone.
            self.chunk(BEGINNING)
            type(self).goes_on(self)

    def chunk(self, content: bytes) -> None:
        """Send a piece; an empty one is the end."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def stall(self) -> None:
        """Say nothing more."""
        self.thaw.wait()

    def trickle(self) -> None:
        """Send a byte now and then, so that no pause is long."""
        for _ in range(TRICKLE):
            self.chunk(b"x")
            if self.thaw.wait(0.1):
                return
        self.chunk(b"")

    def end(self) -> None:
        """Be done."""
        self.chunk(b"")

    def break_off(self) -> None:
        """Go away in the middle."""
        self.close_connection = True

    def address_string(self) -> str:
        """Return who asks, which on such a socket is nobody."""
        return "nobody"

    # The signature is http.server's.
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextlib.contextmanager
def container_of(directory: Path, goes_on: Callable[[Podman], None]) -> Iterator[PodmanContainer]:
    """Run a podman that goes on so, and return a container of its."""
    thaw = threading.Event()
    handler = type("Stalling", (Podman,), {"goes_on": goes_on, "thaw": thaw})
    with socketserver.ThreadingUnixStreamServer(str(directory / "podman"), handler) as server:
        server.daemon_threads = True
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        address = f"unix://{directory / 'podman'}"
        with PodmanClient(base_url=address, timeout=20) as client:
            yield PodmanContainer(
                client, client.containers.prepare_model(attrs={"Id": "abc"}), socket=address
            )
        thaw.set()
        server.shutdown()


@pytest.mark.parametrize("goes_on", [Podman.stall, Podman.trickle])
def test_an_archive_that_does_not_end_is_given_up(
    tmp_path: Path, goes_on: Callable[[Podman], None]
) -> None:
    """After the deadline, and as a failure of ours, whether it stands still or never quite does."""
    with (
        container_of(tmp_path, goes_on) as container,
        pytest.raises(BuildTimeout, match="`copying the images` took longer than 1 s") as caught,
    ):
        b"".join(container.read_out("/builder/out", deadline=1))

    assert caught.value.fault == "infra"


def test_whoever_reads_too_slowly_is_told(tmp_path: Path) -> None:
    """The time of a disk that hardly takes the files counts as well."""

    def slowly(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            time.sleep(1.5)
            yield piece

    with container_of(tmp_path, Podman.end) as container, pytest.raises(BuildTimeout):
        b"".join(slowly(container.read_out("/builder/out", deadline=1)))


def test_an_archive_that_comes_in_time_is_read_whole(tmp_path: Path) -> None:
    """And the deadline does not outlive it."""
    with container_of(tmp_path, Podman.end) as container:
        assert [b"".join(container.read_out("/builder/out", deadline=60)) for _ in range(2)] == [
            BEGINNING,
            BEGINNING,
        ]


def test_an_archive_that_breaks_off_is_no_matter_of_time(tmp_path: Path) -> None:
    """A podman that goes away is told as such."""
    with container_of(tmp_path, Podman.break_off) as container, pytest.raises(ContainerFailed):
        b"".join(container.read_out("/builder/out", deadline=60))
