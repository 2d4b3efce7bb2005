"""Where the files of a build are read from to be checked: a directory, or a server.

What is there may be hostile, so everything that is read has bounds and plain names.
"""

import asyncio
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urljoin, urlsplit

from typing_extensions import override

from asu import __version__
from asu.stores.manifest import ACCOUNT, KEY, MANIFEST
from asu.upstream.http_client import WebAnswer, WebClient, WebError, WebPrivateError

from .envelope import PROVENANCE_FILE

MAX_PROVENANCE = 4 * 1024 * 1024  # Bytes; a build with a thousand packages has a quarter of a MiB.
MAX_FILE = 4096 * 1024 * 1024  # Bytes; the default limit of a whole build (MAX_OUTPUT_MB).
# An image of 100 MB over a line of 1 Mbit/s takes a quarter of an hour.
PROVENANCE_SECONDS, FILE_SECONDS = 30, 3600
REDIRECTS = 3  # From a server to the bucket of its images is one.
NO_ADDRESS = "this is not an address, or leads to something that is none"
MOVED = frozenset({301, 302, 303, 307, 308})


class SourceError(Exception):
    """The files cannot be read; the message says why, for people."""


class Source(Protocol):
    """The files of one build; `key` is the build's key in the name of the place, else empty."""

    key: str

    def provenance(self) -> bytes:
        """Return the provenance as it stands there; raises SourceError."""

    def sha256(self, name: str) -> str | None:
        """Return the SHA-256 of a file in hex, None without the file; raises SourceError."""

    def names(self) -> frozenset[str]:
        """Return the names of the files beside the provenance; raises SourceError."""
        return frozenset()  # A server lists nothing.


def open_source(place: str) -> Source:
    """Return the source at a URL or path, of a provenance or its directory; raises SourceError."""
    try:
        if urlsplit(place).scheme in {"http", "https"}:
            return WebSource(place)
        return DirectorySource(Path(place))
    except ValueError as error:
        raise SourceError(f"{place}: {NO_ADDRESS}") from error


class DirectorySource(Source):
    """Files that lie on this machine."""

    def __init__(self, path: Path) -> None:
        self._file = path / PROVENANCE_FILE if path.is_dir() else path
        self.key = _key(self._file.resolve().parent.name)

    @override
    def provenance(self) -> bytes:
        try:
            with self._file.open("rb") as file:
                document = file.read(MAX_PROVENANCE + 1)
        except OSError as error:
            raise SourceError(f"{self._file}: {error.strerror}") from error
        if len(document) > MAX_PROVENANCE:
            raise SourceError(f"{self._file}: larger than any provenance")
        return document

    @override
    def sha256(self, name: str) -> str | None:
        path = self._file.parent / name
        return file_sha256(path) if path.is_file() else None

    @override
    def names(self) -> frozenset[str]:
        try:
            beside = list(self._file.parent.iterdir())
        except OSError as error:
            raise SourceError(f"{self._file.parent}: {error.strerror}") from error
        found = {path.name for path in beside if path.is_symlink() or not path.is_dir()}
        # Without the two files of a store's own, which no server serves.
        return frozenset(found - {self._file.name, MANIFEST, ACCOUNT})


class WebSource(Source):
    """Files on a server, such as https://HOST/store/KEY/; raises ValueError for a wrong address."""

    def __init__(self, url: str) -> None:
        directory = url.removesuffix(f"/{PROVENANCE_FILE}").rstrip("/")
        self._url = _address(f"{directory}/{PROVENANCE_FILE}")
        self.key = _key(urlsplit(self._url).path.split("/")[-2])

    @override
    def provenance(self) -> bytes:
        with io.BytesIO() as buffer:
            if not self._fetch(self._url, buffer.write, MAX_PROVENANCE, PROVENANCE_SECONDS):
                raise SourceError(f"{self._url}: there is no provenance")
            return buffer.getvalue()

    @override
    def sha256(self, name: str) -> str | None:
        digest = hashlib.sha256()
        found = self._fetch(urljoin(self._url, quote(name)), digest.update, MAX_FILE, FILE_SECONDS)
        return digest.hexdigest() if found else None

    def _fetch(
        self, url: str, take: Callable[[bytes], object], max_bytes: int, seconds: int
    ) -> bool:
        """Pass a file to `take` in pieces; return False if there is none."""
        try:
            answer = asyncio.run(_download(url, take, max_bytes=max_bytes, seconds=seconds))
        except ValueError as error:  # The given address is wrong, or one of a redirect.
            raise SourceError(f"{url}: {NO_ADDRESS}") from error
        if answer.status in {404, 410}:
            return False
        if answer.status != 200:  # noqa: PLR2004
            raise SourceError(f"{url}: the server answers {answer.status}")
        return True


async def _download(
    url: str, take: Callable[[bytes], object], *, max_bytes: int, seconds: int
) -> WebAnswer:
    """Fetch a file and follow redirects, but never from https to plain http.

    The address that the user named may be private. An address in a redirect may not: a server could
    make us ask machines that it cannot reach itself.
    """
    agent = f"asu/{__version__}"
    async with WebClient(user_agent=agent, private_urls=[url], trusts_local_names=False) as client:
        for _ in range(REDIRECTS + 1):
            try:
                answer = await client.download(url, take, max_bytes=max_bytes, deadline=seconds)
            except WebPrivateError as error:
                advice = "download the files and name their directory"
                reason = f"{error}, and a server may not send us there; {advice}"
                raise SourceError(f"{url}: {reason}") from error
            except WebError as error:
                raise SourceError(f"{url}: {error}") from error
            if answer.status not in MOVED:
                return answer
            further = urljoin(url, answer.headers.get("location", ""))
            schemes = {"https"} if urlsplit(url).scheme == "https" else {"http", "https"}
            if urlsplit(further).scheme not in schemes:
                raise SourceError(f"{url}: the server redirects to an address that is not allowed")
            url = _address(further)
    raise SourceError(f"{url}: the server redirects too often")


def _address(url: str) -> str:
    """Return an address; raises ValueError if its port is impossible."""
    if urlsplit(url).port == 0:
        raise ValueError("there is no port 0")
    return url


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; raises SourceError."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error


def _key(name: str) -> str:
    return name if KEY.fullmatch(name) else ""
