"""The manifest of a build, read for each download; what a record is made of lies in ACCOUNT.

    {"version": 1, "key": "…", "published": "2026-03-01T12:00:00+00:00",
     "expires": "2026-03-02T12:00:00+00:00",
     "files": [{"name": "…", "size": 7340032, "sha256": "…"}, …]}

In a bucket it also names its `publication`, 32 hex digits below which the files lie.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

KEY = re.compile(r"[0-9a-f]{64}")
# Names as the ImageBuilder makes them. A leading dot would hide a file, a slash would leave the
# directory.
FILE_NAME = re.compile(r"[A-Za-z0-9_+%~-][A-Za-z0-9_.+%~-]{0,254}")
# Neither the gateway nor a store serves a name with a leading dot.
MANIFEST, ACCOUNT = ".asu-build.json", ".asu-record.json"
VERSION = 1
PUBLICATION = re.compile(r"([0-9a-f]{32})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A published file of a build: its name, its size in bytes, and what HTTP says about it."""

    key: str
    name: str
    size: int
    etag: str  # A strong validator without its quotes.
    modified: int  # Seconds since 1970.
    url: str | None = None  # Where clients fetch it; None for the API.
    publication: str = ""  # The manifest's.


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """One file of a build: its name, its size in bytes, its SHA-256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What was published under a key, when, and until when it is wanted; times are in UTC."""

    key: str
    published: datetime
    expires: datetime
    files: tuple[PublishedFile, ...]
    publication: str = ""

    def is_over(self, grace: float) -> bool:
        """Whether the build's life ended more than `grace` seconds ago."""
        return datetime.now(UTC) > self.expires + timedelta(seconds=grace)

    @property
    def age(self) -> float:
        """For how many seconds the build has been published."""
        return (datetime.now(UTC) - self.published).total_seconds()

    def stored(self, name: str, url: str | None = None) -> StoredFile | None:
        """Return one of the files as it is served; None for names that were not published."""
        for file in self.files:
            if file.name == name and FILE_NAME.fullmatch(name):
                return StoredFile(
                    key=self.key,
                    name=name,
                    size=file.size,
                    etag=file.sha256,
                    modified=int(self.published.timestamp()),
                    url=url,
                    publication=self.publication,
                )
        return None

    def to_json(self) -> bytes:
        """Return the document."""
        document = {
            "version": VERSION,
            "key": self.key,
            "published": self.published.isoformat(),
            "expires": self.expires.isoformat(),
            "files": [asdict(file) for file in self.files],
        }
        if self.publication:
            document["publication"] = self.publication
        return json.dumps(document).encode()


@lru_cache(maxsize=1024)  # Parsing takes most of the time that a poll of a finished build costs.
def read_manifest(document: bytes, key: str) -> Manifest | None:
    """Read the manifest of a build; None if it is damaged, or of another version or build."""
    try:
        values = json.loads(document)
        if values["version"] != VERSION or values["key"] != key:
            return None
        manifest = Manifest(
            key=key,
            published=datetime.fromisoformat(values["published"]).astimezone(UTC),
            expires=datetime.fromisoformat(values["expires"]).astimezone(UTC),
            files=tuple(map(_file, values["files"])),
            publication=str(values.get("publication", "")),
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    return manifest if PUBLICATION.fullmatch(manifest.publication) else None


def _file(value: Mapping[str, Any]) -> PublishedFile:
    name, size, sha256 = str(value["name"]), int(value["size"]), str(value["sha256"])
    return PublishedFile(name=name, size=size, sha256=sha256)


def is_of_another_release(document: bytes) -> bool:
    """Whether a document is a whole manifest of another version, of which we know nothing."""
    try:
        return bool(json.loads(document)["version"] != VERSION)
    except (ValueError, KeyError, TypeError):
        return False


def describe_build(key: str, directory: Path, lifetime: int, hashes: Mapping[str, str]) -> Manifest:
    """Return the manifest of files published now for `lifetime` seconds; raises OSError."""
    now, files = datetime.now(UTC), published_files(directory, hashes)
    end = now + timedelta(seconds=lifetime)
    return Manifest(key=key, published=now, expires=end, files=files)


def published_files(directory: Path, hashes: Mapping[str, str]) -> tuple[PublishedFile, ...]:
    """Return the files of a directory that belong to a build: regular ones with plain names.

    Files that `hashes` names (name → SHA-256 of what is served) are not read. Raises OSError.
    """
    files = []
    for path in sorted(directory.iterdir()):
        if FILE_NAME.fullmatch(path.name) and not path.is_symlink() and path.is_file():
            sha256 = hashes.get(path.name) or _digest(path)
            files.append(PublishedFile(name=path.name, size=path.stat().st_size, sha256=sha256))
    return tuple(files)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
