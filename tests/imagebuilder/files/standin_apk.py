"""A stand-in for apk as the ImageBuilder calls it: initdb (with an update of the indexes), add,
manifest.

Its archives have the layout of an ipk, the index of the builder's own packages is text, and a feed
counts as signed by the distribution unless its index has a signature: that holds the first digits
of the SHA-256 of a key, which must then be in the keys directory.
"""

# ruff: noqa: T201 - The genuine program prints, and so does this one.

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
import time
import zlib
from pathlib import Path

from .standin_adb import Document
from .standin_fetch import FetchError, fetch
from .standin_index import Dependency, Package, packages_of, parse_stanzas
from .standin_root import Archive, FileClash, Root
from .standin_solver import Solver

CACHE_SECONDS = 4 * 3600  # An index that apk downloaded is good for four hours.
# Bytes. Damage in the start of an archive, or a cut to very few bytes, breaks its schema; other
# damage breaks a block.
START, CUT_SHORT = 400, 100


class Apk:
    """One run of the program."""

    def __init__(self, root: Path, arch: str) -> None:
        self.top = Path.cwd()
        self.directory, self.arch = root, arch
        self.cache = self.top / "dl"
        self.database = root / "lib/apk/db"
        lines = (self.top / "repositories").read_text().splitlines()
        self.repositories = [
            line.strip() for line in lines if line.strip() and not line.startswith("#")
        ]

    def _cached(self, url: str) -> Path:
        return self.cache / f"APKINDEX.{hashlib.sha256(url.encode()).hexdigest()[:8]}.adb"

    def initdb(self) -> int:
        """Make an empty database; refresh indexes that are too old."""
        if not (self.top / "packages/packages.adb").exists():
            say(f"WARNING: opening {self.top}/packages/packages.adb: No such file or directory")
        self.update()
        self.database.mkdir(parents=True, exist_ok=True)
        (self.database / "installed").touch()
        print("OK: 0 B in 0 packages")
        return 0

    def update(self) -> None:
        """Download each index that is not fresh; one that fails is warned about and left out."""
        for url in self.repositories:
            cached = self._cached(url)
            if cached.exists() and time.time() - cached.stat().st_mtime < CACHE_SECONDS:
                continue
            try:
                content = fetch(
                    url if url.endswith(".adb") else f"{url}/{self.arch}/APKINDEX.tar.gz"
                )
            except FetchError as problem:
                say(f"ERROR: wget: exited with error {problem.code}")
                say(f"WARNING: updating and opening {url}: unexpected end of file")
                continue
            if not url.endswith(".adb"):
                say(f"WARNING: updating and opening {url}: v2 package format error")
            elif not self._is_trusted(content):
                say(f"WARNING: updating and opening {url}: UNTRUSTED signature")
            else:
                cached.write_bytes(content)

    def _is_trusted(self, content: bytes) -> bool:
        wanted = Document(content).signature.decode()
        return not wanted or any(
            hashlib.sha256(key.read_bytes()).hexdigest().startswith(wanted)
            for key in (self.top / "keys").iterdir()
            if key.is_file()
        )

    def available(self) -> list[Package]:
        """Every package of every index that is there."""
        local = self.top / "packages/packages.adb"
        found = (
            parse_stanzas(local.read_text(), f"file://{self.top}/packages")
            if local.exists()
            else []
        )
        for url in self.repositories:
            cached = self._cached(url)
            if cached.exists():
                stanzas = Document(cached.read_bytes()).stanzas()
                found += packages_of(stanzas, url.rpartition("/")[0])
            else:
                say(f"WARNING: opening from cache {url}: No such file or directory")
        return found

    def add(self, names: list[str]) -> int:
        """Select, download and unpack what was asked for."""
        available = self.available()
        solver = Solver(
            package
            for package in available
            if package.fields.get("Architecture") in {self.arch, "all", "noarch"}
        )
        why = solver.solve(map(Dependency.parse, _with_spread_version(names)))
        if why.errors:
            say("ERROR: unable to select packages:")
            say("\n".join(why.lines()))
            return why.errors
        return self._install(solver.order)

    def _install(self, packages: list[Package]) -> int:
        root = Root(self.directory)
        errors, stanzas, size, width = 0, [], 0, len(str(len(packages)))
        for number, package in enumerate(packages, 1):
            print(
                f"({number:{width}}/{len(packages)}) Installing {package.name} ({package.version})"
            )
            problem = self._unpack(root, package)
            if problem:
                say(f"ERROR: {package.identity}: {problem}")
                errors += 1
                continue
            kept = ("Package", "Version", "Depends", "Provides", "Architecture", "ABIVersion")
            stanzas.append(
                "\n".join(
                    [
                        *(f"{key}: {package.fields[key]}" for key in kept if key in package.fields),
                        "",
                    ]
                )
            )
            size += int(package.fields.get("Installed-Size", 0))
        (self.database / "installed").write_text("\n".join(stanzas))
        if not errors:
            print(f"OK: {size / 2**20:.1f} MiB in {len(packages)} packages")
        return min(errors, 99)

    def _unpack(self, root: Root, package: Package) -> str | None:
        """Put one package into the root; return what is wrong with it, in apk's words."""
        cached = self.cache / package.url.rpartition("/")[2]
        try:
            content = cached.read_bytes() if cached.exists() else fetch(package.url)
        except FetchError:
            return "package mentioned in index not found (try 'apk update')"
        digest = hashlib.sha256(content).hexdigest()
        if digest != package.fields.get("SHA256sum"):
            cached.unlink(missing_ok=True)
            return _damage(content)
        cached.write_bytes(content)
        archive = Archive.read(content)
        try:
            root.unpack(package.identity, archive)
        except FileClash as clash:
            return f"trying to overwrite {clash.path} owned by {clash.owner}."
        if archive.postinst is not None:
            script = self.database / f"{package.identity}.X{digest[:40]}.post-install"
            script.write_bytes(archive.postinst)
            script.chmod(0o755)
        return None

    def manifest(self, queries: int, *, strip_abi: bool) -> int:
        """Print what is installed. The genuine builder asks for each package by itself, so each
        query warns of broken feeds.
        """
        broken = [url for url in self.repositories if not self._cached(url).exists()]
        for _ in range(queries):
            for url in broken:
                say(f"WARNING: opening from cache {url}: No such file or directory")
        if queries and broken:
            self.update()
        for package in sorted(
            parse_stanzas((self.database / "installed").read_text()),
            key=lambda package: package.name,
        ):
            print(f"{package.plain_name() if strip_abi else package.name} - {package.version}")
        return 0


