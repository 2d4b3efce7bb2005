"""How the stand-in opkg installs: depth first, in the order of the list, naming everything that
fails.
"""

# ruff: noqa: T201 - The genuine program prints, and so does this one.

from __future__ import annotations

import functools
import hashlib
import os
from typing import TYPE_CHECKING

from .standin_fetch import NETWORK_FAILURE, FetchError, fetch
from .standin_index import Dependency, Package, compare_versions, parse_stanzas, read_control
from .standin_root import Archive, FileClash, Root

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@functools.cmp_to_key
def _order(one: Package, other: Package) -> int:
    by_name = (one.name > other.name) - (one.name < other.name)
    return by_name or compare_versions(one.version, other.version)


class Installer:
    """Installs packages into a root and keeps opkg's status and info files there."""

    def __init__(
        self, directory: Path, cache: Path, available: Iterable[Package], errors: list[str]
    ) -> None:
        self.directory, self.cache, self.errors = directory, cache, errors
        self.info = directory / "usr/lib/opkg/info"
        self.root = Root(directory)
        self.by_name: dict[str, list[Package]] = {}
        for package in available:
            for name in {package.name, *(provided.name for provided in package.provides)}:
                self.by_name.setdefault(name, []).append(package)
        self.installed: dict[str, Package] = {}
        self.answering: dict[str, list[Package]] = {}  # What is installed, by each of its names.
        self.broken: dict[str, bool] = {}
        self.wanted: frozenset[str] = frozenset()  # The words of the command line.
        self.marked: set[str] = set()  # What is to be installed, whether or not that worked.
        self.fresh: list[Package] = []
        self._read_status()

    def _read_status(self) -> None:
        status = self.directory / "usr/lib/opkg/status"
        for package in parse_stanzas(status.read_text() if status.exists() else ""):
            self._remember(package)
            for line in (self.info / f"{package.name}.list").read_text().splitlines():
                self.root.owners[line.removeprefix("/")] = package.name

    def _remember(self, package: Package) -> None:
        self.installed[package.name] = package
        for name in {package.name, *(provided.name for provided in package.provides)}:
            self.answering.setdefault(name, []).append(package)

    def install_wanted(self, wanted: str) -> bool:
        """Install one word of the command line; say so when that fails."""
        package = self._from_file(wanted) if "/" in wanted else self._named(wanted)
        if package is not None and package.name in self.installed:
            print(f"Package {package.name} ({package.version}) installed in root is up to date.")
            return True
        if package is None or not self._resolvable(package) or not self._install(package):
            self.errors.append(
                f"opkg_install_cmd: Cannot install package {package.name if package else wanted}."
            )
            return False
        return True

    def _from_file(self, wanted: str) -> Package | None:
        """Read a package from an archive of the command line; its path or URL is unsigned, and opkg
        does not mind.
        """
        path = self.directory.parent / "wanted.ipk"
        try:
            path.write_bytes(fetch(wanted if "://" in wanted else f"file://{wanted}"))
        except (FetchError, OSError):
            return None
        fields = parse_stanzas(read_control(path))[0].fields
        return Package(
            fields["Package"], fields["Version"], {**fields, "LocalFile": str(path)}, "", ""
        )

    def _sorted(self, name: str) -> list[Package]:
        """Return what has or provides a name, those that lack nothing if there are any."""
        found = sorted(self.by_name.get(name, []), key=_order)
        return [package for package in found if not self._is_broken(package)] or found

    def _is_broken(self, package: Package) -> bool:
        """Whether something that the package needs, at whatever depth, does not exist."""
        if package.name not in self.broken:
            self.broken[package.name] = False  # A circle breaks nothing.
            self.broken[package.name] = any(
                not self._is_present(need)
                and all(
                    self._is_broken(other)
                    for one in need.alternatives()
                    for other in self.by_name.get(one.name, [])
                    if other.satisfies_opkg(one)
                )
                for need in package.depends
            )
        return self.broken[package.name]

    def _named(self, name: str) -> Package | None:
        """Find what a word of the command line means: the newest package, else a provider."""
        found = self._sorted(name)
        exact = [package for package in found if package.name == name]
        if exact:
            return exact[-1]
        present = [package for package in found if package.name in self.installed]
        if present:
            return present[-1]
        return max(
            found, key=lambda package: package.fields.get("Architecture") != "all", default=None
        )

    def _candidate(self, dependency: Dependency) -> Package | None:
        """Find the best package for a dependency: of that name, named by the user, last in the
        alphabet.
        """
        for one in dependency.alternatives():
            fits = [package for package in self._sorted(one.name) if one.accepts(package.version)]
            if fits:
                return max(
                    reversed(fits),
                    key=lambda package: (package.name == one.name) + (package.name in self.wanted),
                )
        return None

    def _is_present(self, need: Dependency) -> bool:
        return any(
            one.accepts(package.version)
            for one in need.alternatives()
            for package in self.answering.get(one.name, [])
        )

    def _resolvable(self, package: Package) -> bool:
        """Whether the direct dependencies exist. The second message misleads; it is the genuine
        one.
        """
        missing = [need for need in package.depends if self._is_missing(need)]
        for need in missing:
            self.errors.append(
                f"pkg_hash_check_unresolved: cannot find dependency {need.opkg()} for"
                f" {package.name}"
            )
        if missing:
            self.errors.append(
                f"pkg_hash_fetch_best_installation_candidate: Packages for {package.name} found,"
                " but incompatible with the architectures configured"
            )
        return not missing

    def _is_missing(self, need: Dependency) -> bool:
        return not self._is_present(need) and self._candidate(need) is None

    def _needed_first(
        self, package: Package, seen: set[str], unsatisfied: list[str]
    ) -> list[Package]:
        """Everything not yet installed that the package needs, dependencies before dependants."""
        order: list[Package] = []
        for need in package.depends:
            if self._is_present(need):
                continue
            found = self._candidate(need)
            if found is None:
                unsatisfied.append(need.opkg())
            elif found.name not in seen:
                seen.add(found.name)
                if not self._resolvable(found):
                    unsatisfied += [
                        missing.opkg() for missing in found.depends if self._is_missing(missing)
                    ]
                    continue
                order += [*self._needed_first(found, seen, unsatisfied), found]
        return order

    def _install(self, package: Package) -> bool:
        """Install a package after all that it needs; what is needed has its own needs before it."""
        self.marked.add(package.name)
        if self._has_conflict(package):
            return False
        print(f"Installing {package.name} ({package.version}) to root...")
        content = self._download(package)
        if content is None:
            return False
        unsatisfied: list[str] = []
        needed = self._needed_first(package, {package.name}, unsatisfied)
        if unsatisfied:
            self.errors.append(
                "satisfy_dependencies_for: Cannot satisfy the following dependencies for"
                f" {package.name}:"
            )
            self.errors += [f" * \t{name}" for name in unsatisfied]
            return False
        self.marked.update(other.name for other in needed)
        if not all(self._install_needed(other) for other in needed):
            return False
        return self._unpack(package, content)

    def _install_needed(self, package: Package) -> bool:
        if package.name in self.installed:
            return True
        if self._has_conflict(package):
            return False
        print(f"Installing {package.name} ({package.version}) to root...")
        content = self._download(package)
        return content is not None and self._unpack(package, content)

    def _has_conflict(self, package: Package) -> bool:
        """Look at the conflicts of the new package only, never at those of the others: so does
        opkg.
        """
        known = {one.name: one for one in self.fresh} | self.installed
        found = [
            conflict.name
            for conflict in package.conflicts
            if conflict.name != package.name
            and conflict.name in self.marked | set(self.installed)
            and (conflict.name not in known or conflict.accepts(known[conflict.name].version))
        ]
        if found:
            self.errors.append(
                f"check_conflicts_for: The following packages conflict with {package.name}:"
            )
            self.errors += [f"check_conflicts_for: \t{name} * " for name in found]
        return bool(found)

    def _download(self, package: Package) -> bytes | None:
        if "LocalFile" in package.fields:
            # The path comes as text; nothing else is done with it.
            with open(package.fields["LocalFile"], "rb") as file:  # noqa: PTH123
                return file.read()
        cached = self.cache / os.path.basename(package.url)  # noqa: PTH119 - A URL is no path.
        content = cached.read_bytes() if cached.exists() else None
        if content is None:
            print(f"Downloading {package.url}")
            try:
                content = fetch(package.url)
            except FetchError as problem:
                self._say_not_downloaded(package, problem)
                return None
        if hashlib.sha256(content).hexdigest() != package.fields.get("SHA256sum") or len(
            content
        ) != int(package.fields.get("Size", -1)):
            cached.unlink(missing_ok=True)
            self.errors.append(
                f"opkg_install_pkg: Checksum or size mismatch for package {package.name}. "
                "Either the opkg or the package index are corrupt. Try 'opkg update'."
            )
            return None
        cached.write_bytes(content)
        return content

    def _say_not_downloaded(self, package: Package, problem: FetchError) -> None:
        if package.url.startswith("file:"):
            path = package.url.removeprefix("file:")
            copy = self.directory / "tmp" / f"opkg-{os.getpid()}" / path.rsplit("/", 1)[-1]
            self.errors.append(f"copy_file: {path}: No such file or directory.")
            self.errors.append(f"file_copy: Failed to copy file {path} to {copy}.")
        else:
            self.errors.append(
                f"opkg_download: Failed to download {package.url}, wget returned {problem.code}."
            )
            if problem.code == NETWORK_FAILURE:
                self.errors.append("opkg_download: Check your network settings and connectivity.\n")
        self.errors.append(
            f"opkg_install_pkg: Failed to download {package.name}. Perhaps you need to run 'opkg"
            " update'?"
        )

    def _unpack(self, package: Package, content: bytes) -> bool:
        archive = Archive.read(content)
        try:
            files = self.root.unpack(package.name, archive)
        except FileClash as clash:
            self.errors.append(
                f"check_data_file_clashes: Package {package.name} wants to install file"
                f" {self.directory}/{clash.path}"
            )
            self.errors.append(f"\tBut that file is already provided by package  * {clash.owner}")
            return False
        self.info.mkdir(parents=True, exist_ok=True)
        (self.info / f"{package.name}.list").write_text("".join(f"/{name}\n" for name in files))
        if archive.postinst is not None:
            (self.info / f"{package.name}.postinst").write_bytes(archive.postinst)
            (self.info / f"{package.name}.postinst").chmod(0o755)
        self._remember(package)
        self.fresh.append(package)
        return True

    def finish(self) -> None:
        """Write the status file, and say what was configured."""
        kept = (
            "Package",
            "Version",
            "Depends",
            "Conflicts",
            "Provides",
            "Architecture",
            "ABIVersion",
        )
        stanzas = []
        for package in self.installed.values():
            lines = [f"{key}: {package.fields[key]}" for key in kept if key in package.fields]
            stanzas.append("\n".join([*lines, "Status: install user installed", ""]))
        status = self.directory / "usr/lib/opkg/status"
        status.parent.mkdir(parents=True, exist_ok=True)
        status.write_text("\n".join(stanzas))
        for package in self.fresh:
            print(f"Configuring {package.name}.")
