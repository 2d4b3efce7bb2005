"""The last step: copy the images out, sign them, write down their provenance, and publish."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asu.catalogue.package_manager import package_manager_of
from asu.disk_space import MIB, disk_error
from asu.errors import AsuError
from asu.provenance.envelope import PROVENANCE_FILE, sealed
from asu.provenance.statement import Builder, Ingredients, Run, statement
from asu.records.build_account import write_account
from asu.resolution import Version
from asu.settings import Settings
from asu.stores.manifest import ACCOUNT, PublishedFile, published_files
from asu.stores.store import Store

from . import image_sizes, imagebuilder
from .build_run import BuildRun, Superseded
from .container import CommandResult
from .copying import copy_out
from .interpreting import time_limited, with_short_lines
from .profiles_json import facts_of, images_of, read_profiles, sums_of, titles_of, written

if TYPE_CHECKING:
    from .signing import Signer  # Without a key the library of signatures is not loaded.


def publish(
    run: BuildRun,
    store: Store,
    signer: "Signer | None",
    *,
    builder_id: str,
    is_current: Callable[[], bool],
) -> None:
    """Copy the images out, sign them where there is a key, and publish them with all about them.

    The store asks `is_current` right before the files become visible and once more afterwards.

    Raises Superseded, BuildFailed, ImageTooBig, OutputTooLarge, StoreFailed, DiskFull,
    SigningFailed, ContainerFailed and BuildTimeout.
    """
    run.show("signing_images")
    progress, key = run.progress, run.attempt.key
    workplace = store.workplace(key)
    try:
        document, hashes = _signed(run, workplace, signer)
        progress.gathered = _facts(document, run) | progress.gathered
        files = _published(workplace, hashes)
        seal = signer.seal if signer else lambda _: ()
        _write(workplace / PROVENANCE_FILE, sealed(_provenance(run, files, builder_id), seal))
        progress.files = {file.name: file.sha256 for file in files}
        _write(workplace / ACCOUNT, write_account(run.attempt.plan, progress.done()))
        ttl = lifetime(run.request, run.settings)
        if not store.publish(key, workplace, ttl, progress.files, is_current):
            raise Superseded
    finally:
        store.discard(workplace)


def _signed(
    run: BuildRun, directory: Path, signer: "Signer | None"
) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Copy the images into `directory` and sign them; return profiles.json and name → SHA-256."""
    output, settings = imagebuilder.output_directory(run.attempt.key), run.settings
    pieces = run.container.read_out(output, deadline=settings.copy_deadline)
    most, reserve = settings.max_output_mb * MIB, settings.disk_reserve_mb
    hashes = copy_out(pieces, directory, max_bytes=most, reserve_mb=reserve)
    with time_limited():
        printed = with_short_lines(CommandResult(0, run.progress.stdout, run.progress.stderr))
        image_sizes.check(printed.stdout, printed.stderr, hashes)
    document = read_profiles(directory, hashes)
    if signer is not None:
        document = signer.sign(document, directory)
        hashes |= {image["name"]: image["sha256"] for image in images_of(document)}
        hashes["profiles.json"] = hashlib.sha256(written(document)).hexdigest()
    if "sha256sums" in hashes:
        sums = sums_of(hashes)
        _write(directory / "sha256sums", sums)
        hashes["sha256sums"] = hashlib.sha256(sums).hexdigest()
    return document, hashes


def lifetime(request: Mapping[str, Any], settings: Settings) -> int:
    """Return how many seconds record and files of a finished build are kept."""
    is_snapshot = Version.parse(request["version"]).is_snapshot
    ttl = settings.build_ttl_unversioned if is_snapshot else settings.build_ttl
    return min(ttl, settings.build_defaults_ttl) if request["defaults"] else ttl


def failure_lifetime(error: AsuError, settings: Settings) -> int:
    """Return how many seconds the record of a failed build is kept."""
    return settings.build_failure_ttl if error.fault == "user" else settings.retry_failure_ttl


def _facts(document: Mapping[str, Any], run: BuildRun) -> dict[str, Any]:
    """Return what an answer says of a finished build: from profiles.json, then what we know."""
    profile = run.request["profile"]
    told = document["profiles"].get(profile, {}).get("titles")
    return facts_of(document, profile) | {
        "bin_dir": run.attempt.key,
        "titles": titles_of(told, run.titles, profile),
        "version_number": run.request["version"],
        "target": run.request["target"],
        "version_code": run.revision,
        "provenance": PROVENANCE_FILE,
    }


def _published(directory: Path, hashes: Mapping[str, str]) -> list[PublishedFile]:
    """Return the files to publish; what has a SHA-256 in `hashes` is not read again."""
    try:
        files = published_files(directory, hashes)
    except OSError as error:
        raise disk_error(error, "the images cannot be read") from error
    # A file of that name from the container is replaced by ours.
    return [file for file in files if file.name != PROVENANCE_FILE]


def _provenance(run: BuildRun, files: list[PublishedFile], builder_id: str) -> dict[str, Any]:
    gathered = run.progress.gathered
    ingredients = Ingredients(
        request=run.request,
        builder=Builder(name=run.image.name, digest=run.image.digest, revision=run.revision),
        command=gathered["image_cmd"],
        manager=package_manager_of(Version.parse(run.request["version"])),
        packages=gathered["manifest"],
        feeds=run.feeds,
    )
    made = Run(
        builder_id=builder_id,
        key=run.attempt.key,
        attempt=run.attempt.number,
        started=run.progress.started,
        finished=datetime.now(UTC),
    )
    return statement(files, ingredients, made)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise disk_error(error, f"{path.name} cannot be written") from error
