"""A preview service over the stand-in's tree, and the stand-in's package managers beside it,
without files.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from asu_prepare.config import Settings
from asu_prepare.main import create_app
from asu_prepare.upstream import MemoryDocuments
from tests.imagebuilder.files.standin_adb import Document
from tests.imagebuilder.files.standin_index import (
    Dependency,
    Package,
    packages_of,
    parse_stanzas,
)
from tests.imagebuilder.files.standin_opkg_install import Installer
from tests.imagebuilder.files.standin_solver import Solver
from tests.imagebuilder.upstream_tree import Release
from tests.upstream.archives import control_fields
from tests.upstream.catalogue import FEEDS, load
from tests.upstream.packages import Shop

PINNED = ("base-files", "libc", "kernel")


class TreeDocuments(MemoryDocuments):
    """The documents of a tree on disk."""

    def __init__(self, tree: Path) -> None:
        super().__init__({})
        self._tree = tree

    async def read(self, path: str, reader: Any) -> Any:
        """Read the file first, then as the twin does."""
        with contextlib.suppress(FileNotFoundError):
            self.documents[path] = (self._tree / path).read_bytes()
        return await super().read(path, reader)


class DryInstaller(Installer):
    """The stand-in opkg, which looks at the names of files only."""

    files: Mapping[str, tuple[str, ...]]

    def _download(self, package: Package) -> bytes | None:  # noqa: ARG002
        return b""

    def _unpack(self, package: Package, content: bytes) -> bool:  # noqa: ARG002
        clash = _clash([*self.installed.values(), package], self.files)
        if clash:
            self.errors.append(clash)
            return False
        self._remember(package)
        self.fresh.append(package)
        return True


@dataclass(frozen=True, slots=True)
class Built:
    """What the stand-in's package manager made of a list: a manifest, or what it complains
    about.
    """

    manifest: dict[str, str]
    errors: list[str]


class Builder:
    """The package managers of one stand-in ImageBuilder."""

    def __init__(self, tree: Path, version: str, target: str) -> None:
        self.release = Release(tree, version, target)
        self.uses_apk = self.release.uses_apk
        catalogue = load()
        recipes = next(one for one in catalogue.releases if one.version == version)
        self._shop = Shop(catalogue, recipes)
        self._target = catalogue.target(target, recipes.series)
        made = [*self._shop.target_packages(self._target), *self._shop.kmods(self._target)]
        made += [one for feed in FEEDS for one in self._shop.feed(feed, self.release.arch)]
        self._files = {one.name: tuple(file.path for file in one.files) for one in made}
        self._packages = [
            package for path in self.release.feeds.values() for package in self._listed(tree / path)
        ]
        self.names = sorted(
            {package.plain_name() for package in self._packages}
            | {other.name for package in self._packages for other in package.provides}
        )
        # No index lists files: that two packages hold the same one cannot be foretold.
        self.names = [
            name for name in self.names if not name.endswith("-any") and name != "test-clash-b"
        ]

    def profile(self, name: str) -> list[str]:
        """Return the default packages of a device, with what it takes away."""
        overview = self.release.overview
        own = overview["profiles"][name]["device_packages"]
        return [*overview["default_packages"], *own]

    def build(self, packages: Sequence[str], profile: str) -> Built:
        """Return what `make manifest` would say: the words of the Makefile, then the package
        manager.
        """
        given = sorted({*self.profile(profile), "kernel"})
        given = _filtered(given)
        words = _filtered([*packages, *given])
        return self._apk(words) if self.uses_apk else self._opkg(words)

    def _listed(self, feed: Path) -> list[Package]:
        if self.uses_apk:
            return packages_of(Document((feed / "packages.adb").read_bytes()).stanzas(), str(feed))
        return parse_stanzas((feed / "Packages").read_text(), str(feed))

    def _apk(self, words: Sequence[str]) -> Built:
        solver = Solver(self._packages)
        why = solver.solve(Dependency.parse(word) for word in [*words, *PINNED])
        clash = _clash(solver.order, self._files)
        if why.errors or clash:
            return Built({}, [*why.lines(), clash])
        return Built(_manifest(solver.order), [])

    def _opkg(self, words: Sequence[str]) -> Built:
        errors: list[str] = []
        installed: list[Package] = []
        worked = True
        nowhere = Path("nowhere")
        for names in (["libc"], ["kernel"], words):
            installer = DryInstaller(nowhere, nowhere, self._packages + self._local(), errors)
            installer.wanted, installer.files = frozenset(names), self._files
            for package in installed:
                installer._remember(package)  # noqa: SLF001  # As its status file would do.
            with contextlib.redirect_stdout(io.StringIO()):
                results = [installer.install_wanted(name) for name in names]
            worked &= all(results)
            installed = list(installer.installed.values())
        return Built(_manifest(installed), []) if worked else Built({}, errors)

    def _local(self) -> list[Package]:
        """Return kernel and libc, which an opkg builder brings along."""
        own = self._shop.target_packages(self._target)
        local = [control_fields(one) for one in own if one.plain_name in {"kernel", "libc"}]
        return packages_of(local, "local")


def _clash(packages: Sequence[Package], files: Mapping[str, tuple[str, ...]]) -> str:
    """Say which file two packages hold; nothing if there is none."""
    owners: dict[str, str] = {}
    for package in packages:
        for path in files.get(package.name, ()):
            if owners.setdefault(path, package.name) != package.name:
                return f"{package.name} wants {path} of {owners[path]}"
    return ""


def _filtered(words: Sequence[str]) -> list[str]:
    """Take away what `-name` names, as the Makefile's filter-out does."""
    removed = {word[1:] for word in words if word[0] == "-"}
    return [word for word in words if word[0] != "-" and word not in removed]


def _manifest(packages: Sequence[Package]) -> dict[str, str]:
    return {package.plain_name(): package.version for package in packages}


def requests(builder: Builder, number: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield requests of all kinds: a few packages, some that bring trouble, some defaults taken
    away.
    """
    dice = random.Random(seed)  # noqa: S311  # No secret.
    troubles = [name for name in builder.names if name.startswith("test-")]
    profiles = sorted(builder.release.overview["profiles"])
    for _ in range(number):
        profile = dice.choice(profiles)
        packages = dice.choices(builder.names, k=dice.randrange(5))
        packages += dice.choices(troubles, k=dice.randrange(2))
        defaults = [name for name in builder.profile(profile) if name[0] != "-"]
        packages += [f"-{name}" for name in dice.choices(defaults, k=dice.randrange(3))]
        packages += ["no-such-package"] if dice.random() < 0.05 else []
        dice.shuffle(packages)
        yield {
            "version": builder.release.version,
            "target": builder.release.target,
            "profile": profile,
            "packages": list(dict.fromkeys(packages)),
        }


@contextlib.contextmanager
def preview_service(documents: MemoryDocuments, **settings: Any) -> Iterator[TestClient]:
    """Yield a client of a service with these documents; answers of 500 are answers."""
    app = create_app(Settings(metadata_budget=60, **settings), documents)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def preview(client: TestClient, request: dict[str, Any], *, solve: bool = True) -> dict[str, Any]:
    """Return the preview of a request."""
    query = "" if solve else "?solve=false"
    answer = client.post(f"/api/v1/prepare{query}", json=request)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = json.loads(answer.content)
    return found
