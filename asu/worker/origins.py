"""Where a build comes from: what is noted on the way, and the provenance that is made of it before the build is published."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asu.catalogue.package_manager import package_manager_of
from asu.errors import ContainerFailed, StoreFailed
from asu.provenance.envelope import PROVENANCE_FILE, Sealing, sealed
from asu.provenance.statement import Builder, Feed, Ingredients, Run, statement
from asu.records.build_record import Attempt
from asu.resolution import Version
from asu.stores.manifest import published_files
from asu.stores.store import NO_HASHES

from .bounded_log import LOG_HALF
from .container import BuildContainer
from .imagebuilder import BUILDER
from .package_managers import PackageManager
from .preparation import builders_feeds
from .pulling import BuilderImage

# Beside the indexes of the feeds lie packages and signatures; opkg names an index after its feed,
# apk after the hash of its address.
_INDEXES = [
    "find",
    f"{BUILDER}/dl",
    "-maxdepth",
    "1",
    "-type",
    "f",
    "!",
    "-name",
    "*.ipk",
    "!",
    "-name",
    "*.apk",
    "!",
    "-name",
    "*.sig",
]
_HASHED = re.compile(
    rf"^([0-9a-f]{{64}}) [ *]{re.escape(BUILDER)}/dl/([A-Za-z0-9_.+-]+)$", re.MULTILINE
)
MAX_FEEDS = 64  # A genuine builder has seven.


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """What is known of an attempt's origins so far."""

    builder_id: str
    started: datetime
    image: BuilderImage
    revision: str = ""
    feeds: tuple[Feed, ...] = ()


def read_feeds(
    container: BuildContainer, manager: PackageManager, *, deadline: int
) -> tuple[Feed, ...]:
    """Return the feeds of a builder with the hashes of their indexes, as `make manifest` has fetched them.

    Each of two commands gets `deadline` seconds; raises as they do, and ContainerFailed where not
    every index could be hashed: a feed is not silently without its hash. An index whose feed its
    name does not tell stands for itself.
    """
    urls = manager.feeds(builders_feeds(container, manager, deadline))
    listed = container.run([*_INDEXES, "-exec", "sha256sum", "{}", "+"], deadline=deadline)
    if listed.exit_code or len(listed.stdout) > LOG_HALF:
        raise ContainerFailed(reason="the indexes of its feeds cannot be hashed")
    indexes = {name: digest for digest, name in _HASHED.findall(listed.stdout)}
    feeds = [Feed(name=name, url=url, sha256=indexes.pop(name, "")) for name, url in urls.items()]
    feeds += [Feed(name=name, url="", sha256=digest) for name, digest in sorted(indexes.items())]
    return tuple(feeds[:MAX_FEEDS])


def write_provenance(
    directory: Path, attempt: Attempt, origins: Origins, gathered: Mapping[str, Any], seal: Sealing
) -> dict[str, str]:
    """Write the provenance of the files in `directory` beside them; return name → SHA-256 of those files. Raises StoreFailed.

    Whatever the container left under that name is replaced.
    """
    try:
        files = [
            file for file in published_files(directory, NO_HASHES) if file.name != PROVENANCE_FILE
        ]
        run = Run(
            builder_id=origins.builder_id,
            key=attempt.key,
            attempt=attempt.number,
            started=origins.started,
            finished=datetime.now(UTC),
        )
        (directory / PROVENANCE_FILE).write_bytes(
            sealed(statement(files, _ingredients(attempt, origins, gathered), run), seal)
        )
    except OSError as error:
        raise StoreFailed(
            reason=f"the provenance could not be written ({error.strerror})"
        ) from error
    return {file.name: file.sha256 for file in files}


def _ingredients(attempt: Attempt, origins: Origins, gathered: Mapping[str, Any]) -> Ingredients:
    request = attempt.plan["request"]
    return Ingredients(
        request=request,
        builder=Builder(
            name=origins.image.name, digest=origins.image.digest, revision=origins.revision
        ),
        command=gathered["build_cmd"],
        manager=package_manager_of(Version.parse(request["version"])),
        packages=gathered["manifest"],
        feeds=origins.feeds,
    )
