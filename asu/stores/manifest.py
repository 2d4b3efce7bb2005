"""What lies with a build's files: which they are, and when its life ends; one format for every store.

The document is small JSON. With the files it says all that must be known to serve a build; what a
record is made of lies in a document of its own (`build_account`), since this one is read for each
download:

    {"version": 1, "key": "…", "published": "2026-03-01T12:00:00+00:00", "expires":
    "2026-03-02T12:00:00+00:00",
     "files": [{"name": "…", "size": 7340032, "sha256": "…"}, …]}

In a bucket it names its `publication` as well, 32 hex digits below which the files lie.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .store import FILE_NAME, StoredFile

MANIFEST = ".asu-build.json"  # Neither the gateway nor a store serves a name with a leading dot.
VERSION = 1
PUBLICATION = re.compile(r"([0-9a-f]{32})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """One file of a build: its name, its size in bytes, its SHA-256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What was published under a key, when, and until when it is wanted; times are in UTC.

    `publication` tells apart the files of two publications of one build where they cannot lie under
    the same name; empty where they may.
    """

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
                modified = int(self.published.timestamp())
                return StoredFile(
                    key=self.key,
                    name=name,
                    size=file.size,
                    etag=file.sha256,
                    modified=modified,
                    url=url,
                    publication=self.publication,
                )
        return None

    def to_json(self) -> bytes:
        """Return the document."""
        files = [
            {"name": file.name, "size": file.size, "sha256": file.sha256} for file in self.files
        ]
        times = {"published": self.published.isoformat(), "expires": self.expires.isoformat()}
        publication = {"publication": self.publication} if self.publication else {}
        return json.dumps(
            {"version": VERSION, "key": self.key, **publication, **times, "files": files}
        ).encode()


def read_manifest(document: bytes, key: str) -> Manifest | None:
    """Read the document of a build; None for one that is damaged, of another version or of another build."""
    try:
        values = json.loads(document)
        if values["version"] != VERSION or values["key"] != key:
            return None
        published, expires = (
            datetime.fromisoformat(values[name]).astimezone(UTC)
            for name in ("published", "expires")
        )
        files = tuple(
            PublishedFile(
                name=str(file["name"]), size=int(file["size"]), sha256=str(file["sha256"])
            )
            for file in values["files"]
        )
        publication = str(values.get("publication", ""))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    if PUBLICATION.fullmatch(publication) is None:
        return None
    return Manifest(
        key=key, published=published, expires=expires, files=files, publication=publication
    )


def is_of_another_release(document: bytes) -> bool:
    """Whether a document is a manifest of another version, of which we know nothing; what was cut off or never written is none."""
    try:
        return bool(json.loads(document)["version"] != VERSION)
    except (ValueError, KeyError, TypeError):
        return False


def describe_build(key: str, directory: Path, lifetime: int, hashes: Mapping[str, str]) -> Manifest:
    """Return the manifest of the files in a directory, published now for `lifetime` seconds; raises as `published_files`."""
    now = datetime.now(UTC)
    return Manifest(
        key=key,
        published=now,
        expires=now + timedelta(seconds=lifetime),
        files=published_files(directory, hashes),
    )


def published_files(directory: Path, hashes: Mapping[str, str]) -> tuple[PublishedFile, ...]:
    """Return those files of a directory that belong to a build, regular ones with plain names; raises OSError.

    What `hashes` names (name → SHA-256) is not read again. Hashes from before the signing are none
    of these: what counts is what is served.
    """
    found = sorted(
        path
        for path in directory.iterdir()
        if FILE_NAME.fullmatch(path.name) and not path.is_symlink() and path.is_file()
    )
    return tuple(
        PublishedFile(
            name=path.name, size=path.stat().st_size, sha256=hashes.get(path.name) or _digest(path)
        )
        for path in found
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
