"""What a build runs in, and what makes it: one container per build, thrown away afterwards."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from asu.disk_space import FreeSpace

from .builder_image import BuilderImage

# Bytes kept from either end of an output; a whole x86 build prints about 75 KiB.
LOG_HALF = 64 * 1024
LOG_MOST = 2 * LOG_HALF  # Bytes of an output of which nothing was dropped.
GIVEN_UP = 1


class BoundedLog:
    """Keeps both ends of an output; a line in the middle says how many bytes were dropped."""

    def __init__(self, half: int = LOG_HALF) -> None:
        self._half, self._head, self._tail, self._size = half, bytearray(), bytearray(), 0

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        self._size += len(piece)
        left = self._half - len(self._head)
        self._head += piece[:left]
        self._tail += piece[left:] if left > 0 else piece
        if len(self._tail) > 2 * self._half:
            del self._tail[: -self._half]

    def beginning(self) -> str:
        """Return what was written, or nothing once that is more than one end holds."""
        return bytes(self._head).decode("utf-8", errors="replace") if not self._tail else ""

    def text(self) -> str:
        """Return what was kept; bytes that are not UTF-8 are replaced."""
        tail = bytes(self._tail[-self._half :])
        dropped = self._size - len(self._head) - len(tail)
        middle = f"\n[… {dropped} bytes left out …]\n".encode() if dropped else b""
        return (bytes(self._head) + middle + tail).decode("utf-8", errors="replace")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A finished command: its exit code and its bounded outputs."""

    exit_code: int
    stdout: str
    stderr: str


Listener = Callable[[bytes], object]


def ignored(_: bytes) -> None:
    """Take a piece of output that nobody follows."""


class BuildContainer(Protocol):
    """The running container of one build."""

    def run(
        self,
        command: Sequence[str],
        *,
        deadline: int,
        heard: Listener = ignored,
        stop_at: str = "",
    ) -> CommandResult:
        """Run an argument list; when `deadline` seconds have passed, the container is killed.

        `heard` gets each piece of both outputs as it comes. Where the pattern `stop_at` is found in
        the beginning of stderr, the command is not waited for: its exit code is `GIVEN_UP`, and the
        container is good for nothing any more.

        Raises BuildTimeout and ContainerFailed, which hold what the command had printed.
        """

    def put(self, path: str, content: bytes, mode: int) -> None:
        """Write a file below the builder's directory, making its parents."""

    def read_out(self, path: str, *, deadline: int) -> Iterator[bytes]:
        """Yield a directory as a tar stream.

        Raises ContainerFailed, and BuildTimeout after `deadline` seconds; the time of the reader
        counts.
        """

    def disk_taken(self) -> int:
        """Return how many bytes its files take, holes included; raises ContainerFailed."""

    def disk_free(self) -> FreeSpace:
        """Return what is free on its disk; raises ContainerFailed."""

    def count_files(self) -> int:
        """Return how many files are in it, those of its image included; raises ContainerFailed."""

    def admit(self, feeds: Collection[str]) -> None:
        """Let it reach more feeds (URLs), except at private addresses; raises ContainerFailed."""

    def kill(self) -> None:
        """End everything in it at once; its commands fail."""

    def remove(self) -> None:
        """Throw the container away; never raises."""


class ContainerEngine(Protocol):
    """Makes containers."""

    def pin(self, image: BuilderImage) -> BuilderImage:
        """Return the image with id and digest; it is pulled first where the settings ask for that.

        Raises ImageBuilderMissing, ContainerFailed and BuildTimeout.
        """

    def start(
        self, image: BuilderImage, *, key: str, attempt: int, feeds: Collection[str] = ()
    ) -> BuildContainer:
        """Start a container from exactly the image that was pinned; pin it first if it is not.

        The container reaches the servers of the settings, of the feeds in the image and of `feeds`
        (URLs). Raises as `pin`.
        """

    def leftovers(self) -> list[tuple[str, int, BuildContainer]]:
        """Return key, attempt and container of each build container of this system.

        Systems that share a podman see nothing of one another. A rebuild is listed once it has
        ended.
        """

    def remove_network(self) -> None:
        """Remove the network of this worker's builds; never raises."""

    def remove_networks(self, alive: Collection[str]) -> None:
        """Remove those of workers that are not among `alive` (names); raises ContainerFailed."""

    def close(self) -> None:
        """End the connections; containers of this engine cannot be used afterwards."""
