"""The steps inside a build container, from the unpacked ImageBuilder to its images.

The container image of a release holds its whole ImageBuilder. That of a snapshot (SNAPSHOT, and
branches from 24.10 on) holds only `setup.sh`, which fetches, checks and unpacks today's builder.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from asu.errors import AsuError, BuildFailed, ContainerFailed, DownloadFailed
from asu.provenance.statement import Feed
from asu.resolution import Version, directory

from . import imagebuilder
from .build_run import BuildRun
from .builder_image import BuilderImage
from .container import LOG_MOST, CommandResult
from .expectations import check_revision, check_versions
from .kept_info import keep_info, kept_info
from .package_managers import NO_FEEDS, OwnFeeds, own_urls

# The exit codes of wget, and so of setup.sh.
NETWORK_FAILURE, SERVER_ERROR = 4, 8
NOT_FOUND = ("404", "Not Found")
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


def inspect_builder(run: BuildRun) -> BuildRun:
    """Learn what the builder can build, check the revision, and choose the packages for make.

    Raises as `make` and `check_revision` do, ProfileMissingInBuilder, and for a snapshot
    ImageBuilderMissing and DownloadFailed.
    """
    was_fetched = run.image.is_moving and _unpack(run)
    if was_fetched:
        # The image only fetched today's builder.
        run = replace(run, image=replace(run.image, may_be_old=False), was_fetched=True)
    run.show("validate_revision")
    info = _read_info(run)
    check_revision(run.request["version_code"], info.revision, run.image)
    packages = tuple(imagebuilder.selection(run.request, info))
    run.show("validate_manifest")
    titles = info.titles[run.request["profile"]]
    return replace(run, revision=info.revision, packages=packages, titles=titles)


def _read_info(run: BuildRun) -> imagebuilder.BuilderInfo:
    """Return the answer of `make info`, from an earlier build where the image settles it."""
    is_settled = not run.image.is_moving
    kept = kept_info(run.settings.store_path, run.image) if is_settled else None
    if kept is not None:
        return imagebuilder.parse_info(kept)
    result = run.make("info", ["make", "info"], deadline=run.settings.info_deadline)
    if result.exit_code:
        run.progress.keep_output(result)
    run.check(result)
    info = imagebuilder.parse_info(result.stdout)
    if is_settled:
        keep_info(run.settings.store_path, run.image, result.stdout)
    return info


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


def prepare(run: BuildRun) -> BuildRun:
    """Put what the request brings into the container, before the long commands run.

    Raises UnknownFilesystem, BuildFailed for what must not reach the builder, ContainerFailed and
    BuildTimeout.
    """
    request, manager = run.request, run.manager
    feeds, keys = own_urls(request["repositories"]), manager.key_files(request["repository_keys"])
    # A genuine list has a dozen lines, a genuine Makefile 400.
    paths = [f"{imagebuilder.BUILDER}/{name}" for name in (manager.repositories_path, "Makefile")]
    listed, makefile = run.read_files(paths, "the builder's list of feeds cannot be read")
    if run.was_fetched:
        # setup.sh has checked the builder's signature, and nothing of the request is in the
        # container yet: these are the builder's own feeds.
        run.container.admit(manager.feeds(listed).values())
    if feeds:
        listed = manager.repositories(listed, feeds, request["repositories_mode"])
        _put_feeds(run, listed, keys)
    if request["defaults"]:
        run.container.put(imagebuilder.FIRST_BOOT_SCRIPT, request["defaults"].encode(), 0o755)
    if request["filesystem"]:
        _choose_filesystem(run, request["filesystem"])
    return replace(
        run,
        own_feeds=OwnFeeds(feeds, replace=request["repositories_mode"] == "replace"),
        feed_list=listed,
        can_resume=imagebuilder.can_resume(makefile),
    )


def _put_feeds(run: BuildRun, listed: str, keys: Mapping[str, bytes]) -> None:
    """Put the list of feeds in place, and keys beside the builder's own, which stay."""
    present = run.look(["ls", f"{imagebuilder.BUILDER}/keys"]).stdout.split() if keys else []
    for path, content in keys.items():
        if path.rpartition("/")[2] not in present:
            run.container.put(path, content, 0o644)
    run.container.put(run.manager.repositories_path, listed.encode(), 0o644)


def _choose_filesystem(run: BuildRun, filesystem: str) -> None:
    # A genuine .config is longer than what is kept of an output.
    config = run.look(["grep", "^CONFIG_TARGET_ROOTFS_", f"{imagebuilder.BUILDER}/.config"])
    result = run.look(imagebuilder.filesystem_command(config.stdout, filesystem))
    if result.exit_code:
        raise ContainerFailed(reason="the builder's .config cannot be changed")


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
    """Make the images, without a second install where the Makefile allows it; raises as `make`."""
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
