"""The store in a bucket of an S3-compatible server; the only place that knows boto3.

The files of a build are the objects `{prefix}{key}/{name}`. Beside them lies the build's manifest, uploaded last and removed first: a build
is what its manifest names, and without a manifest there is none.
"""

import io
import os
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from asu.errors import StoreFailed
from asu.settings import Settings

from .base import ACCOUNT, FILE_NAME, KEY, NO_HASHES, Content, Lifetimes, StoredBuild, StoredFile, StoreUsage
from .manifest import MANIFEST, Manifest, describe_build, read_manifest
from .workplaces import Workplaces

CONNECTIONS = 64  # As many as there are threads of the API that may ask at once, with room for the next of each.
CONFIG = {
    "connect_timeout": 3,  # Seconds.
    "read_timeout": 15,  # Seconds between two pieces, and for the word that a whole file has arrived.
    "retries": {"mode": "standard", "total_max_attempts": 3},
    "max_pool_connections": CONNECTIONS,
    "signature_version": "s3v4",
    # Checksums that are not demanded are refused by some S3-compatible servers.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}
# A worker that tidies builds nothing meanwhile, and what it cannot do now it does the next time: one attempt, and seconds.
TIDYING = CONFIG | {"connect_timeout": 2, "read_timeout": 5, "retries": {"mode": "standard", "total_max_attempts": 1}}
GONE = frozenset({"404", "NoSuchKey", "NotFound"})


class _TooLongError(Exception):
    """The bucket holds more than can be looked through at once."""


class S3Store:
    """A store in a bucket; workplaces are local."""

    answers_last = 60.0  # A minute: builds are polled every second, and seldom vanish.
    expire_every = 300.0  # Listing costs a request per thousand files.
    # Seconds after which `expire` looks at no further build until the next time: a worker that sweeps shows no sign of life meanwhile.
    tidying_seconds = 15.0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bucket, self._prefix = settings.s3_bucket, settings.s3_prefix
        self._public_url = settings.s3_public_url.rstrip("/") if settings.s3_public_url else None
        self._workplaces = Workplaces(settings.store_path)
        self._making = threading.Lock()
        self._clients: tuple[Any, Any] = (None, None)
        self._clients_pid = 0
        self._tidied = ""  # The name behind which `expire` goes on; empty for the beginning.

    def open(self) -> None:
        """See Store."""
        with _translated("it cannot be set up"):
            self._s3()

    def has(self, key: str) -> bool:
        """See Store."""
        if KEY.fullmatch(key) is None or (manifest := self._read_manifest(key)) is None:
            return False
        with _translated("it does not answer"):
            sizes = {found["Key"]: found["Size"] for found in self._objects(self._s3(), self._name(key, ""))}
        return all(sizes.get(self._name(key, file.name)) == file.size for file in manifest.files)

    def find(self, key: str, name: str) -> StoredFile | None:
        """See Store."""
        if KEY.fullmatch(key) is None or FILE_NAME.fullmatch(name) is None:
            return None
        manifest = self._read_manifest(key)
        url = f"{self._public_url}/{quote(self._name(key, name))}" if self._public_url else None
        return manifest.stored(name, url) if manifest else None

    def content(self, file: StoredFile, start: int, length: int) -> Content | None:
        """See Store."""
        if not length:
            return io.BytesIO()  # No range names nothing.
        part = {} if length == file.size else {"Range": f"bytes={start}-{start + length - 1}"}
        with _translated(f"{file.name} cannot be read"):
            answer = self._get(self._s3(), self._name(file.key, file.name), **part)
        if answer is None:
            return None
        body = S3Content(answer["Body"], file.name)
        if answer["ContentLength"] != length or (part and not answer.get("ContentRange", "").endswith(f"/{file.size}")):
            body.close()
            raise StoreFailed(reason=f"{file.name} is not what was published")
        return body

    def published_keys(self) -> Iterator[str]:
        """See Store."""
        with _translated("it cannot be looked through"):
            yield from (name for name, _ in self._groups(self._s3(), "") if KEY.fullmatch(name))

    def manifest(self, key: str) -> Manifest | None:
        """See Store."""
        return self._read_manifest(key) if KEY.fullmatch(key) else None

    def account(self, key: str) -> bytes | None:
        """See Store."""
        if KEY.fullmatch(key) is None:
            return None
        with _translated(f"{ACCOUNT} cannot be read"):
            answer = self._get(self._s3(), self._name(key, ACCOUNT))
            return bytes(answer["Body"].read()) if answer else None

    def workplace(self, key: str) -> Path:
        """See Store."""
        self._workplaces.open()
        return self._workplaces.new(key)

    def publish(self, key: str, directory: Path, lifetime: int, hashes: Mapping[str, str] = NO_HASHES) -> None:
        """See Store."""
        if KEY.fullmatch(key) is None:
            raise ValueError("a build is published under its key")
        with _translated("not published"):
            manifest = describe_build(key, directory, lifetime, hashes)
            self._remove(self._s3(), key)
            for file in manifest.files:
                with (directory / file.name).open("rb") as body:
                    # Whoever is sent to the bucket gets the headers that the API would send.
                    disposition = f'attachment; filename="{file.name}"'
                    self._put(self._name(key, file.name), body, "application/octet-stream", ContentDisposition=disposition)
            if (directory / ACCOUNT).exists():
                self._put(self._name(key, ACCOUNT), (directory / ACCOUNT).read_bytes(), "application/json")
            self._put(self._name(key, MANIFEST), manifest.to_json(), "application/json")

    def discard(self, directory: Path) -> None:
        """See Store."""
        self._workplaces.discard(directory)

    def expire(self, lifetimes: Lifetimes, is_known: Callable[[str], bool]) -> list[str]:
        """See Store.

        Most builds are known, and asking Redis costs less than reading a manifest. Files without a manifest were left by a publication that
        failed or is still under way. A pass that takes too long ends, and the next one goes on behind it; one that fails, too, lest a single
        object that cannot be removed keeps all that come after it.
        """
        self._workplaces.expire(lifetimes.workplaces)
        removed: list[str] = []
        end = time.monotonic() + self.tidying_seconds
        with _translated("old builds were not removed"):
            client = self._s3(is_tidying=True)
            for name, age in self._groups(client, self._tidied):
                self._tidied = name
                if KEY.fullmatch(name) and not is_known(name) and self._is_over(client, name, age, lifetimes):
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
                    ages[key] = _age(found)
        except _TooLongError:
            reason = f"it cannot be looked through within {self.tidying_seconds:g} s, so STORE_BUDGET_MB is not kept"
            raise StoreFailed(reason=reason) from None
        return [StoredBuild(key=key, bytes=sizes[key], idle=age) for key, age in ages.items()]

    def remove(self, key: str, grace: float) -> bool:
        """See Store."""
        with _translated("a build was not removed"):
            client = self._s3(is_tidying=True)
            manifest = self._read_manifest(key, client)
            if manifest is None or manifest.age > grace:
                self._remove(client, key)
                return True
        return False

    def usage(self) -> StoreUsage | None:
        """See Store."""
        builds: set[str] = set()
        size = 0
        try:
            for key, name, found in self._files_of_builds():
                builds.add(key)
                size += found["Size"] if FILE_NAME.fullmatch(name) else 0
        except _TooLongError:
            return None
        return StoreUsage(builds=len(builds), bytes=size)

    def reach(self) -> None:
        """See Store."""
        with _translated("the bucket does not answer"):
            self._s3().list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)

    def probe(self) -> None:
        """See Store. Each process leaves its object's name free for others."""
        self._workplaces.open()
        self._workplaces.probe()
        self.reach()
        name = f"{self._prefix}probe-{uuid.uuid4().hex}"
        with _translated("the bucket cannot be written"):
            self._put(name, b"asu", "application/octet-stream")
            self._s3().delete_object(Bucket=self._bucket, Key=name)

    def _is_over(self, client: Any, key: str, age: float, lifetimes: Lifetimes) -> bool:
        manifest = self._read_manifest(key, client)
        return manifest.is_over(lifetimes.grace) if manifest else age > lifetimes.workplaces

    def _name(self, key: str, name: str) -> str:
        return f"{self._prefix}{key}/{name}"

    def _read_manifest(self, key: str, client: Any = None) -> Manifest | None:
        with _translated("it does not answer"):
            answer = self._get(client or self._s3(), self._name(key, MANIFEST))
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
        self._s3().put_object(Bucket=self._bucket, Key=name, Body=body, ContentType=content_type, **options)

    def _objects(self, client: Any, prefix: str, after: str = "") -> Iterator[Any]:
        start = {"StartAfter": after} if after else {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix, **start):
            yield from page.get("Contents", ())

    def _files_of_builds(self) -> Iterator[tuple[str, str, Any]]:
        """Yield key, name and object of all that lies under keys; raises _TooLongError after the time that a worker may be silent."""
        end = time.monotonic() + self.tidying_seconds
        with _translated("it cannot be looked through"):
            for found in self._objects(self._s3(is_tidying=True), self._prefix):
                if time.monotonic() >= end:
                    raise _TooLongError
                key, _, name = str(found["Key"]).removeprefix(self._prefix).partition("/")
                if KEY.fullmatch(key):
                    yield key, name, found

    def _groups(self, client: Any, after: str) -> Iterator[tuple[str, float]]:
        """Yield the first parts of names behind `after`, most of them keys, and how many seconds ago the last object of each came."""

        def key_of(found: Any) -> str:
            return str(found["Key"]).removeprefix(self._prefix).partition("/")[0]

        # S3 lists in the order of names, in which "0" comes next to the slash: all that lies under a key comes before, no other key does.
        start = f"{self._prefix}{after}0" if after else ""
        for name, objects in groupby(self._objects(client, self._prefix, start), key_of):
            yield name, min(_age(found) for found in objects)

    def _remove(self, client: Any, key: str) -> None:
        """Take a build out of sight by its manifest, then remove its files; one by one, since not every server knows more."""
        client.delete_object(Bucket=self._bucket, Key=self._name(key, MANIFEST))
        for found in list(self._objects(client, self._name(key, ""))):
            client.delete_object(Bucket=self._bucket, Key=found["Key"])

    def _s3(self, *, is_tidying: bool = False) -> Any:
        """Return this process's client: a worker forks for each build, and two processes cannot share a connection."""
        with self._making:
            if self._clients_pid != os.getpid():
                self._clients = (self._new_client(CONFIG), self._new_client(TIDYING))
                self._clients_pid = os.getpid()
            return self._clients[is_tidying]

    def _new_client(self, config: Mapping[str, Any]) -> Any:
        settings = self._settings
        secrets = (settings.s3_access_key_id, settings.s3_secret_access_key)
        access_key_id, secret_access_key = (secret.get_secret_value() if secret else None for secret in secrets)
        return boto3.session.Session().client(
            "s3",
            endpoint_url=settings.s3_endpoint_url,
            region_name=settings.s3_region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            config=Config(**config),
        )


def _age(found: Any) -> float:
    """Return how many seconds ago an object came."""
    came = found["LastModified"]
    return float((type(came).now(came.tzinfo) - came).total_seconds())


class S3Content:
    """An object that is being read."""

    def __init__(self, body: Any, name: str) -> None:
        self._body, self._name = body, name

    def read(self, size: int, /) -> bytes:
        """See Content."""
        with _translated(f"{self._name} breaks off"):
            piece: bytes = self._body.read(size)
        return piece

    def close(self) -> None:
        """See Content."""
        self._body.close()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn whatever S3 or the disk says into StoreFailed; names are told, never messages, which may quote addresses and keys."""
    try:
        yield
    except ClientError as error:
        raise StoreFailed(reason=f"{what} (S3 says {error.response.get('Error', {}).get('Code', 'nothing')})") from error
    except (BotoCoreError, Boto3Error) as error:
        raise StoreFailed(reason=f"{what} ({type(error).__name__})") from error
    except ValueError as error:
        raise StoreFailed(reason=f"{what} ({type(error).__name__})") from error
    except OSError as error:
        raise StoreFailed(reason=f"{what} ({error.strerror})") from error
