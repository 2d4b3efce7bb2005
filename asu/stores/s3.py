"""The store in a bucket of an S3-compatible server; with its client, the only place that knows boto3.

The manifest of a build is the object `{prefix}{key}/.asu-build.json`, its files are
`{prefix}{key}/{publication}/{name}`, where no other publication ever writes. Uploaded last, the
manifest alone makes them the build: it names the publication, and without it there is none. It is
removed first. Buckets of earlier releases hold files as `{prefix}{key}/{name}`, whose manifests
name no publication.
"""

import contextlib
import io
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from asu.errors import StoreFailed
from asu.settings import Settings

from .manifest import MANIFEST, Manifest, describe_build, read_manifest
from .s3_client import Clients, S3Content, age_of, translated
from .store import (
    ACCOUNT,
    FILE_NAME,
    KEY,
    NO_HASHES,
    Content,
    Lifetimes,
    StoredBuild,
    StoredFile,
    StoreUsage,
    without_rival,
)
from .workplaces import Workplaces

GONE = frozenset({"404", "NoSuchKey", "NotFound"})


class _TooLongError(Exception):
    """The bucket holds more than can be looked through at once."""


class S3Store:
    """A store in a bucket; workplaces are local."""

    answers_last = 60.0  # A minute: builds are polled every second, and seldom vanish.
    expire_every = 300.0  # Listing costs a request per thousand files.
    # Seconds after which `expire` looks at no further build until the next time: a worker that
    # sweeps shows no sign of life meanwhile.
    tidying_seconds = 15.0

    def __init__(self, settings: Settings) -> None:
        self._bucket, self._prefix = settings.s3_bucket, settings.s3_prefix
        self._public_url = settings.s3_public_url.rstrip("/") if settings.s3_public_url else None
        self._workplaces = Workplaces(settings.store_path)
        self._clients = Clients(settings)
        self._tidied = ""  # The name behind which `expire` goes on; empty for the beginning.

    def open(self) -> None:
        """See Store."""
        with translated("it cannot be set up"):
            self._clients.get()

    def has(self, key: str) -> bool:
        """See Store."""
        if KEY.fullmatch(key) is None or (manifest := self._read_manifest(key)) is None:
            return False
        with translated("it does not answer"):
            sizes = {
                found["Key"]: found["Size"]
                for found in self._objects(
                    self._clients.get(), self._name(key, "", manifest.publication)
                )
            }
        return all(
            sizes.get(self._name(key, file.name, manifest.publication)) == file.size
            for file in manifest.files
        )

    def find(self, key: str, name: str) -> StoredFile | None:
        """See Store."""
        if KEY.fullmatch(key) is None or FILE_NAME.fullmatch(name) is None:
            return None
        if (manifest := self._read_manifest(key)) is None:
            return None
        url = (
            f"{self._public_url}/{quote(self._name(key, name, manifest.publication))}"
            if self._public_url
            else None
        )
        return manifest.stored(name, url)

    def content(self, file: StoredFile, start: int, length: int) -> Content | None:
        """See Store."""
        if not length:
            return io.BytesIO()  # No range names nothing.
        part = {} if length == file.size else {"Range": f"bytes={start}-{start + length - 1}"}
        with translated(f"{file.name} cannot be read"):
            answer = self._get(
                self._clients.get(), self._name(file.key, file.name, file.publication), **part
            )
        if answer is None:
            return None
        body = S3Content(answer["Body"], file.name)
        if answer["ContentLength"] != length or (
            part and not answer.get("ContentRange", "").endswith(f"/{file.size}")
        ):
            body.close()
            raise StoreFailed(reason=f"{file.name} is not what was published")
        return body

    def published_keys(self) -> Iterator[str]:
        """See Store."""
        with translated("it cannot be looked through"):
            yield from (
                name for name, _ in self._groups(self._clients.get(), "") if KEY.fullmatch(name)
            )

    def manifest(self, key: str) -> Manifest | None:
        """See Store."""
        return self._read_manifest(key) if KEY.fullmatch(key) else None

    def account(self, key: str) -> bytes | None:
        """See Store."""
        if (manifest := self.manifest(key)) is None:
            return None
        with translated(f"{ACCOUNT} cannot be read"):
            answer = self._get(self._clients.get(), self._name(key, ACCOUNT, manifest.publication))
            return bytes(answer["Body"].read()) if answer else None

    def workplace(self, key: str) -> Path:
        """See Store."""
        self._workplaces.open()
        return self._workplaces.new(key)

    def publish(
        self,
        key: str,
        directory: Path,
        lifetime: int,
        hashes: Mapping[str, str] = NO_HASHES,
        is_current: Callable[[], bool] = without_rival,
    ) -> bool:
        """See Store.

        An upload never touches what is served, and one that fails leaves what was published before,
        and as far as the bucket lets it nothing of its own: it would be in no budget. What remains
        to a worker that freezes for longer than its lease is the upload of the manifest: when it
        thaws, it takes its own back, and what a later attempt has published meanwhile is not seen
        either, so that the build is made again. What a killed worker uploaded goes with the build.
        """
        if KEY.fullmatch(key) is None:
            raise ValueError("a build is published under its key")
        with translated("not published"):
            client, switch = self._clients.get(), self._name(key, MANIFEST)
            manifest = replace(
                describe_build(key, directory, lifetime, hashes), publication=uuid.uuid4().hex
            )
            # Listed now, since what comes later may be a later attempt's.
            earlier = [
                found["Key"]
                for found in self._objects(client, self._name(key, ""))
                if found["Key"] != switch
            ]
            own = [
                self._name(key, name, manifest.publication)
                for name in (*(file.name for file in manifest.files), ACCOUNT)
            ]
            try:
                self._upload(directory, manifest)
                is_published = is_current()
            except BaseException:
                # Once the manifest is sent, it may have arrived whatever is heard of it.
                self._clear_away(own)
                raise
            if is_published:
                self._put(switch, manifest.to_json(), "application/json")
                is_published = is_current() or self._take_back(manifest)
        self._clear_away(earlier if is_published else own)
        return is_published

    def discard(self, directory: Path) -> None:
        """See Store."""
        self._workplaces.discard(directory)

    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        """See Store.

        Most builds are known, and asking Redis costs less than reading a manifest. Files without a
        manifest were left by a publication that failed or is still under way. A pass that takes too
        long ends, and the next one goes on behind it; one that fails, too, lest a single object
        that cannot be removed keeps all that come after it.
        """
        self._workplaces.expire(lifetimes.workplaces)
        removed: list[str] = []
        end = time.monotonic() + self.tidying_seconds
        with translated("old builds were not removed"):
            client = self._clients.get(is_tidying=True)
            for name, age in self._groups(client, self._tidied):
                self._tidied = name
                if (
                    KEY.fullmatch(name)
                    and not is_known(name)
                    and self._is_over(client, name, age, lifetimes)
                ):
                    self._remove(client, name)
                    removed.append(name)
                if time.monotonic() >= end:
                    return removed
            self._tidied = ""
        return removed

    def remove_damaged(self) -> list[str]:
        """See Store. There is nothing to do: objects do not change where they lie, and the API compares sizes before it serves one."""
        return []

    def builds(self) -> list[StoredBuild]:
        """See Store. It does not know of downloads past the API; those through it are noted in the records."""
        sizes: Counter[str] = Counter()
        ages: dict[str, float] = {}
        try:
            for key, name, found in self._files_of_builds():
                sizes[key] += found["Size"] if FILE_NAME.fullmatch(name) else 0
                if name == MANIFEST:  # It came last; without one there is no build.
                    ages[key] = age_of(found)
        except _TooLongError:
            reason = f"it cannot be looked through within {self.tidying_seconds:g} s, so STORE_BUDGET_MB is not kept"
            raise StoreFailed(reason=reason) from None
        return [StoredBuild(key=key, bytes=sizes[key], idle=age) for key, age in ages.items()]

    def remove(self, key: str, grace: float) -> bool:
        """See Store."""
        with translated("a build was not removed"):
            client = self._clients.get(is_tidying=True)
            manifest = self._read_manifest(key, client)
            if manifest is None or manifest.age > grace:
                self._remove(client, key)
                return True
        return False

    def usage(self) -> StoreUsage | None:
        """See Store. Bytes are those of all that lies there, what a publication left included of which nothing came; that is no build."""
        builds = size = 0
        try:
            for _, name, found in self._files_of_builds():
                builds += name == MANIFEST
                size += found["Size"] if FILE_NAME.fullmatch(name) else 0
        except _TooLongError:
            return None
        return StoreUsage(builds=builds, bytes=size)

    def reach(self) -> None:
        """See Store."""
        with translated("the bucket does not answer"):
            self._clients.get().list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    def probe(self) -> None:
        """See Store. Each process leaves its object's name free for others."""
        self._workplaces.open()
        self._workplaces.probe()
        self.reach()
        name = f"{self._prefix}probe-{uuid.uuid4().hex}"
        with translated("the bucket cannot be written"):
            self._put(name, b"asu", "application/octet-stream")
            self._clients.get().delete_object(Bucket=self._bucket, Key=name)

    def _is_over(self, client: Any, key: str, age: float, lifetimes: Lifetimes) -> bool:
        manifest = self._read_manifest(key, client)
        return manifest.is_over(lifetimes.grace) if manifest else age > lifetimes.workplaces

    def _name(self, key: str, name: str, publication: str = "") -> str:
        return (
            f"{self._prefix}{key}/{publication}/{name}"
            if publication
            else f"{self._prefix}{key}/{name}"
        )

    def _read_manifest(self, key: str, client: Any = None) -> Manifest | None:
        with translated("it does not answer"):
            answer = self._get(client or self._clients.get(), self._name(key, MANIFEST))
            return read_manifest(answer["Body"].read(), key) if answer else None

    def _get(self, client: Any, name: str, **options: str) -> Any:
        """Ask for an object; None if there is none. Must be translated."""
        try:
            return client.get_object(Bucket=self._bucket, Key=name, **options)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in GONE:
                return None
            raise

    def _put(self, name: str, body: Any, content_type: str, **options: str) -> None:
        self._clients.get().put_object(
            Bucket=self._bucket, Key=name, Body=body, ContentType=content_type, **options
        )

    def _upload(self, directory: Path, manifest: Manifest) -> None:
        """Put the files of a publication, and the account of the build, where nobody looks for them yet. Must be translated."""
        for file in manifest.files:
            with (directory / file.name).open("rb") as body:
                # Whoever is sent to the bucket gets the headers that the API would send.
                disposition = f'attachment; filename="{file.name}"'
                self._put(
                    self._name(manifest.key, file.name, manifest.publication),
                    body,
                    "application/octet-stream",
                    ContentDisposition=disposition,
                )
        if (directory / ACCOUNT).exists():
            self._put(
                self._name(manifest.key, ACCOUNT, manifest.publication),
                (directory / ACCOUNT).read_bytes(),
                "application/json",
            )

    def _take_back(self, published: Manifest) -> bool:
        """Remove the manifest of an attempt that is no longer the current one, unless another's lies there; return that it is not published."""
        if self._read_manifest(published.key) == published:
            self._delete(self._clients.get(), [self._name(published.key, MANIFEST)])
        return False

    def _objects(self, client: Any, prefix: str, after: str = "") -> Iterator[Any]:
        start = {"StartAfter": after} if after else {}
        for page in client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, **start
        ):
            yield from page.get("Contents", ())

    def _files_of_builds(self) -> Iterator[tuple[str, str, Any]]:
        """Yield key, name and object of all that lies under keys; raises _TooLongError after the time that a worker may be silent."""
        end = time.monotonic() + self.tidying_seconds
        with translated("it cannot be looked through"):
            for found in self._objects(self._clients.get(is_tidying=True), self._prefix):
                if time.monotonic() >= end:
                    raise _TooLongError
                key, _, rest = str(found["Key"]).removeprefix(self._prefix).partition("/")
                if KEY.fullmatch(key):
                    yield key, rest.rpartition("/")[2], found

    def _groups(self, client: Any, after: str) -> Iterator[tuple[str, float]]:
        """Yield the first parts of names behind `after`, most of them keys, and how many seconds ago the last object of each came."""

        def key_of(found: Any) -> str:
            return str(found["Key"]).removeprefix(self._prefix).partition("/")[0]

        # S3 lists in the order of names, in which "0" comes next to the slash: all that lies under
        # a key comes before, no other key does.
        for name, objects in groupby(
            self._objects(client, self._prefix, f"{self._prefix}{after}0" if after else ""), key_of
        ):
            yield name, min(age_of(found) for found in objects)

    def _remove(self, client: Any, key: str) -> None:
        """Take a build out of sight by its manifest, then remove its files, those of publications that nothing came of included."""
        self._delete(client, [self._name(key, MANIFEST)])
        self._delete(client, [found["Key"] for found in self._objects(client, self._name(key, ""))])

    def _clear_away(self, names: Iterable[str]) -> None:
        """Delete what nobody is served, if that can be done soon; what is left goes with the build."""
        with contextlib.suppress(StoreFailed), translated("what nobody is served was not removed"):
            self._delete(self._clients.get(is_tidying=True), names)

    def _delete(self, client: Any, names: Iterable[str]) -> None:
        """Delete objects, there or not; one by one, since not every server knows more."""
        for name in names:
            client.delete_object(Bucket=self._bucket, Key=name)
