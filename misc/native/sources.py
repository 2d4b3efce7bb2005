"""What processes are made from, read from files: names of settings, digest of sources."""

from __future__ import annotations

import ast
import hashlib
from typing import TYPE_CHECKING

from misc.native.settings import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# Where each service's settings stand, and what is put before their names. Both are read in any case
# of letters.
ASU_SETTINGS, ASU_PREFIX = ROOT / "asu" / "settings.py", ""
PREPARE_SETTINGS, PREPARE_PREFIX = ROOT / "asu-prepare" / "asu_prepare" / "config.py", "PREPARE_"
ASU_CONFIG = "ASU_CONFIG"  # Names a file of settings.

# What a new version of either service brings with it.
ASU_SOURCES = (ROOT / "asu", ROOT / "requirements-dev.lock")
PREPARE_SOURCES = (ROOT / "asu-prepare" / "asu_prepare", ROOT / "requirements-dev.lock")


def given_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of either service in `environment`; an empty value sets nothing."""
    names = {
        ASU_CONFIG,
        *_setting_names(ASU_SETTINGS, ASU_PREFIX),
        *_setting_names(PREPARE_SETTINGS, PREPARE_PREFIX),
    }
    return {name: value for name, value in environment.items() if value and name.upper() in names}


def settings_file(environment: Mapping[str, str]) -> Path:
    """Return the file that asu takes settings from; it need not exist."""
    return ROOT / (environment.get(ASU_CONFIG) or "asu.toml")


def digest_of(paths: Iterable[Path]) -> str:
    """Digest files and directories, without tests and compiled Python; a missing one is empty."""
    digest = hashlib.sha256()
    for start in paths:
        for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
            if (
                path.is_file()
                and "__pycache__" not in path.parts
                and not path.name.startswith("test_")
            ):
                digest.update(f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _setting_names(path: Path, prefix: str) -> list[str]:
    """Read the fields of `Settings` without an import: services have other dependencies."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "Settings":
            fields = (entry.target for entry in node.body if isinstance(entry, ast.AnnAssign))
            return [
                f"{prefix}{target.id}".upper() for target in fields if isinstance(target, ast.Name)
            ]
    return []
