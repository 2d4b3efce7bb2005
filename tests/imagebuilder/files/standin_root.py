"""The root file system that packages are unpacked into, and the list of which file belongs to which
package.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Archive:
    """An opened ipk or apk: its data, and its post-install script if it has one."""

    data: bytes
    postinst: bytes | None

    @classmethod
    def read(cls, content: bytes) -> Archive:
        """Open the archive; the layout is the one of ipk for both kinds."""
        postinst, data = None, b""
        with tarfile.open(fileobj=io.BytesIO(content)) as outer:
            for member in outer:
                stream = outer.extractfile(member)
                if stream is None:
                    continue
                if member.name.endswith("data.tar.gz"):
                    data = stream.read()
                elif member.name.endswith("control.tar.gz"):
                    with tarfile.open(fileobj=io.BytesIO(stream.read())) as control:
                        scripts = [
                            name
                            for name in control.getnames()
                            if name.rsplit("/", 1)[-1] in {"postinst", "post-install"}
                        ]
                        found = control.extractfile(scripts[0]) if scripts else None
                        postinst = found.read() if found else None
        return cls(data, postinst)


class FileClash(Exception):
    """Package `owner` has a file already that another one wants to install."""

    def __init__(self, path: str, owner: str) -> None:
        super().__init__(path)
        self.path, self.owner = path, owner


class Root:
    """A root file system whose files have owners."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.owners: dict[str, str] = {}

    def unpack(self, owner: str, archive: Archive) -> list[str]:
        """Unpack the data of a package; return its files. Nothing is written when one belongs to
        another package.
        """
        with tarfile.open(fileobj=io.BytesIO(archive.data)) as data:
            members = [(member, member.name.removeprefix("./").strip("/")) for member in data]
            files = [name for member, name in members if not member.isdir() and name != "."]
            for name in files:
                if self.owners.get(name, owner) != owner:
                    raise FileClash(name, self.owners[name])
            for member, name in members:
                if name and name != "." and ".." not in name.split("/"):
                    self._write(data, member, self.directory / name)
        self.owners.update(dict.fromkeys(files, owner))
        return files

    @staticmethod
    def _write(data: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if member.issym():
            path.symlink_to(member.linkname)
            return
        stream = data.extractfile(member)
        path.write_bytes(stream.read() if stream else b"")
        path.chmod(member.mode)
