"""The store in a bucket of an S3-compatible server.

{prefix}{key}/.asu-build.json       the manifest: uploaded last, removed first
{prefix}{key}/{publication}/{name}  files; {prefix}{key}/{name} in buckets of earlier releases
{prefix}failures/{key}              what is kept of a failed build
"""

import contextlib
import io
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from typing_extensions import override

from asu.errors import StoreFailed
from asu.settings import Settings

from . import manifest as manifests
from .directory import Workplaces
from .manifest import ACCOUNT, FILE_NAME, KEY, MANIFEST, Manifest, StoredFile
from .s3_bucket import HASTY, PATIENT, Bucket, S3Content, age_of, translated
from .store import (
    NO_HASHES,
    Content,
    Lifetimes,
    Store,
    StoredBuild,
    StoreUsage,
    outdated,
    without_rival,
)

FAILURES = "failures"


class S3Store(Store):
    """A store in a bucket; workplaces are local."""

    answers_last = 60.0  # A minute: builds are polled every second, and seldom vanish.
    expire_every = 300.0  # Listing costs a request per thousand files.
    tidying_seconds = 15.0  # Of one pass, in which a worker shows no sign of life.

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.s3_prefix
        self._public_url = settings.s3_public_url.rstrip("/") if settings.s3_public_url else None
        self._workplaces = Workplaces(settings.store_path)
        self._bucket, self._hasty = Bucket(settings, PATIENT), Bucket(settings, HASTY)
        self._tidied = ""  # The name behind which `expire` goes on; empty for the beginning.

    @override
    def open(self) -> None:
        with translated("it cannot be set up"):
            self._bucket.open()

    @override
    def has(self, key: str) -> bool:
        if (manifest := self.manifest(key)) is None:
            return False
        with translated("it does not answer"):
            prefix = self._name(key, "", manifest.publication)
            sizes = {found["Key"]: found["Size"] for found in self._bucket.objects(prefix)}
        return all(sizes.get(f"{prefix}{file.name}") == file.size for file in manifest.files)

    @override
    def find(self, key: str, name: str) -> StoredFile | None:
        manifest = self.manifest(key) if FILE_NAME.fullmatch(name) else None
        if manifest is None:
            return None
        path = quote(self._name(key, name, manifest.publication))
        return manifest.stored(name, f"{self._public_url}/{path}" if self._public_url else None)

    @override
    def content(self, file: StoredFile, start: int, length: int) -> Content | None:
        if not length:
            return io.BytesIO()  # No range names nothing.
        part = {} if length == file.size else {"Range": f"bytes={start}-{start + length - 1}"}
        with translated(f"{file.name} cannot be read"):
            answer = self._bucket.get(self._name(file.key, file.name, file.publication), **part)
        if answer is None:
            return None
        body = S3Content(answer["Body"], file.name)
        if answer["ContentLength"] != length or (
            part and not answer.get("ContentRange", "").endswith(f"/{file.size}")
        ):
            body.close()
            raise StoreFailed(reason=f"{file.name} is not what was published")
        return body

    @override
    def published_keys(self) -> Iterator[str]:
        with translated("it cannot be looked through"):
            names = (name for name, _ in self._bucket.groups(self._prefix))
            yield from filter(KEY.fullmatch, names)

    @override
    def manifest(self, key: str) -> Manifest | None:
        with translated("it does not answer"):
            return self._read_manifest(self._bucket, key) if KEY.fullmatch(key) else None

    @override
    def account(self, key: str) -> bytes | None:
        if (manifest := self.manifest(key)) is None:
            return None
        with translated(f"{ACCOUNT} cannot be read"):
            answer = self._bucket.get(self._name(key, ACCOUNT, manifest.publication))
            return bytes(answer["Body"].read()) if answer else None

    @override
    def workplace(self, key: str) -> Path:
        self._workplaces.open()
        return self._workplaces.new(key)

    @override
    def publish(
        self,
        key: str,
        directory: Path,
        lifetime: int,
        hashes: Mapping[str, str] = NO_HASHES,
        is_current: Callable[[], bool] = without_rival,
    ) -> bool:
        """Upload the files, then the manifest; an upload never touches what is served."""
        if KEY.fullmatch(key) is None:
            raise ValueError("a build is published under its key")
        with translated("not published"):
            switch = self._name(key, MANIFEST)
            manifest = replace(
                manifests.describe_build(key, directory, lifetime, hashes),
                publication=uuid.uuid4().hex,
            )
            # Listed now, since what comes later may be a later attempt's.
            listed = self._bucket.objects(self._name(key, ""))
            earlier = [found["Key"] for found in listed if found["Key"] != switch]
            own = [
                self._name(key, name, manifest.publication)
                for name in (*(file.name for file in manifest.files), ACCOUNT)
            ]
            try:
                self._upload(directory, manifest)
                is_published = is_current()
            except BaseException:
                # Not after the manifest is sent: it may have arrived even if an error comes back.
                self._clear_away(own)
                raise
            if is_published:
                self._bucket.put(switch, manifest.to_json(), "application/json")
                is_published = is_current()
                if not is_published and self._read_manifest(self._bucket, key) == manifest:
                    self._bucket.delete([switch])
        self._clear_away([*earlier, self._name(FAILURES, key)] if is_published else own)
        return is_published

    @override
    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        """Remove old builds for `tidying_seconds`; the next pass goes on there, error or not."""
        self._workplaces.expire(lifetimes.workplaces)
        removed: list[str] = []
        end = time.monotonic() + self.tidying_seconds
        with translated("old builds were not removed"):
            if not self._tidied:
                self._hasty.delete(self._name(FAILURES, old) for old in outdated(self._failures()))
            for name, age in self._hasty.groups(self._prefix, self._tidied):
                self._tidied = name
                # Asking Redis costs less than reading a manifest, and most builds are known.
                is_unknown = KEY.fullmatch(name) and not is_known(name)
                if is_unknown and self._is_over(name, age, lifetimes):
                    self._remove(name)
                    removed.append(name)
                if time.monotonic() >= end:
                    return removed
            self._tidied = ""
        return removed

    @override
    def remove_damaged(self) -> list[str]:
        """Do nothing: objects do not change, and the API compares sizes before it serves one."""
        return []

    @override
    def keep_failure(self, key: str, document: bytes) -> None:
        with translated("a failure was not kept"):
            self._hasty.put(self._name(FAILURES, key), document, "application/gzip")

    @override
    def failure(self, key: str) -> bytes | None:
        with translated("a failure cannot be read"):
            answer = self._hasty.get(self._name(FAILURES, key)) if KEY.fullmatch(key) else None
            return bytes(answer["Body"].read()) if answer else None

    @override
    def failed_keys(self, prefix: str) -> set[str]:
        with translated("it does not answer"):
            return set(self._failures(prefix))

    @override
    def builds(self) -> list[StoredBuild]:
        """Return all that is published; downloads past the API count as no use."""
        if (found := self._look_through()) is None:
            limit = f"{self.tidying_seconds:g} s, so STORE_BUDGET_MB is not kept"
            raise StoreFailed(reason=f"it cannot be looked through within {limit}")
        sizes, ages = found
        return [StoredBuild(key=key, bytes=sizes[key], idle=age) for key, age in ages.items()]

    @override
    def remove(self, key: str, grace: float) -> bool:
        with translated("a build was not removed"):
            manifest = self._read_manifest(self._hasty, key)
            if manifest is None or manifest.age > grace:
                self._remove(key)
                return True
        return False

    @override
    def usage(self) -> StoreUsage | None:
        if (found := self._look_through()) is None:
            return None
        sizes, ages = found
        return StoreUsage(builds=len(ages), bytes=sizes.total())

    @override
    def reach(self) -> None:
        with translated("the bucket does not answer"):
            self._bucket.reach(self._prefix)

    @override
    def probe(self) -> None:
        self._workplaces.open()
        self._workplaces.probe()
        self.reach()
        # Several processes may look at the same time.
        name = f"{self._prefix}probe-{uuid.uuid4().hex}"
        with translated("the bucket cannot be written"):
            self._bucket.put(name, b"asu", "application/octet-stream")
            self._bucket.delete([name])

    # What follows must be translated.
    def _name(self, key: str, name: str, publication: str = "") -> str:
        place = f"{key}/{publication}" if publication else key
        return f"{self._prefix}{place}/{name}"

    def _read_manifest(self, bucket: Bucket, key: str) -> Manifest | None:
        answer = bucket.get(self._name(key, MANIFEST))
        return manifests.read_manifest(answer["Body"].read(), key) if answer else None

    def _is_over(self, key: str, age: float, lifetimes: Lifetimes) -> bool:
        manifest = self._read_manifest(self._hasty, key)
        return manifest.is_over(lifetimes.grace) if manifest else age > lifetimes.workplaces

    def _upload(self, directory: Path, manifest: Manifest) -> None:
        """Write the files of a publication and its account where nobody looks for them yet."""
        names = [file.name for file in manifest.files]
        for name in [*names, ACCOUNT] if (directory / ACCOUNT).exists() else names:
            with (directory / name).open("rb") as body:
                self._bucket.put(
                    self._name(manifest.key, name, manifest.publication),
                    body,
                    "application/octet-stream",
                    # Clients that are sent to the bucket get the header that the API would send.
                    ContentDisposition=f'attachment; filename="{name}"',
                )

    def _failures(self, prefix: str = "") -> dict[str, float]:
        place = self._name(FAILURES, "")
        return {
            str(found["Key"]).removeprefix(place): age_of(found)
            for found in self._hasty.objects(place + prefix)
        }

    def _look_through(self) -> tuple[Counter[str], dict[str, float]] | None:
        """Return bytes by key, and seconds since each manifest; None if that takes too long."""
        sizes: Counter[str] = Counter()
        ages: dict[str, float] = {}
        end = time.monotonic() + self.tidying_seconds
        with translated("it cannot be looked through"):
            for found in self._hasty.objects(self._prefix):
                if time.monotonic() >= end:
                    return None
                key, _, rest = str(found["Key"]).removeprefix(self._prefix).partition("/")
                name = rest.rpartition("/")[2]
                if KEY.fullmatch(key):
                    sizes[key] += found["Size"] if FILE_NAME.fullmatch(name) else 0
                    if name == MANIFEST:
                        ages[key] = age_of(found)
        return sizes, ages

    def _remove(self, key: str) -> None:
        """Take a build out of sight by its manifest, then remove all objects under its key."""
        self._hasty.delete([self._name(key, MANIFEST)])
        self._hasty.delete([found["Key"] for found in self._hasty.objects(self._name(key, ""))])

    def _clear_away(self, names: Iterable[str]) -> None:
        """Delete objects that nobody is served, if it goes fast; others go with the build."""
        with contextlib.suppress(StoreFailed), translated("unused objects were not removed"):
            self._hasty.delete(names)
