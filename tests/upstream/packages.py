"""Concrete packages: what a recipe is in one release, for one target or architecture."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from .catalogue import FEEDS, Catalogue, Format, Recipe, Release, Target

SECTIONS: Final[Mapping[str, str]] = {
    "target": "base",
    "kmods": "kernel",
    "base": "base",
    "luci": "luci",
    "packages": "utils",
    "routing": "net",
    "telephony": "net",
}


ABI_PRIORITY: Final = 10  # A library that is named without its ABI is found by that.


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file that a package installs."""

    path: str
    content: bytes
    mode: int = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package file and its stanza; equal values are equal bytes."""

    name: str
    plain_name: str
    version: str
    arch: str
    format: Format
    section: str
    description: str
    depends: tuple[str, ...]
    provides: tuple[str, ...]
    conflicts: tuple[str, ...]
    files: tuple[File, ...]
    postinst: str
    trouble: str
    priority: int = 0

    @property
    def abi_version(self) -> str:
        """The ABI suffix of the name, with its hyphen if it has one; empty for most packages."""
        return self.name.removeprefix(self.plain_name)

    @property
    def filename(self) -> str:
        """The name of the package file in its feed."""
        if self.format == "opkg":
            return f"{self.name}_{self.version}_{self.arch}.ipk"
        return f"{self.name}-{self.version}.apk"


@lru_cache(maxsize=4)
def random_content(seed: str, size: int) -> bytes:
    """Return `size` bytes that no compressor can shrink, always the same ones for the same seed."""
    return hashlib.shake_256(seed.encode()).digest(size)


class Shop:
    """Makes the packages of one release."""

    def __init__(self, catalogue: Catalogue, release: Release) -> None:
        self.release = release
        self.everything = catalogue.recipes
        self.recipes = catalogue.in_series(release.series)

    def full_name(self, plain_name: str) -> str:
        """Return the name with its ABI suffix; a name that ends in a digit is kept apart by a
        hyphen.
        """
        recipe = self.recipes.get(plain_name)
        abi = recipe.abi.get(self.release.series, "") if recipe else ""
        return f"{plain_name}-{abi}" if abi and plain_name[-1].isdigit() else f"{plain_name}{abi}"

    def feed(self, feed: str, arch: str) -> list[Package]:
        """Return the packages of one of the five feeds."""
        if feed not in FEEDS:
            raise ValueError(f"{feed} is no feed")
        return [
            self._package(recipe, arch, None)
            for recipe in self.recipes.values()
            if recipe.feed == feed
        ]

    def target_packages(self, target: Target) -> list[Package]:
        """Return the packages that belong to the target itself: base-files, kernel, libc and the
        like.
        """
        return self._of_target("target", target)

    def kmods(self, target: Target) -> list[Package]:
        """Return the kernel modules of the target."""
        return self._of_target("kmods", target)

    def _of_target(self, feed: str, target: Target) -> list[Package]:
        recipes = (
            recipe
            for recipe in self.recipes.values()
            if recipe.feed == feed and recipe.fits(target.name)
        )
        return [self._package(recipe, target.arch, target) for recipe in recipes]

    def _package(self, recipe: Recipe, arch: str, target: Target | None) -> Package:
        name = self.full_name(recipe.name)
        version = self._version(recipe, target)
        siblings = [
            other.name
            for other in self.recipes.values()
            if recipe.group and other.group == recipe.group and other is not recipe
        ]
        provides = {
            *recipe.provides,
            *([recipe.group] if recipe.group else ()),
            *([f"@{recipe.name}"] if name != recipe.name else ()),
        }
        everywhere = {"opkg": "all", "apk": "noarch"}[self.release.format]
        return Package(
            name=name,
            plain_name=recipe.name,
            version=version,
            arch=everywhere if recipe.architecture_free else arch,
            format=self.release.format,
            section="libs" if recipe.name.startswith("lib") else SECTIONS[recipe.feed],
            description=f"stand-in for {recipe.name}"
            + (f": {recipe.about}" if recipe.about else ""),
            depends=self._depends(recipe, target),
            provides=tuple(sorted(self._provided(name, version) for name in provides)),
            conflicts=tuple(
                self.full_name(other) for other in sorted({*recipe.conflicts, *siblings})
            ),
            files=self._files(recipe, version, target),
            postinst=recipe.postinst,
            trouble=recipe.trouble,
            priority=(
                (recipe.priority or (ABI_PRIORITY if name != recipe.name else 0))
                if self.release.format == "apk"
                else 0
            ),
        )

    def _provided(self, name: str, version: str) -> str:
        """Return a provided name as the index has it; apk's have a version unless they begin with
        @.
        """
        if self.release.format == "opkg" or name.startswith("@") or "(" in name:
            return name.removeprefix("@")
        return f"{name} (= {version})"

    def _version(self, recipe: Recipe, target: Target | None) -> str:
        release = self.release
        text = recipe.versions[release.series]
        kernel = release.kernel_version(target.name) if target else ""
        return text.format(
            k=release.kernel, kernel=kernel, luci=release.luci, base=release.base_files
        )

    def _depends(self, recipe: Recipe, target: Target | None) -> tuple[str, ...]:
        present = [
            need for need in recipe.needs if need in self.recipes or need not in self.everything
        ]
        always = (
            ["libc"]
            if recipe.name not in {"kernel", "libc", "libgcc"} and recipe.feed != "kmods"
            else []
        )
        kernel = (
            [f"kernel (= {self.release.kernel_version(target.name)})"]
            if target and recipe.feed == "kmods"
            else []
        )
        return tuple(self.full_name(need) for need in [*always, *kernel, *present])

    def _files(self, recipe: Recipe, version: str, target: Target | None) -> tuple[File, ...]:
        if recipe.name == "base-files" and target:
            return (*_base_files(self.release, target), *_init_script(recipe))
        content = (
            random_content(recipe.name, recipe.random_bytes)
            if recipe.random_bytes
            else f"stand-in for {recipe.name} {version}\n".encode()
        )
        paths = recipe.files or (_usual_path(recipe, self.release),)
        return (*(_file(path, content) for path in paths), *_init_script(recipe))


def _usual_path(recipe: Recipe, release: Release) -> str:
    """Return where the one file of a package lies that names none."""
    if recipe.feed == "kmods":
        return f"/lib/modules/{release.kernel}/{recipe.name}.ko"
    if recipe.name == "kernel":
        return f"/lib/modules/{release.kernel}/modules.builtin"
    if "firmware" in recipe.name or recipe.name.startswith(("ath10k-board", "ipq-wifi")):
        return f"/lib/firmware/{recipe.name}.bin"
    if recipe.name.startswith("lib"):
        return f"/usr/lib/{recipe.name}.so"
    if recipe.feed == "luci":
        return f"/usr/share/luci/{recipe.name}.json"
    return f"/usr/bin/{recipe.name}"


def _file(path: str, content: bytes) -> File:
    if path.startswith("/etc/uci-defaults/"):
        return File(path=path, content=b"#!/bin/sh\n# " + content + b"exit 0\n")
    executable = path.startswith(("/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/"))
    return File(path=path, content=content, mode=0o755 if executable else 0o644)


def _init_script(recipe: Recipe) -> tuple[File, ...]:
    if recipe.init is None:
        return ()
    start, service = recipe.init
    script = (
        f"#!/bin/sh /etc/rc.common\n\nSTART={start:02d}\nUSE_PROCD=1\n\nstart_service()"
        " {\n\t:\n}\n"
    )
    return (File(path=f"/etc/init.d/{service}", content=script.encode()),)


def _base_files(release: Release, target: Target) -> tuple[File, ...]:
    distribution = {
        "DISTRIB_ID": "OpenWrt",
        "DISTRIB_RELEASE": release.version,
        "DISTRIB_REVISION": release.revision,
        "DISTRIB_TARGET": target.name,
        "DISTRIB_ARCH": target.arch,
        "DISTRIB_DESCRIPTION": f"OpenWrt {release.version} {release.revision} (stand-in)",
    }
    lines = "".join(f"{key}='{value}'\n" for key, value in distribution.items())
    return (
        File(path="/bin/board_detect", content=b"#!/bin/sh\nexit 0\n"),
        File(path="/bin/config_generate", content=b"#!/bin/sh\nexit 0\n"),
        File(
            path="/etc/banner",
            content=f" OpenWrt {release.version}, {release.revision} (stand-in)\n".encode(),
            mode=0o644,
        ),
        File(path="/etc/openwrt_release", content=lines.encode(), mode=0o644),
        File(path="/etc/openwrt_version", content=f"{release.revision}\n".encode(), mode=0o644),
        File(
            path="/etc/rc.common",
            content=b"#!/bin/sh\n# Enabling is the business of the ImageBuilder.\nexit 0\n",
        ),
    )