def _damage(content: bytes) -> str:
    """Return what apk 3.0.2 says of a damaged archive; here an archive is a gzip file."""
    if content.lstrip()[:1] == b"<":  # A page of a server, in the place of the package.
        return "file format is invalid or inconsistent"
    if len(content) <= CUT_SHORT:
        return "ADB schema error"
    try:
        zlib.decompressobj(wbits=31).decompress(content[:START])
    except zlib.error:
        return "ADB schema error"
    return "ADB block error"


def _with_spread_version(names: list[str]) -> list[str]:
    """Give the version of `name=version` to all names after it, as the genuine builder's list
    formatter does by mistake.
    """
    version, spread = "", []
    for name in names:
        if "=" in name:
            version = name[name.index("=") :]
        spread.append(name if "=" in name else name + version)
    return spread


def say(text: str) -> None:
    """Write to stderr, where apk puts all that is not progress."""
    sys.stderr.write(f"{text}\n")


def main() -> int:
    """Run the command that the Makefile asks for."""
    # Like any C program: an early end of the reader is no Python error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parser = argparse.ArgumentParser(prog="apk")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--arch", required=True)
    parser.add_argument("--strip-abi", action="store_true")
    parser.add_argument("--queries", type=int, default=0)
    parser.add_argument("command", choices=["initdb", "add", "manifest"])
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    apk = Apk(arguments.root, arguments.arch)
    if arguments.command == "initdb":
        return apk.initdb()
    if arguments.command == "add":
        return apk.add(arguments.names)
    return apk.manifest(arguments.queries, strip_abi=arguments.strip_abi)


if __name__ == "__main__":
    sys.exit(main())
