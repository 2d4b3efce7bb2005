"""The third step: `make manifest`, which installs every package and lists them."""

import re
from dataclasses import replace

from asu.errors import BuildFailed
from asu.provenance.statement import Feed

from . import imagebuilder
from .build_run import BuildRun
from .container import LOG_MOST
from .expectations import check_versions

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
    result = run.make(
        "manifest",
        imagebuilder.manifest_command(run.request, run.packages),
        deadline=run.settings.manifest_deadline,
    )
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
