"""The first step in a container: unpack the ImageBuilder where needed, and ask what it can build.

The container image of a release holds its whole ImageBuilder. That of a snapshot (SNAPSHOT, and
branches from 24.10 on) holds only `setup.sh`, which fetches, checks and unpacks today's builder.
"""

from dataclasses import replace

from asu.errors import AsuError, ContainerFailed, DownloadFailed
from asu.resolution import Version, directory

from . import imagebuilder
from .build_run import BuildRun
from .builder_image import BuilderImage
from .container import CommandResult
from .expectations import check_revision

# The exit codes of wget, and so of setup.sh.
NETWORK_FAILURE, SERVER_ERROR = 4, 8
NOT_FOUND = ("404", "Not Found")


def inspect_builder(run: BuildRun) -> BuildRun:
    """Run `make info`, check the revision, and choose the words of the package list.

    Raises as `make` and `check_revision` do, ProfileMissingInBuilder, and for a snapshot
    ImageBuilderMissing and DownloadFailed.
    """
    was_fetched = run.image.is_moving and _unpack(run)
    if was_fetched:
        # The image only fetched today's builder.
        run = replace(run, image=replace(run.image, may_be_old=False), was_fetched=True)
    run.show("validate_revision")
    result = run.make("info", ["make", "info"], deadline=run.settings.info_deadline)
    if result.exit_code:
        run.progress.keep_output(result)
    run.check(result)
    info = imagebuilder.parse_info(result.stdout)
    check_revision(run.request["version_code"], info.revision, run.image)
    packages = tuple(imagebuilder.selection(run.request, info))
    run.show("validate_manifest")
    return replace(run, revision=info.revision, packages=packages)


def _unpack(run: BuildRun) -> bool:
    """Have a builder that is not there fetch itself; return whether it had to."""
    if run.look(["test", "-e", f"{imagebuilder.BUILDER}/Makefile"]).exit_code == 0:
        return False
    url = run.settings.builder_upstream_url or run.settings.upstream_url
    command = setup_command(run.image, url)
    result = run.make("setup", command, deadline=run.settings.pull_deadline)
    if result.exit_code:
        run.progress.keep_output(result)
        raise setup_failure(result, run.image)
    return True


def setup_command(image: BuilderImage, url: str) -> list[str]:
    """Return the command that fetches and unpacks a builder; it overrides the image's variables.

    `url` is that of the downloads server as the container reaches it.
    """
    version_path = directory(Version.parse(image.version))
    source = [f"UPSTREAM_URL={url.rstrip('/')}", f"VERSION_PATH={version_path}"]
    return ["env", *source, f"TARGET={image.target}", "sh", "setup.sh"]


def setup_failure(result: CommandResult, image: BuilderImage) -> AsuError:
    """Return why a builder could not be unpacked; never the user's fault."""
    said = f"{result.stdout}\n{result.stderr}"
    if result.exit_code == SERVER_ERROR and any(sign in said for sign in NOT_FOUND):
        return image.missing()
    if result.exit_code != NETWORK_FAILURE and "setup.sh" in said and "No such file" in said:
        return ContainerFailed(
            reason="its image holds neither an ImageBuilder nor the script that fetches one"
        )
    reason = f"which was not whole or not signed as it should be (exit code {result.exit_code})"
    if result.exit_code == NETWORK_FAILURE:
        reason = "as the downloads server cannot be reached from the build container"
    return DownloadFailed(reason=f"the snapshot's ImageBuilder, {reason}")
