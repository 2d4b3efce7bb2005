"""The third and fourth step: `make manifest` installs and lists every package; make the images."""

import re
from dataclasses import replace

from asu.errors import BuildFailed
from asu.provenance.statement import Feed

from . import imagebuilder
from .build_run import BuildRun
from .container import LOG_MOST
from .expectations import check_versions
from .package_managers import NO_FEEDS

# Beside the indexes of the feeds lie packages and signatures. opkg names an index after its feed,
# apk after the hash of its address.
_HASH_INDEXES = (
    *("find", f"{imagebuilder.BUILDER}/dl", "-maxdepth", "1", "-type", "f"),
    *("!", "-name", "*.ipk", "!", "-name", "*.apk", "!", "-name", "*.sig"),
    *("-exec", "sha256sum", "{}", "+"),
)
_HASHED = re.compile(
    rf"^([0-9a-f]{{64}}) [ *]{re.escape(imagebuilder.BUILDER)}/dl/([A-Za-z0-9_.+-]+)$", re.MULTILINE
)
MAX_FEEDS = 64  # A genuine builder has seven.


def install(run: BuildRun) -> BuildRun:
    """Install the packages and check the versions that the client insists on.

    Raises as `make` does, and as `check_versions`.
    """
    command = imagebuilder.manifest_command(run.request, run.packages)
    result = run.make("manifest", command, deadline=run.settings.manifest_deadline)
    # After success stdout is the manifest, which has a key of its own.
    run.progress.keep_output(result if result.exit_code else replace(result, stdout=""))
    run.check(result)
    # The middle of a longer output is missing, and with it packages.
    if len(result.stdout.encode()) > LOG_MOST:
        raise BuildFailed(reason="its list of packages is longer than any genuine one")
    manifest = imagebuilder.parse_manifest(result.stdout)
    run.progress.gathered["manifest"] = manifest
    check_versions(run.request["packages_versions"], manifest, run.image)
    return replace(run, feeds=_read_feeds(run))


def _read_feeds(run: BuildRun) -> tuple[Feed, ...]:
    """Return the builder's feeds with the hashes of the indexes that were just fetched.

    An index that no feed's name fits stands alone. A hash never silently lacks: raises
    ContainerFailed where an index cannot be hashed.
    """
    urls = run.manager.feeds(run.feed_list)
    listed = run.read(_HASH_INDEXES, "the indexes of its feeds cannot be hashed")
    indexes = {name: digest for digest, name in _HASHED.findall(listed)}
    feeds = [Feed(name=name, url=url, sha256=indexes.pop(name, "")) for name, url in urls.items()]
    feeds += [Feed(name=name, url="", sha256=digest) for name, digest in sorted(indexes.items())]
    return tuple(feeds[:MAX_FEEDS])


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
