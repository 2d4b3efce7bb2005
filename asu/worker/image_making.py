"""The fourth step: make the images of the installed packages."""

from dataclasses import replace

from . import imagebuilder
from .build_run import BuildRun
from .package_managers import NO_FEEDS


def make_images(run: BuildRun) -> BuildRun:
    """Make the images; raises as `make` does.

    `make image` would install all packages a second time. So only what follows the install is run,
    where the builder's Makefile has these steps.
    """
    build_command = imagebuilder.image_command(run.request, run.packages, run.attempt.key)
    command = build_command
    if run.can_resume:
        command = imagebuilder.resumed_command(build_command)
        run = replace(run, own_feeds=NO_FEEDS)  # None is read again, so none can be missing.
    # Clients index the words of `build_cmd`; `image_cmd` is what is run.
    run.progress.gathered |= {
        "build_cmd": build_command,
        "build_cmd_packages": list(run.packages),
        "image_cmd": command,
    }
    run.show("building_image")
    result = run.make("image", command, deadline=run.settings.image_deadline)
    run.progress.keep_output(result)
    run.check(result)
    return run
