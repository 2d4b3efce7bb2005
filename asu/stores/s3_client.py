"""The connections of one process to a bucket, and what they say in our words; with `s3`, the only place that knows boto3."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from asu.errors import StoreFailed
from asu.settings import Settings

# As many as there are threads of the API that may ask at once, with room for the next of each.
CONNECTIONS = 64
CONFIG = {
    "connect_timeout": 3,  # Seconds.
    # Seconds between two pieces, and for the word that a whole file has arrived.
    "read_timeout": 15,
    "retries": {"mode": "standard", "total_max_attempts": 3},
    "max_pool_connections": CONNECTIONS,
    "signature_version": "s3v4",
    # Checksums that are not demanded are refused by some S3-compatible servers.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}
# A worker that tidies builds nothing meanwhile, and what it cannot do now it does the next time:
# one attempt, and seconds.
TIDYING = CONFIG | {
    "connect_timeout": 2,
    "read_timeout": 5,
    "retries": {"mode": "standard", "total_max_attempts": 1},
}


class Clients:
    """boto3's clients, one pair for each process: a worker forks for each build, and two processes cannot share a connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._making = threading.Lock()
        self._clients: tuple[Any, Any] = (None, None)
        self._pid = 0

    def get(self, *, is_tidying: bool = False) -> Any:
        """Return this process's client, with the patience of one who tidies or of all others. Must be translated."""
        with self._making:
            if self._pid != os.getpid():
                self._clients = (self._new(CONFIG), self._new(TIDYING))
                self._pid = os.getpid()
            return self._clients[is_tidying]

    def _new(self, config: Mapping[str, Any]) -> Any:
        settings = self._settings
        secrets = (settings.s3_access_key_id, settings.s3_secret_access_key)
        access_key_id, secret_access_key = (
            secret.get_secret_value() if secret else None for secret in secrets
        )
        return boto3.session.Session().client(
            "s3",
            endpoint_url=settings.s3_endpoint_url,
            region_name=settings.s3_region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            config=Config(**config),
        )


class S3Content:
    """An object that is being read."""

    def __init__(self, body: Any, name: str) -> None:
        self._body, self._name = body, name

    def read(self, size: int, /) -> bytes:
        """See Content."""
        with translated(f"{self._name} breaks off"):
            piece: bytes = self._body.read(size)
        return piece

    def close(self) -> None:
        """See Content."""
        self._body.close()


def age_of(found: Any) -> float:
    """Return how many seconds ago a listed object came."""
    came = found["LastModified"]
    return float((type(came).now(came.tzinfo) - came).total_seconds())


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn whatever S3 or the disk says into StoreFailed; names are told, never messages, which may quote addresses and keys."""
    try:
        yield
    except ClientError as error:
        raise StoreFailed(
            reason=f"{what} (S3 says {error.response.get('Error', {}).get('Code', 'nothing')})"
        ) from error
    except (BotoCoreError, Boto3Error) as error:
        raise StoreFailed(reason=f"{what} ({type(error).__name__})") from error
    except ValueError as error:
        raise StoreFailed(reason=f"{what} ({type(error).__name__})") from error
    except OSError as error:
        raise StoreFailed(reason=f"{what} ({error.strerror})") from error
