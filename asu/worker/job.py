"""One build, from its start to its outcome.

    start the container → make info → prepare it → make manifest → make image → copy out → sign →
    publish → record

The worker applies no rule and makes no decision: the plan is complete. Each step is shown to those
who poll, in the words that clients know. Whatever goes wrong is one of our errors, put into the
record with the ImageBuilder's own output and never with a traceback.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from asu.builds.capacity import expect_room
from asu.errors import (
    AsuError,
    BuildFailed,
    ContainerFailed,
    InternalError,
    PlanUnusable,
    QueueUnavailable,
    StoreFailed,
)
from asu.log_context import logged_with
from asu.logs import where_it_failed
from asu.provenance.envelope import PROVENANCE_FILE
from asu.records.build_account import write_account
from asu.records.build_plan import is_plan_of, tellable_plan
from asu.records.build_record import Attempt, BuildRecord, WorkerRecords, new_nonce
from asu.resolution import Version
from asu.settings import Settings
from asu.stores.store import ACCOUNT, Store

from . import builder_failures, builder_output, image_sizes, imagebuilder, snapshot
from .accounting import Accounts
from .audit import AuditLog
from .bounded_log import LOG_MOST
from .container import BuildContainer, CommandResult, ContainerEngine
from .disk_watch import WatchedContainer
from .lease import Lease, patiently
from .origins import Origins, read_feeds, write_provenance
from .package_managers import package_manager_for
from .package_managers.admitted_feeds import admitted_feeds
from .package_managers.image_manifest import check_versions
from .preparation import builders_feeds, prepare
from .profile_facts import facts_of
from .progress import Progress
from .pulling import BuilderImage
from .retrying import delay_before_next
from .staleness import check_revision
from .unsigned import UNSIGNED, Signing

log = logging.getLogger(__name__)

# Raises what the outcome of a command means, unless it did what was asked.
Check = Callable[[CommandResult], None]


class Superseded(Exception):
    """This attempt is no longer the current one; whatever it has is worth nothing."""


class Builder:
    """Runs builds with one engine, one store and one set of records."""

    def __init__(
        self,
        settings: Settings,
        *,
        records: WorkerRecords,
        store: Store,
        engine: Callable[[], ContainerEngine],
        accounts: Accounts,
        sign: Signing = UNSIGNED,
    ) -> None:
        self._settings, self._records, self._store, self._engine = settings, records, store, engine
        self._accounts, self._audit, self._signing = accounts, AuditLog(settings.audit_log), sign

    def run(self) -> None:
        """Build what is next in line, if a build is due; never raises for a failed build.

        Raises QueueUnavailable where Redis stays away: the build waits, and a sweep adds a ticket.
        """
        nonce = new_nonce()
        attempt = patiently(lambda: self._records.start_next(nonce))
        if attempt is None:
            log.info("no build is due")
            return
        with logged_with(**attempt.log_fields):
            self._run(attempt)

    def _run(self, attempt: Attempt) -> None:
        log.info(
            "build %s attempt %s begins, request %s",
            attempt.key,
            attempt.number,
            attempt.plan.get("request_id", "unknown"),
        )
        progress = Progress(tellable_plan(attempt.plan, attempt.key))
        # The container is removed when all is said and done: that takes up to 0.7 s, and nobody has
        # to wait for it.
        with Lease(self._records, attempt) as lease, contextlib.ExitStack() as aftermath:
            try:
                record, ttl = (
                    self._build(attempt, progress, lease, aftermath),
                    self._lifetime(attempt),
                )
            except Superseded:
                log.warning(
                    "build %s attempt %s: superseded, nothing published",
                    attempt.key,
                    attempt.number,
                )
                return
            except Exception as error:  # noqa: BLE001  # Nothing is lost: what is none of our errors is logged, and told as a mistake of ours.
                told = error if isinstance(error, AsuError) else _mistake(attempt, error)
                if self._put_back(attempt, told):
                    return
                record, ttl = progress.failed(told), self._failure_lifetime(told)
            if self._finish(attempt, record, ttl):
                self._audit.note(attempt, record, seconds=progress.seconds, files=progress.files)
                self._accounts.note(progress.plan, record, seconds=progress.seconds)

    def _build(
        self, attempt: Attempt, progress: Progress, lease: Lease, aftermath: contextlib.ExitStack
    ) -> BuildRecord:
        if not is_plan_of(attempt.plan, attempt.key):
            raise PlanUnusable
        request = attempt.plan["request"]
        self._show(attempt, progress, "container_setup")
        expect_room(self._settings.store_path, self._settings.disk_reserve_mb)
        engine = self._opened(aftermath)
        image = engine.pin(self._builder_image(request))
        progress.gathered["builder_digest"] = image.digest
        origins = Origins(builder_id=self._builder_id(), started=progress.started, image=image)
        started = engine.start(
            image,
            key=attempt.key,
            attempt=attempt.number,
            feeds=admitted_feeds(request["repositories"]).values(),
        )
        aftermath.callback(started.remove)
        container = aftermath.enter_context(WatchedContainer(started, self._settings))
        lease.on_loss = container.kill
        was_fetched = image.is_moving and self._unpack(container, image, progress)
        if was_fetched:
            # It only fetched the builder, and that is today's.
            image = replace(image, may_be_old=False)
        manager = package_manager_for(Version.parse(request["version"]))
        info = self._info(
            attempt, progress, container, partial(builder_failures.check, manager=manager, feeds={})
        )
        check_revision(request["version_code"], info.revision, image)
        packages = imagebuilder.selection(request, info)
        self._show(attempt, progress, "validate_manifest")
        if was_fetched:
            # The builder's signature was checked, and nothing that the request brings is there yet:
            # these feeds are the builder's own.
            container.admit(
                manager.feeds(
                    builders_feeds(container, manager, self._settings.info_deadline)
                ).values()
            )
        feeds = prepare(container, request, manager, deadline=self._settings.info_deadline)
        check = partial(
            builder_failures.check, manager=manager, feeds=feeds.urls, has_keys=feeds.has_keys
        )
        progress.gathered["manifest"] = manifest = manager.manifest(
            self._manifest(attempt, progress, container, packages, check)
        )
        check_versions(request["packages_versions"], manifest, image)
        origins = replace(
            origins,
            revision=info.revision,
            feeds=read_feeds(container, manager, deadline=self._settings.info_deadline),
        )
        self._image(attempt, progress, container, packages, check)
        self._show(attempt, progress, "signing_images")
        self._publish(attempt, progress, container, origins)
        return progress.done()

    def _builder_id(self) -> str:
        return self._settings.builder_id or f"urn:x-asu:system:{self._records.system()}"

    def _builder_image(self, request: Mapping[str, Any]) -> BuilderImage:
        version = Version.parse(request["version"])
        name = imagebuilder.image_name(self._settings.base_container, version, request["target"])
        return BuilderImage(
            name=name,
            version=request["version"],
            target=request["target"],
            is_moving=version.is_snapshot,
        )

    def _opened(self, aftermath: contextlib.ExitStack) -> ContainerEngine:
        try:
            return aftermath.enter_context(contextlib.closing(self._engine()))
        except Exception as error:
            raise ContainerFailed(reason="podman does not answer") from error

    def _unpack(self, container: BuildContainer, image: BuilderImage, progress: Progress) -> bool:
        settings = self._settings
        url = settings.builder_upstream_url or settings.upstream_url
        return snapshot.unpack(
            container,
            image,
            progress,
            url=url,
            check_deadline=settings.info_deadline,
            deadline=settings.pull_deadline,
        )

    def _info(
        self, attempt: Attempt, progress: Progress, container: BuildContainer, check: Check
    ) -> imagebuilder.BuilderInfo:
        self._show(attempt, progress, "validate_revision")
        result = progress.timed(
            "info", container, ["make", "info"], deadline=self._settings.info_deadline
        )
        if result.exit_code:
            progress.heard(result)
        check(result)
        return imagebuilder.parse_info(result.stdout)

    def _manifest(
        self,
        attempt: Attempt,
        progress: Progress,
        container: BuildContainer,
        packages: list[str],
        check: Check,
    ) -> str:
        command = imagebuilder.manifest_command(attempt.plan["request"], packages)
        result = progress.timed(
            "manifest", container, command, deadline=self._settings.manifest_deadline
        )
        progress.stderr += result.stderr
        # After success it is the manifest, which has a key of its own.
        progress.stdout += result.stdout if result.exit_code else ""
        check(result)
        # Its middle is missing, and so would be packages.
        if len(result.stdout.encode()) > LOG_MOST:
            raise BuildFailed(reason="its list of packages is longer than any genuine one")
        return result.stdout

    def _image(
        self,
        attempt: Attempt,
        progress: Progress,
        container: BuildContainer,
        packages: list[str],
        check: Check,
    ) -> None:
        command = imagebuilder.image_command(attempt.plan["request"], packages, attempt.key)
        progress.gathered["build_cmd"] = command
        self._show(attempt, progress, "building_image")
        result = progress.timed("image", container, command, deadline=self._settings.image_deadline)
        progress.heard(result)
        check(result)

    def _publish(
        self, attempt: Attempt, progress: Progress, container: BuildContainer, origins: Origins
    ) -> None:
        """Copy the images out, sign them, complete the answer, and publish if this attempt is still the current one.

        The store asks right before the files become visible, and after that once more: a worker
        that freezes right in between for longer than a lease takes back what it has published when
        it thaws. Should another attempt have published before, its files are gone as well, and its
        record is put back in line by whoever polls, as for all files that are gone. Only a worker
        that dies before it has asked again leaves files that are not those which the other's record
        names, though of the same request.
        """
        workplace = self._store.workplace(attempt.key)
        try:
            settings = self._settings
            pieces = container.read_out(
                imagebuilder.output_directory(attempt.key), deadline=settings.copy_deadline
            )
            hashes = builder_output.copy_out(
                pieces,
                workplace,
                max_bytes=settings.max_output_mb * 1024 * 1024,
                reserve_mb=settings.disk_reserve_mb,
            )
            image_sizes.check(progress.stdout, progress.stderr, hashes)
            document = self._signing.sign(
                builder_output.read_profiles(workplace, hashes), workplace
            )
            progress.gathered = _facts(document, attempt, origins) | progress.gathered
            progress.files = write_provenance(
                workplace, attempt, origins, progress.gathered, self._signing.seal
            )
            _keep_account(workplace / ACCOUNT, write_account(attempt.plan, progress.done()))

            def is_current() -> bool:
                return patiently(lambda: self._records.renew(attempt))

            if not self._store.publish(
                attempt.key, workplace, self._lifetime(attempt), progress.files, is_current
            ):
                raise Superseded
        finally:
            self._store.discard(workplace)

    def _show(self, attempt: Attempt, progress: Progress, step: str) -> None:
        try:
            current = self._records.progress(
                attempt,
                step,
                json.dumps(progress.body(202, "started", step, outputs=False)).encode(),
            )
        except QueueUnavailable:
            log.warning(
                "build %s attempt %s: step %s not shown, Redis is away",
                attempt.key,
                attempt.number,
                step,
            )
            return
        if not current:
            raise Superseded

    def _put_back(self, attempt: Attempt, error: AsuError) -> bool:
        """Put a build back in line whose next attempt may go better; False if there is to be none, or another attempt is the current one.

        While Redis is away nothing can be put back: the lease ends, and the build is taken back as
        that of a lost worker.
        """
        delay = delay_before_next(error, attempt.tries, self._settings.retry_delays)
        if delay is None or not patiently(lambda: self._records.retry(attempt, error.code, delay)):
            return False
        log.warning(
            "build %s attempt %s: %s (%s): %s; begun again in %g s",
            attempt.key,
            attempt.number,
            error.code,
            error.fault,
            error.detail,
            delay,
        )
        return True

    def _finish(self, attempt: Attempt, record: BuildRecord, ttl: int) -> bool:
        """Put the outcome in place; Redis may be away for a while, and the images are made already. False if it was dropped."""
        current = patiently(lambda: self._records.finish(attempt, record, ttl))
        if current:
            log.info("build %s attempt %s: %s", attempt.key, attempt.number, record.state)
        else:
            log.warning(
                "build %s attempt %s: superseded, outcome dropped", attempt.key, attempt.number
            )
        return current

    def _lifetime(self, attempt: Attempt) -> int:
        """Return how many seconds record and files of a finished build are kept: the least that applies."""
        settings, request = self._settings, attempt.plan["request"]
        ttl = (
            settings.build_ttl_unversioned
            if Version.parse(request["version"]).is_snapshot
            else settings.build_ttl
        )
        return min(ttl, settings.build_defaults_ttl) if request["defaults"] else ttl

    def _failure_lifetime(self, error: AsuError) -> int:
        return (
            self._settings.build_failure_ttl
            if error.fault == "user"
            else self._settings.retry_failure_ttl
        )


def _mistake(attempt: Attempt, error: Exception) -> AsuError:
    """Log where something went wrong that nobody thought of; the message may quote what the user sent, the first-boot script included."""
    log.error("build %s attempt %s failed: %s", attempt.key, attempt.number, where_it_failed(error))
    return InternalError(request_id=attempt.key)


def _keep_account(path: Path, document: bytes) -> None:
    try:
        path.write_bytes(document)
    except OSError as error:
        raise StoreFailed(reason=f"{path.name} cannot be written ({error.strerror})") from error


def _facts(document: Mapping[str, Any], attempt: Attempt, origins: Origins) -> dict[str, Any]:
    """Return what is told of a finished build: what profiles.json says, and over it what is known here; raises BuildFailed."""
    request = attempt.plan["request"]
    ours = {
        "bin_dir": attempt.key,
        "target": request["target"],
        "version_code": origins.revision,
        "provenance": PROVENANCE_FILE,
    }
    return facts_of(document, request["profile"]) | ours
