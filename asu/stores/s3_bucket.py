"""A bucket of an S3-compatible server; the only module that knows boto3."""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from asu.disk_space import disk_error
from asu.errors import StoreFailed
from asu.settings import Settings

# As many as there are threads of the API that may ask at once, with room for the next of each.
CONNECTIONS = 64
PATIENT: Mapping[str, Any] = {
    "connect_timeout": 3,  # Seconds.
    # Seconds between two pieces, and for the answer that a whole file has arrived.
    "read_timeout": 15,
    "retries": {"mode": "standard", "total_max_attempts": 3},
    "max_pool_connections": CONNECTIONS,
    "signature_version": "s3v4",
    # Some S3-compatible servers refuse checksums that they do not ask for.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}
# A worker that tidies builds nothing meanwhile, and can do the rest the next time: one attempt.
HASTY: Mapping[str, Any] = {
    **PATIENT,
    "connect_timeout": 2,
    "read_timeout": 5,
    "retries": {"mode": "standard", "total_max_attempts": 1},
}
GONE = frozenset({"404", "NoSuchKey", "NotFound"})


class Bucket:
    """The objects of one bucket. What its methods raise becomes StoreFailed within `translated`."""

    def __init__(self, settings: Settings, config: Mapping[str, Any]) -> None:
        self._settings, self._config = settings, config
        self._name = settings.s3_bucket
        self._making = threading.Lock()
        self._client: Any = None
        self._pid = 0

    def open(self) -> Any:
        """Return boto3's client of this process: a worker forks, and cannot share connections."""
        with self._making:
            if self._pid != os.getpid():
                self._client = self._new_client()
                self._pid = os.getpid()
            return self._client

    def get(self, name: str, **options: str) -> Any:
        """Return boto3's answer with an object; None if there is no such object."""
        try:
            return self.open().get_object(Bucket=self._name, Key=name, **options)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in GONE:
                return None
            raise

    def put(self, name: str, body: Any, content_type: str, **options: str) -> None:
        """Write an object; `body` is bytes or an open file."""
        self.open().put_object(
            Bucket=self._name, Key=name, Body=body, ContentType=content_type, **options
        )

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects, there or not; one by one, since not every server knows more."""
        for name in names:
            self.open().delete_object(Bucket=self._name, Key=name)

    def objects(self, prefix: str, after: str = "") -> Iterator[Any]:
        """Yield objects (`Key`, `Size`, `LastModified`) by name, from behind `after` on."""
        start = {"StartAfter": after} if after else {}
        pages = self.open().get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._name, Prefix=prefix, **start):
            yield from page.get("Contents", ())

    def groups(self, prefix: str, after: str = "") -> Iterator[tuple[str, float]]:
        """Yield the first part of each name below a prefix, and the age of its newest object."""

        def first_part(found: Any) -> str:
            return str(found["Key"]).removeprefix(prefix).partition("/")[0]

        # S3 lists in the order of names, in which "0" comes next to the slash: all objects below a
        # part come before it, and those below the next one after it.
        start = f"{prefix}{after}0" if after else ""
        for name, objects in groupby(self.objects(prefix, start), first_part):
            yield name, min(age_of(found) for found in objects)

    def reach(self, prefix: str) -> None:
        """Ask for one object's name."""
        self.open().list_objects_v2(Bucket=self._name, Prefix=prefix, MaxKeys=1)

    def _new_client(self) -> Any:
        settings = self._settings
        key_id, key = settings.s3_access_key_id, settings.s3_secret_access_key
        return boto3.session.Session().client(
            "s3",
            endpoint_url=settings.s3_endpoint_url,
            region_name=settings.s3_region,
            aws_access_key_id=key_id.get_secret_value() if key_id else None,
            aws_secret_access_key=key.get_secret_value() if key else None,
            config=Config(**self._config),
        )


class S3Content:
    """An object that is being read."""

    def __init__(self, body: Any, name: str) -> None:
        self._body, self._name = body, name

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; raises StoreFailed."""
        with translated(f"{self._name} breaks off"):
            piece: bytes = self._body.read(size)
        return piece

    def close(self) -> None:
        """Give the connection back."""
        self._body.close()


def age_of(found: Any) -> float:
    """Return how many seconds ago a listed object was written."""
    return float((datetime.now(UTC) - found["LastModified"]).total_seconds())


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn errors of S3 or the disk into StoreFailed.

    Only names of errors are shown: their messages may quote addresses and keys.
    """
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "nothing")
        raise StoreFailed(reason=f"{what} (S3 says {code})") from error
    except (BotoCoreError, Boto3Error, ValueError) as error:
        raise StoreFailed(reason=f"{what} ({type(error).__name__})") from error
    except OSError as error:
        raise disk_error(error, what) from error
