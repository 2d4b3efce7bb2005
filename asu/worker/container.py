"""What a build runs in, and what makes that: one container per build, made for it and thrown away after it.

Every command has a deadline of ours. When it passes, the container is killed and the command's
output ends.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from .pulling import BuilderImage


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command in the container left: exit code and bounded outputs."""

    exit_code: int
    stdout: str
    stderr: str


class BuildContainer(Protocol):
    """A running container of one build."""

    def run(self, command: Sequence[str], *, deadline: int) -> CommandResult:
        """Run an argument list; raises BuildTimeout and ContainerFailed, which hold what it had printed."""

    def put(self, path: str, content: bytes, mode: int) -> None:
        """Write a file below the builder's directory, making its parents."""

    def read_out(self, path: str, *, deadline: int) -> Iterator[bytes]:
        """Yield a directory as a tar stream; raises ContainerFailed, and BuildTimeout when that takes longer, whoever reads it included."""

    def disk_taken(self) -> int:
        """Return how many bytes it has written and not removed, holes in files included; raises ContainerFailed."""

    def disk_free(self) -> int:
        """Return how many bytes its disk has left for it; raises ContainerFailed."""

    def admit(self, feeds: Collection[str]) -> None:
        """Let it reach the servers of these feeds, URLs, too, unless they are at private addresses; raises ContainerFailed."""

    def kill(self) -> None:
        """End everything in it at once; its commands fail."""

    def remove(self) -> None:
        """Throw the container away; never raises."""


class ContainerEngine(Protocol):
    """Makes containers."""

    def pin(self, image: BuilderImage) -> BuilderImage:
        """Return the image with id and digest of what its name leads to now, pulled where that is asked for.

        Raises ImageBuilderMissing, ContainerFailed and BuildTimeout.
        """

    def start(
        self, image: BuilderImage, *, key: str, attempt: int, feeds: Collection[str] = ()
    ) -> BuildContainer:
        """Start a container from an ImageBuilder image, the very one that was pinned; one that was not is pinned first. Raises as `pin`.

        It reaches the servers that the settings name, those of the feeds that the image carries and
        those of `feeds`, URLs.
        """

    def leftovers(self) -> list[tuple[str, int, BuildContainer]]:
        """Return key, attempt and container of each build container of this system, and of those that ended whose system may be gone.

        Systems may share a podman; what runs belongs to its own system alone.
        """

    def close(self) -> None:
        """End the connections; containers made by this engine are of no use afterwards."""
