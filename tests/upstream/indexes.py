"""Feed indexes: Packages, Packages.gz and Packages.sig, packages.adb, and index.json in its two
versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .adb import Entry, adb_bytes
from .archives import control_fields, gzip_bytes, stanza_text
from .packages import Package

BEST: Final = 9
LOCAL_ONLY: Final = frozenset({"kernel", "libc"})  # OpenWrt's opkg index leaves these two out.


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A package together with the facts of its file."""

    package: Package
    size: int
    sha256: str


def stanza(built: Built) -> str:
    """Return the index entry of a package."""
    package = built.package
    facts = {
        "Filename": package.filename,
        "Size": str(built.size),
        "SHA256sum": _checksum(built),
        "Description": package.description,
    }
    return stanza_text({**control_fields(package), **facts})


def _checksum(built: Built) -> str:
    name, trouble = built.package.name, built.package.trouble
    return (
        hashlib.sha256(f"not {name}".encode()).hexdigest() if trouble == "badsum" else built.sha256
    )


def adb_entry(built: Built) -> Entry:
    """Return the entry of apk's index; versions stand behind a sign there, and conflicts are
    dependencies.
    """
    package = built.package
    depends = [_without_brackets(need) for need in package.depends]
    provides = [_without_brackets(name) for name in package.provides]
    if package.abi_version:
        provides.append(f"{package.name}={package.version}")
    return Entry(
        name=package.name,
        version=package.version,
        hashes=bytes.fromhex(_checksum(built)),
        description=package.description,
        arch=package.arch,
        installed_size=sum(len(file.content) for file in package.files),
        size=built.size,
        priority=package.priority,
        depends=(*depends, *(f"!{name}" for name in package.conflicts)),
        provides=(*provides, f"{package.plain_name}-any"),
        tags=(f"openwrt:abiversion={package.abi_version}",) if package.abi_version else (),
    )


def _without_brackets(need: str) -> str:
    return need.replace(" (", "").replace(" ", "").replace(")", "")


def index_files(packages: Iterable[Built], *, apk: bool, key: str = "") -> dict[str, bytes]:
    """Return the index files that a package manager reads, by name; signed by OpenWrt's key unless
    another is named.
    """
    if apk:
        entries = [adb_entry(built) for built in packages]
        return {"packages.adb": adb_bytes(entries, signature=key.encode())}
    plain = "\n".join(stanza(built) for built in packages).encode()
    signature = f"stand-in sha256 {hashlib.sha256(plain).hexdigest()} {key}".rstrip() + "\n"
    return {
        "Packages": plain,
        "Packages.gz": gzip_bytes(plain, BEST),
        "Packages.sig": signature.encode(),
    }


def index_json(packages: Iterable[Built], arch: str, version: int) -> bytes:
    """Return index.json: ABI suffixes stay in the names of version 1, and version 1 does not name
    itself.
    """
    if version == 1:
        content: dict[str, Any] = {
            "architecture": arch,
            "packages": {built.package.name: built.package.version for built in packages},
        }
    else:
        named = {built.package.plain_name: built.package.version for built in packages}
        content = {"version": version, "architecture": arch, "packages": named}
    return f"{json.dumps(content)}\n".encode()


def parse_stanzas(text: str) -> list[Mapping[str, str]]:
    """Read `Packages` or a control file back; lines that go on with a blank are joined."""
    stanzas: list[Mapping[str, str]] = []
    fields: dict[str, str] = {}
    key = ""
    for line in [*text.splitlines(), ""]:
        if line[:1].isspace() and key:
            fields[key] += f"\n{line}"
        elif ": " in line:
            key, _, value = line.partition(": ")
            fields[key] = value
        elif not line and fields:
            stanzas.append(fields)
            fields, key = {}, ""
    return stanzas
