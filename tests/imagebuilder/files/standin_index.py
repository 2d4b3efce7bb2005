"""Package indexes: stanzas, versions, dependencies, and the index of the builder's own packages.

Run as `python3 -m scripts.standin_index PACKAGE_DIR opkg|apk` it writes that last one.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

ADB_FIRST_LINE = "# stand-in for an apk v3 index (ADB): the same stanzas as an opkg Packages file"
_DEPENDENCY = re.compile(
    r"^(?P<name>!?[^\s()<>=~]+)\s*(?:\(?\s*(?P<op>>=|<=|>>|<<|=|>|<|~)\s*(?P<version>[^\s()]+)\s*\)?)?$"
)


@dataclass(frozen=True)
class Dependency:
    """A name that is needed, perhaps only in some versions."""

    name: str
    op: str = ""
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Dependency:
        """Read `curl`, `curl (>= 99.0)` or `curl>=99.0`."""
        match = _DEPENDENCY.match(text.strip())
        if not match:
            return cls(text.strip())
        return cls(match["name"], match["op"] or "", match["version"] or "")

    def accepts(self, version: str) -> bool:
        """Whether this version of the package will do."""
        if not self.op:
            return True
        if self.op == "~":
            return version.startswith(self.version)
        order = compare_versions(version, self.version)
        return {"=": order == 0, ">=": order >= 0, "<=": order <= 0}.get(
            self.op, order > 0 if self.op.startswith(">") else order < 0
        )

    def alternatives(self) -> list[Dependency]:
        """Return the choices of `a | b`; itself if there is no choice."""
        return (
            [Dependency.parse(part) for part in self.name.split("|")]
            if "|" in self.name
            else [self]
        )

    def opkg(self) -> str:
        """Write it as opkg does."""
        return f"{self.name} ({self.op} {self.version})" if self.op else self.name

    def apk(self) -> str:
        """Write it as apk does."""
        return f"{self.name}{self.op}{self.version}"


@dataclass(frozen=True)
class Package:
    """One stanza of an index, and where its archive lies."""

    name: str
    version: str
    fields: dict[str, str] = field(repr=False)
    base_url: str = ""
    feed: str = ""

    @functools.cached_property
    def depends(self) -> tuple[Dependency, ...]:
        """What must be there as well."""
        return self._dependencies("Depends")

    @functools.cached_property
    def conflicts(self) -> tuple[Dependency, ...]:
        """What must not be there."""
        return self._dependencies("Conflicts")

    @functools.cached_property
    def provides(self) -> tuple[Dependency, ...]:
        """Other names that this package answers to."""
        return self._dependencies("Provides")

    @property
    def identity(self) -> str:
        """Name and version in apk's manner."""
        return f"{self.name}-{self.version}"

    @property
    def url(self) -> str:
        """Where the archive is."""
        return f"{self.base_url}/{self.fields.get('Filename', '').removeprefix('./')}"

    def plain_name(self) -> str:
        """Return the name without the ABI version at its end, as STRIP_ABI=1 prints it."""
        return self.name.removesuffix(self.fields.get("ABIVersion") or "\n")

    def satisfies(self, dependency: Dependency) -> bool:
        """Whether this package is, or provides, what is needed; apk takes a name without version
        for any.
        """
        if self.name == dependency.name:
            return dependency.accepts(self.version)
        return any(
            provided.name == dependency.name
            and (not provided.version or dependency.accepts(provided.version))
            for provided in self.provides
        )

    def satisfies_opkg(self, dependency: Dependency) -> bool:
        """Say the same for opkg, which knows the version of the package only, and choices."""
        names = {self.name, *(provided.name for provided in self.provides)}
        return any(
            one.name in names and one.accepts(self.version) for one in dependency.alternatives()
        )

    def _dependencies(self, key: str) -> tuple[Dependency, ...]:
        return tuple(
            Dependency.parse(word) for word in self.fields.get(key, "").split(",") if word.strip()
        )


def packages_of(stanzas: list[dict[str, str]], base_url: str, feed: str = "") -> list[Package]:
    """Return the packages that these stanzas describe."""
    return [
        Package(fields["Package"], fields.get("Version", ""), fields, base_url, feed)
        for fields in stanzas
        if "Package" in fields
    ]


def parse_stanzas(text: str, base_url: str = "", feed: str = "") -> list[Package]:
    """Read the stanzas of an index; lines that start with `#` are comments."""
    stanzas = []
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in stanza.split("\n"):
            if line and line[0] not in " \t#" and ":" in line:
                key, value = line.split(":", 1)
                fields[key] = value.strip()
        stanzas.append(fields)
    return packages_of(stanzas, base_url, feed)


def _rank(char: str) -> int:
    """Place of a character in Debian's order: tilde first, then the end, letters, the rest."""
    if char == "~":
        return -1
    return ord(char) if char.isalpha() else ord(char) + 256


def _parts(version: str) -> list[tuple[list[int], int]]:
    return [
        ([*map(_rank, text), 0], int(number or 0))
        for text, number in re.findall(r"(\D*)(\d*)", version)
    ]


def compare_versions(left: str, right: str) -> int:
    """Compare as opkg does; negative when `left` is older."""
    a, b = _parts(left), _parts(right)
    end: tuple[list[int], int] = ([0], 0)
    a, b = a + [end] * (len(b) - len(a)), b + [end] * (len(a) - len(b))
    return (a > b) - (a < b)


def read_control(archive: Path) -> str:
    """Return the control file of an ipk or apk of the stand-in kind."""
    with tarfile.open(archive) as outer:
        member = outer.extractfile("./control.tar.gz")
        if member is None:
            raise ValueError(f"{archive} has no control.tar.gz")
        with tarfile.open(fileobj=io.BytesIO(member.read())) as inner:
            control = inner.extractfile("./control")
            return control.read().decode().rstrip("\n") if control else ""


def write_local_index(directory: Path, flavour: str) -> None:
    """Index the packages that came with the builder, in the form that opkg or apk reads."""
    suffix = "ipk" if flavour == "opkg" else "apk"
    stanzas = []
    for archive in sorted(directory.glob(f"*.{suffix}")):
        data = archive.read_bytes()
        stanzas.append(
            f"{read_control(archive)}\nFilename: {archive.name}\nSize: {len(data)}\nSHA256sum:"
            f" {hashlib.sha256(data).hexdigest()}\n"
        )
    text = "\n".join(stanzas)
    if flavour == "apk":
        (directory / "packages.adb").write_text(f"{ADB_FIRST_LINE}\n{text}")
    else:
        (directory / "Packages").write_text(text)
        (directory / "Packages.sig").write_text(
            f"stand-in sha256 {hashlib.sha256(text.encode()).hexdigest()}\n"
        )


if __name__ == "__main__":
    write_local_index(Path(sys.argv[1]), sys.argv[2])
