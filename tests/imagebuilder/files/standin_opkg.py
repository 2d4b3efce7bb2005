"""A stand-in for opkg as the ImageBuilder calls it: update, install, list-installed.

It prints what the genuine one prints, and keeps its quirks: conflicts are looked for in one
direction only, every failing package is named while the others go on, and a missing feed is no
failure.
"""

# ruff: noqa: T201 - The genuine program prints, and so does this one.

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import signal
import sys
from pathlib import Path

from .standin_fetch import NETWORK_FAILURE, FetchError, fetch
from .standin_index import Package, parse_stanzas
from .standin_opkg_install import Installer

FAILED = 255  # The genuine opkg returns -1.
DISTRIBUTION_KEY = "5ad0c0de24100000"  # Made up; signs every feed whose signature names no key.


class Opkg:
    """One run of the program."""

    def __init__(self, root: Path, arch: str) -> None:
        self.top = Path.cwd()
        self.root, self.arch = root, arch
        self.lists = self.top / "dl"
        self.errors: list[str] = []
        self.sources, self.checks_signature = self._read_configuration()

    def _read_configuration(self) -> tuple[dict[str, str], bool]:
        sources: dict[str, str] = {}
        checks_signature = False
        for line in (self.top / "repositories.conf").read_text().splitlines():
            words = line.split()
            if words[:1] in (["src/gz"], ["src"]) and len(words) > 2:
                if words[1] in sources:
                    self.errors.append(
                        f"opkg_conf_parse_file: Duplicate src declaration ({words[1]} {words[2]})."
                        " Skipping."
                    )
                else:
                    sources[words[1]] = words[2]
            elif words[:2] == ["option", "check_signature"]:
                checks_signature = True
        return sources, checks_signature

    def update(self) -> int:
        """Download the index of every feed."""
        failures = 0
        for name, url in self.sources.items():
            listed = self.lists / name
            is_local = url.startswith("file:") and not url.startswith("file:/")
            index = f"{url}/Packages" if is_local else f"{url}/Packages.gz"
            print(f"Downloading {index}")
            try:
                text = self._fetch(index) if is_local else gzip.decompress(self._fetch(index))
            except (FetchError, OSError, EOFError) as problem:
                self._say_not_downloaded(index, problem)
                print(f"*** Failed to download the package list from {index}\n")
                listed.unlink(missing_ok=True)
                failures += 1
                continue
            listed.write_bytes(text)
            print(
                f"Updated list of available packages in {self.root}/../../../..{self.lists}/{name}"
            )
            if self.checks_signature and not self._is_signed(f"{url}/Packages.sig", text):
                listed.unlink()
                failures += 1
        return 1 if failures else 0

    def _fetch(self, url: str) -> bytes:
        if url.startswith("file:") and not url.startswith("file:/"):
            return (self.top / url.removeprefix("file:")).read_bytes()
        return fetch(url)

    def _is_signed(self, url: str, text: bytes) -> bool:
        print(f"Downloading {url}")
        try:
            words = self._fetch(url).decode(errors="replace").split()
        except (FetchError, OSError) as problem:
            self._say_not_downloaded(url, problem)
            print("Signature file download failed.\nRemove wrong Signature file.")
            return False
        trusted = words[2:3] == [hashlib.sha256(text).hexdigest()] and (
            self._has_key(words[3] if len(words) > 3 else DISTRIBUTION_KEY)
            or not url.startswith(("http", "file:/"))
        )
        print(
            "Signature check passed."
            if trusted
            else "Signature check failed.\nRemove wrong Signature file."
        )
        return trusted

    def _has_key(self, fingerprint: str) -> bool:
        """Look for a key: it counts only in a file named by its fingerprint, which is bytes 2 to 10
        of the decoded key.
        """
        try:
            encoded = (self.top / "keys" / fingerprint).read_text().split("\n")[1]
            return base64.b64decode(encoded)[2:10].hex() == fingerprint
        except (OSError, IndexError, ValueError):
            return False

    def _say_not_downloaded(self, url: str, problem: Exception) -> None:
        code = problem.code if isinstance(problem, FetchError) else 1
        self.errors.append(f"opkg_download: Failed to download {url}, wget returned {code}.")
        if code == NETWORK_FAILURE:
            self.errors.append("opkg_download: Check your network settings and connectivity.\n")

    def available(self) -> list[Package]:
        """Every package of every downloaded index that fits the architecture."""
        found: list[Package] = []
        for name, url in self.sources.items():
            listed = self.lists / name
            if listed.exists():
                local = url.startswith("file:") and not url.startswith("file:/")
                found += parse_stanzas(
                    listed.read_text(),
                    f"file://{self.top}/{url.removeprefix('file:')}" if local else url,
                    name,
                )
        return [
            package
            for package in found
            if package.fields.get("Architecture") in {self.arch, "all", "noarch"}
        ]

    def install(self, wanted: list[str]) -> int:
        """Install packages by name, or archives by path or URL."""
        if not wanted:
            sys.stderr.write('opkg: the "install" command requires at least one argument\n')
            return 1
        installer = Installer(self.root, self.lists, self.available(), self.errors)
        installer.wanted = frozenset(wanted)
        failed = [name for name in wanted if not installer.install_wanted(name)]
        installer.finish()
        return FAILED if failed else 0

    def list_installed(self, *, strip_abi: bool, quiet: bool) -> int:
        """Print the manifest. The target's own feed list is read as well, which is why each feed
        seems declared twice.

        The feeds of a tree need not have a base-files with that list; the builder brings a copy.
        """
        for package in sorted(parse_stanzas(self._status()), key=lambda package: package.name):
            print(f"{package.plain_name() if strip_abi else package.name} - {package.version}")
        for line in self._target_feeds():
            words = line.split()
            if words[:1] == ["src/gz"] and words[1] in self.sources and not quiet:
                self.errors.append(
                    f"opkg_conf_parse_file: Duplicate src declaration ({words[1]} {words[2]})."
                    " Skipping."
                )
        return 0

    def _status(self) -> str:
        status = self.root / "usr/lib/opkg/status"
        return status.read_text() if status.exists() else ""

    def _target_feeds(self) -> list[str]:
        own, copy = self.root / "etc/opkg/distfeeds.conf", self.top / "include/distfeeds.conf"
        return (own if own.exists() else copy).read_text().splitlines()

    def collected_errors(self) -> str:
        """Return what stderr gets in the end."""
        lines = [error if error.startswith(("\t", " ")) else f" * {error}" for error in self.errors]
        return "Collected errors:\n" + "\n".join(lines) + "\n" if lines else ""


def main() -> int:
    """Run the command that the Makefile asks for."""
    # Like any C program: an early end of the reader is no Python error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parser = argparse.ArgumentParser(prog="opkg")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--arch", required=True)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--strip-abi", action="store_true")
    parser.add_argument("command", choices=["update", "install", "list-installed"])
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    opkg = Opkg(arguments.root, arguments.arch)
    if arguments.command == "update":
        code = opkg.update()
    elif arguments.command == "install":
        code = opkg.install(arguments.names)
    else:
        code = opkg.list_installed(strip_abi=arguments.strip_abi, quiet=arguments.quiet)
    # Standard output is a pipe or a file and so still buffered: the errors come first, as with the
    # genuine program.
    sys.stderr.write(opkg.collected_errors())
    return code


if __name__ == "__main__":
    sys.exit(main())
