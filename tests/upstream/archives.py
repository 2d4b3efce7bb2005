"""Package files: a gzip'd tar of debian-binary, control.tar.gz and data.tar.gz, made byte for byte
the same every time.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
import zlib
from typing import Final

from .packages import Package

# Thousands of tiny archives are made; a better level would save bytes that the file system rounds
# up anyway.
FAST: Final = 1
STORED: Final = 0
# Beyond this, compressing the outer archive, whose members are compressed, only costs time.
LARGE_BYTES: Final = 2**20
# No name, no time: equal input, equal bytes.
GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
BLOCK: Final = 512
LICENSE: Final = "GPL-2.0-only"


def gzip_bytes(data: bytes, level: int) -> bytes:
    """Compress `data` without a time stamp."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = compressor.compress(data) + compressor.flush()
    return (
        GZIP_HEADER
        + body
        + zlib.crc32(data).to_bytes(4, "little")
        + (len(data) % 2**32).to_bytes(4, "little")
    )


def tar_bytes(members: list[tuple[str, bytes | None, int]]) -> bytes:
    """Return a tar of (name, content, mode); a content of None is a directory."""
    out = io.BytesIO()
    for name, content, mode in members:
        info = tarfile.TarInfo(name)
        info.mode, info.uname, info.gname = mode, "root", "root"
        info.type, info.size = (
            (tarfile.DIRTYPE, 0) if content is None else (tarfile.REGTYPE, len(content))
        )
        out.write(info.tobuf(tarfile.USTAR_FORMAT))
        if content:
            out.write(content)
            out.write(bytes(-len(content) % BLOCK))
    out.write(bytes(2 * BLOCK))
    return out.getvalue()


def control_fields(package: Package) -> dict[str, str]:
    """Return the fields of the control file, in the order in which an index has them."""
    fields = {
        "Package": package.name,
        "Version": package.version,
        "Depends": ", ".join(package.depends),
        "Conflicts": ", ".join(package.conflicts),
        "Provides": ", ".join(package.provides),
        "License": LICENSE,
        "Section": package.section,
        "ABIVersion": package.abi_version,
        "Architecture": package.arch,
        "Installed-Size": str(sum(len(file.content) for file in package.files)),
    }
    return {key: value for key, value in fields.items() if value}


def stanza_text(fields: dict[str, str]) -> str:
    """Return one RFC 822 stanza, without the empty line that follows it in an index."""
    return "".join(f"{key}: {value}\n" for key, value in fields.items())


def archive_bytes(package: Package) -> bytes:
    """Return the bytes of the package file; ipk and apk share one layout here."""
    control = stanza_text({**control_fields(package), "Description": package.description}).encode()
    scripts = [("./postinst", package.postinst.encode(), 0o755)] if package.postinst else []
    members: list[tuple[str, bytes | None, int]] = [
        ("./debian-binary", b"2.0\n", 0o644),
        ("./data.tar.gz", gzip_bytes(tar_bytes(_data_members(package)), FAST), 0o644),
        (
            "./control.tar.gz",
            gzip_bytes(
                tar_bytes([("./", None, 0o755), ("./control", control, 0o644), *scripts]), FAST
            ),
            0o644,
        ),
    ]
    outer = tar_bytes(members)
    return gzip_bytes(outer, STORED if len(outer) > LARGE_BYTES else FAST)


def _data_members(package: Package) -> list[tuple[str, bytes | None, int]]:
    directories = set()
    for file in package.files:
        parent = posixpath.dirname(file.path)
        while parent not in directories and parent != "/":
            directories.add(parent)
            parent = posixpath.dirname(parent)
    members: list[tuple[str, bytes | None, int]] = [("./", None, 0o755)]
    members += [(f".{path}/", None, 0o755) for path in sorted(directories)]
    members += [(f".{file.path}", file.content, file.mode) for file in package.files]
    return members
