"""The stand-in's data as values: releases, targets with their devices, and package recipes, read
from the TOML files here.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

HERE: Final = Path(__file__).parent
SERIES: Final = ("23.05", "24.10", "25.12", "main")
DEFAULT_VERSION: Final[Mapping[str, str]] = {"kmods": "{k}-r1", "luci": "{luci}"}
FEEDS: Final = ("base", "luci", "packages", "routing", "telephony")

Format = Literal["opkg", "apk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release, branch snapshot or main snapshot, as releases.toml describes it."""

    version: str
    path: str
    series: str
    revision: str
    epoch: int
    kernel: str
    base_files: str
    luci: str
    format: Format
    index_version: int = 2
    split_kmods: bool = True
    linux_kernel: bool = True
    targets: tuple[str, ...]
    drop: tuple[str, ...] = ()
    truncate: tuple[str, ...] = ()

    def vermagic(self, target: str) -> str:
        """Return the 32 hex digits that stand for this target's kernel configuration."""
        return hashlib.sha256(f"{target} {self.kernel}".encode()).hexdigest()[:32]

    def kernel_version(self, target: str) -> str:
        """Return the version of the package `kernel`, written as the series writes it."""
        if self.series == "23.05":
            return f"{self.kernel}-1-{self.vermagic(target)}"
        return f"{self.kernel}~{self.vermagic(target)}-r1"

    def kmods_directory(self, target: str) -> str:
        """Return the name of the directory below `kmods/` that belongs to this kernel."""
        return f"{self.kernel}-1-{self.vermagic(target)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One device of a target in one series."""

    name: str
    titles: tuple[Mapping[str, str], ...]
    supported_devices: tuple[str, ...]
    packages: tuple[str, ...]
    images: tuple[str, ...]
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One target in one series."""

    name: str
    arch: str
    default_packages: tuple[str, ...]
    profiles: tuple[Profile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One line of packages.toml: a package in every series at once."""

    name: str
    feed: str
    versions: Mapping[str, str]
    abi: Mapping[str, str]
    needs: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    group: str = ""
    only: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    init: tuple[int, str] | None = None
    architecture_free: bool = False
    random_bytes: int = 0
    postinst: str = ""
    trouble: str = ""
    about: str = ""
    priority: int = 0

    def fits(self, target: str) -> bool:
        """Say whether a target package or kmod exists for `target`."""
        return not self.only or target.startswith(self.only)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Everything in the TOML files."""

    stable: str
    oldstable: str
    upcoming: str
    releases: tuple[Release, ...]
    recipes: Mapping[str, Recipe]
    devices: Mapping[str, Any] = field(repr=False)

    def in_series(self, series: str) -> Mapping[str, Recipe]:
        """Return the recipes that exist in `series`, by name."""
        return {name: recipe for name, recipe in self.recipes.items() if series in recipe.versions}

    def target(self, name: str, series: str) -> Target:
        """Return target `name` as it is in `series`."""
        raw = self.devices["target"][name]
        defaults = f"{_at(self.devices['common'], series)} {_at(raw['defaults'], series)}".split()
        profiles = tuple(
            _profile(key, entry, raw["images"], series)
            for key, entry in raw["profile"].items()
            if SERIES.index(entry.get("since", SERIES[0])) <= SERIES.index(series)
        )
        return Target(
            name=name, arch=raw["arch"], default_packages=tuple(sorted(defaults)), profiles=profiles
        )


def _at(by_series: Mapping[str, Any], series: str) -> Any:
    """Return the value of the newest key that is not newer than `series`."""
    known = [key for key in SERIES[: SERIES.index(series) + 1] if key in by_series]
    return by_series[known[-1]]


def _profile(name: str, raw: Mapping[str, Any], images: list[str], series: str) -> Profile:
    titles = _at({SERIES[0]: raw["titles"], **raw.get("titles_since", {})}, series)
    return Profile(
        name=name,
        titles=tuple(
            dict(zip(("vendor", "model", "variant"), title.split("|"), strict=False))
            for title in titles
        ),
        supported_devices=tuple(raw["supported"]),
        packages=tuple(_at(raw["packages"], series).split()),
        images=tuple(raw.get("images", images)),
        limit=raw.get("limit"),
    )


def _columns(text: str) -> dict[str, str]:
    """Split "a | b | c [| d]" into series; one column means all of them, three mean that main is
    like the third.
    """
    cells = [cell.strip() for cell in text.split("|")]
    if len(cells) == 1:
        # OpenWrt 23.05 still wrote the package release without the letter.
        cells = [cells[0].replace("-r", "-"), *cells * 3]
    if len(cells) == len(SERIES) - 1:
        cells.append(cells[-1])
    return {series: cell for series, cell in zip(SERIES, cells, strict=True) if cell != "-"}


def _recipe(name: str, feed: str, raw: Mapping[str, Any]) -> Recipe:
    if "v" not in raw and feed not in DEFAULT_VERSION:
        raise ValueError(f"{name} has no version")
    init = raw.get("init")
    abi = str(raw.get("abi", ""))
    return Recipe(
        name=name,
        feed=feed,
        versions=_columns(raw.get("v") or DEFAULT_VERSION[feed]),
        abi=_columns(abi) if "|" in abi else dict.fromkeys(SERIES, abi),
        needs=tuple(raw.get("needs", ())),
        provides=tuple(raw.get("provides", ())),
        conflicts=tuple(raw.get("conflicts", ())),
        group=raw.get("group", ""),
        only=tuple(raw.get("only", ())),
        files=tuple(raw.get("files", ())),
        init=(init, name) if isinstance(init, int) else (init[0], init[1]) if init else None,
        architecture_free=raw.get("all", feed == "luci"),
        random_bytes=raw.get("random_bytes", 0),
        postinst=raw.get("postinst", ""),
        trouble=raw.get("trouble", ""),
        about=raw.get("about", ""),
        priority=raw.get("priority", 0),
    )


def _release(raw: Mapping[str, Any]) -> Release:
    lists = {key: tuple(raw.get(key, ())) for key in ("targets", "drop", "truncate")}
    return Release(**{"path": f"releases/{raw['version']}", **raw, **lists})


@lru_cache(maxsize=1)
def load() -> Catalogue:
    """Read the three TOML files."""
    raw = {
        name: tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
        for name in ("releases", "devices", "packages")
    }
    return Catalogue(
        **raw["releases"]["versions"],
        releases=tuple(_release(entry) for entry in raw["releases"]["release"]),
        recipes={
            name: _recipe(name, feed, line)
            for feed, lines in raw["packages"].items()
            for name, line in lines.items()
        },
        devices=raw["devices"],
    )
