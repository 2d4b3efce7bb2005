"""Snapshot builders that unpack themselves.

A release's container image holds its whole ImageBuilder. That of a snapshot (SNAPSHOT, and branches
from 24.10 on) holds `setup.sh` only, which fetches today's builder from the downloads server,
checks its signature and checksum, and unpacks it. Which of the two an image is, its Makefile tells:
older branches ship their snapshots whole.
"""

from asu.errors import AsuError, ContainerFailed, DownloadFailed
from asu.resolution import Version, directory

from .container import BuildContainer, CommandResult
from .imagebuilder import BUILDER
from .progress import Progress
from .pulling import BuilderImage

# What wget, and so setup.sh, ends with.
NETWORK_FAILURE, SERVER_ERROR = 4, 8
NOT_FOUND = ("404", "Not Found")


def unpack(
    container: BuildContainer,
    image: BuilderImage,
    progress: Progress,
    *,
    url: str,
    check_deadline: int,
    deadline: int,
) -> bool:
    """Have a builder that is not there yet fetch itself from the downloads server at `url`, as the container reaches it; return whether it did.

    Raises ImageBuilderMissing where the server has none, DownloadFailed where it does not give it,
    and as `run` does.
    """
    if container.run(["test", "-e", f"{BUILDER}/Makefile"], deadline=check_deadline).exit_code == 0:
        return False
    result = progress.timed("setup", container, setup_command(image, url), deadline=deadline)
    if result.exit_code:
        progress.heard(result)
        raise failure(result, image)
    return True


def setup_command(image: BuilderImage, url: str) -> list[str]:
    """Return the command that fetches and unpacks a builder; what the image's own environment says gives way."""
    version_path = directory(Version.parse(image.version))
    return [
        "env",
        f"UPSTREAM_URL={url.rstrip('/')}",
        f"VERSION_PATH={version_path}",
        f"TARGET={image.target}",
        "sh",
        "setup.sh",
    ]


def failure(result: CommandResult, image: BuilderImage) -> AsuError:
    """Return what it means that a builder could not be unpacked; never the user's fault."""
    said = f"{result.stdout}\n{result.stderr}"
    if result.exit_code == SERVER_ERROR and any(sign in said for sign in NOT_FOUND):
        return image.missing()
    if result.exit_code == NETWORK_FAILURE:
        return DownloadFailed(
            reason="the snapshot's ImageBuilder, as the downloads server cannot be reached from the build container"
        )
    if "setup.sh" in said and "No such file" in said:
        return ContainerFailed(
            reason="its image holds neither an ImageBuilder nor the script that fetches one"
        )
    return DownloadFailed(
        reason=f"the snapshot's ImageBuilder, which was not whole or not signed as it should be (exit code {result.exit_code})"
    )
