"""The fourth step: make the images of the installed packages."""

from . import imagebuilder
from .build_run import BuildRun


def make_images(run: BuildRun) -> BuildRun:
    """Make the images; raises as `make` does."""
    command = imagebuilder.image_command(run.request, run.packages, run.attempt.key)
    run.progress.gathered["build_cmd"] = command
    run.show("building_image")
    result = run.make("image", command, deadline=run.settings.image_deadline)
    run.progress.keep_output(result)
    run.check(result)
    return run
