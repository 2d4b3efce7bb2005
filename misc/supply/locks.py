"""Reads the locks: what is installed, in which version, and which files of it are allowed."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Both services, and what a developer needs on top of both.
SERVICES = {
    "asu": ROOT / "requirements.lock",
    "asu-prepare": ROOT / "asu-prepare/requirements.lock",
}
LOCKS = (*SERVICES.values(), ROOT / "requirements-dev.lock")

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+))?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A locked package with the SHA-256 of its files; `marker` says where it is needed."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def read_lock(text: str) -> list[Requirement]:
    """Read a lock; raises ValueError for a line that pins nothing, such as an option."""
    found = []
    logical = re.sub(r"\s*\\\n\s*", " ", text)
    for line in logical.splitlines():
        stated = line.partition("#")[0].strip()
        if not stated:
            continue
        pin, *hashes = re.split(r"\s+(?=--hash=)", stated)
        requirement = _REQUIREMENT.fullmatch(pin)
        digests = [_HASH.fullmatch(one) for one in hashes]
        if requirement is None or not digests or not all(digests):
            raise ValueError(f"this line of a lock pins nothing, or not by hash: {stated[:80]}")
        found.append(
            Requirement(
                name=requirement["name"],
                version=requirement["version"],
                marker=requirement["marker"] or "",
                hashes=tuple(digest[1] for digest in digests if digest),
            )
        )
    return found
