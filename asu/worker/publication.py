"""The last step: copy the images out, sign them, write down their provenance, and publish."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asu.catalogue.package_manager import package_manager_of
from asu.disk_space import MIB
from asu.errors import AsuError, StoreFailed
from asu.provenance.envelope import PROVENANCE_FILE, sealed
from asu.provenance.statement import Builder, Ingredients, Run, statement
from asu.records.build_account import write_account
from asu.resolution import Version
from asu.settings import Settings
from asu.stores.manifest import ACCOUNT, PublishedFile, published_files
from asu.stores.store import Store

from . import image_sizes, imagebuilder
from .build_run import BuildRun, Superseded
from .copying import copy_out
from .profiles_json import OUR_FILES, facts_of, images_of, read_profiles

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

    The store asks `is_current` right before the files become visible and once more afterwards: a
    worker that freezes in between for longer than its lease takes back what it has published. If
    another attempt had published before, its files are gone as well, and the next poll puts the
    build back in line as for all lost files. Only a worker that dies before it has asked again
    leaves files that differ from those in the other attempt's record, though of the same request.

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
        provenance = statement(files, _ingredients(run), _provenance_run(run, builder_id))
        envelope = sealed(provenance, signer.seal if signer else _unsealed)
        _write(workplace / PROVENANCE_FILE, envelope)
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
    settings, progress = run.settings, run.progress
    pieces = run.container.read_out(
        imagebuilder.output_directory(run.attempt.key), deadline=settings.copy_deadline
    )
    hashes = copy_out(
        pieces,
        directory,
        max_bytes=settings.max_output_mb * MIB,
        reserve_mb=settings.disk_reserve_mb,
    )
    image_sizes.check(progress.stdout, progress.stderr, hashes)
    document = read_profiles(directory, hashes)
    if signer is None:
        return document, hashes
    signed = signer.sign(document, directory)
    new_hashes = {image["name"]: image["sha256"] for image in images_of(signed)}
    # The rewritten lists are hashed once more.
    return signed, {**hashes, **new_hashes, **dict.fromkeys(OUR_FILES, "")}


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
    return facts_of(document, run.request["profile"]) | {
        "bin_dir": run.attempt.key,
        "target": run.request["target"],
        "version_code": run.revision,
        "provenance": PROVENANCE_FILE,
    }


def _published(directory: Path, hashes: Mapping[str, str]) -> list[PublishedFile]:
    """Return the files to publish; what has a SHA-256 in `hashes` is not read again."""
    try:
        files = published_files(directory, hashes)
    except OSError as error:
        raise StoreFailed(reason=f"the images cannot be read ({error.strerror})") from error
    # A file of that name from the container is replaced by ours.
    return [file for file in files if file.name != PROVENANCE_FILE]


def _ingredients(run: BuildRun) -> Ingredients:
    gathered = run.progress.gathered
    return Ingredients(
        request=run.request,
        builder=Builder(name=run.image.name, digest=run.image.digest, revision=run.revision),
        command=gathered["image_cmd"],
        manager=package_manager_of(Version.parse(run.request["version"])),
        packages=gathered["manifest"],
        feeds=run.feeds,
    )


def _provenance_run(run: BuildRun, builder_id: str) -> Run:
    return Run(
        builder_id=builder_id,
        key=run.attempt.key,
        attempt=run.attempt.number,
        started=run.progress.started,
        finished=datetime.now(UTC),
    )


def _unsealed(_: bytes) -> tuple[()]:
    return ()


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StoreFailed(reason=f"{path.name} cannot be written ({error.strerror})") from error
