"""Reads what one ImageBuilder needs from a tree in the layout of the downloads server."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# The kernel's name of an architecture is the first word of the packages' one, but for this one.
KERNEL_ARCHITECTURES = {"x86_64": "x86_64"}


@dataclass(frozen=True)
class Release:
    """One version and target of an upstream tree."""

    tree: Path
    version: str
    target: str

    @property
    def path(self) -> str:
        """Directory of the version, relative to the tree."""
        return "snapshots" if self.version == "SNAPSHOT" else f"releases/{self.version}"

    @property
    def tag(self) -> str:
        """Tag of the container image, as the genuine ones are named."""
        target = self.target.replace("/", "-")
        if self.version == "SNAPSHOT":
            return f"{target}-master"
        if self.version.endswith("-SNAPSHOT"):
            return f"{target}-openwrt-{self.version.removesuffix('-SNAPSHOT')}"
        return f"{target}-v{self.version}"

    @property
    def directory(self) -> Path:
        """Directory of the target."""
        return self.tree / self.path / "targets" / self.target

    @cached_property
    def overview(self) -> dict[str, Any]:
        """The target's profiles.json."""
        overview: dict[str, Any] = json.loads((self.directory / "profiles.json").read_text())
        return overview

    @property
    def arch(self) -> str:
        """Architecture of the packages."""
        return str(self.overview["arch_packages"])

    @property
    def kernel_arch(self) -> str:
        """Architecture in the kernel's words, which `make info` prints."""
        return KERNEL_ARCHITECTURES.get(self.arch, self.arch.split("_", maxsplit=1)[0])

    @property
    def uses_apk(self) -> bool:
        """Whether its packages are for apk rather than opkg."""
        return (self.directory / "packages" / "packages.adb").exists()

    def is_at_least(self, series: tuple[int, int]) -> bool:
        """Whether the version belongs to this series or a later one."""
        numbers = re.match(r"(\d+)\.(\d+)", self.version)
        return numbers is None or (int(numbers[1]), int(numbers[2])) >= series

    @property
    def makes_targz_images(self) -> bool:
        """The mistake of 25.12.0 to 25.12.4: for x86 the tar archive was taken for a file
        system.
        """
        return self.has_kernel_file and re.fullmatch(r"25\.12\.[0-4]", self.version) is not None

    @property
    def has_kernel_file(self) -> bool:
        """Whether the builder leaves kernel and root archive as files of their own."""
        return self.target.split("/", maxsplit=1)[0] in {"x86", "armsr"}

    @cached_property
    def feeds(self) -> dict[str, str]:
        """Names and paths of all feeds, in the order of the genuine repositories.conf."""
        target, packages = f"{self.path}/targets/{self.target}", f"{self.path}/packages/{self.arch}"
        feeds = {"core": f"{target}/packages", "base": f"{packages}/base"}
        for kmods in sorted((self.directory / "kmods").glob("*")):
            if self._is_own_kernel(kmods.name):
                feeds["kmods"] = f"{target}/kmods/{kmods.name}"
        listed = self.tree / packages / "feeds.conf"
        names = (
            [line.split()[1] for line in listed.read_text().splitlines() if line.startswith("src-")]
            if listed.exists()
            else []
        )
        return feeds | {name: f"{packages}/{name}" for name in sorted(names) if name != "base"}

    def _is_own_kernel(self, name: str) -> bool:
        kernel = self.overview.get("linux_kernel")
        return (
            kernel is None
            or name == f"{kernel['version']}-{kernel['release']}-{kernel['vermagic']}"
        )

    @property
    def own_feed(self) -> str:
        """Path of the feed in the tree that is not OpenWrt's; no builder has it in its list, or its
        key.
        """
        return f"own/{'apk' if self.uses_apk else 'opkg'}"

    def local_packages(self) -> list[Path]:
        """List the archives that the builder brings along itself."""
        suffix = "apk" if self.uses_apk else "ipk"
        return sorted((self.directory / "packages" / "local").glob(f"*.{suffix}"))
