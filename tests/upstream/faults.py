"""Faults that a test switches on while the server runs: a JSON file with a list of rules, read anew
at each request.

    [{"path": "releases/24.10.4/*", "fault": "500", "times": 2}, {"path": "*.json", "fault": "slow",
    "seconds": 3}]

`path` is a shell pattern against the path without its leading slash (`*` also matches slashes). The
first rule that matches holds; `times` lets it strike that often and no more. The faults, and the
keys that they know:

    500, 404, or any other number   answer with that status
    slow       answer after `seconds` (default 2)
    truncated  promise the whole length, send half, hang up
    garbage    answer 200 with `body` (default: a login page such as a captive portal sends)
    hang       answer nothing for `seconds` (default: until the client or the server goes away)
    redirect   302 to `location` (default: the same path with `?redirected`, which is then served)
"""

from __future__ import annotations

import fnmatch
import json
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PORTAL = "<!DOCTYPE html><title>Welcome</title><p>Please log in to use this network."
KINDS = ("slow", "truncated", "garbage", "hang", "redirect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule."""

    path: str
    fault: str
    times: int | None = None
    seconds: float | None = None
    location: str | None = None
    body: str = PORTAL

    def __post_init__(self) -> None:
        if self.fault not in KINDS and not (self.fault.isdigit() and len(self.fault) == 3):
            raise ValueError(
                f"unknown fault {self.fault!r}: a status of three digits, or one of"
                f" {', '.join(KINDS)}"
            )

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Fault:
        """Read one rule; a status may be a number."""
        return cls(**{**raw, "fault": str(raw["fault"])})


class Faults:
    """The rules in force: those of the file, if there is one, then those that were set from
    Python.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._set: tuple[Fault, ...] = ()
        self._struck: Counter[Fault] = Counter()
        self._lock = threading.Lock()

    def set(self, faults: Iterable[Fault]) -> None:
        """Replace the rules that were set from Python, and count anew."""
        with self._lock:
            self._set = tuple(faults)
            self._struck.clear()

    def strike(self, path: str) -> Fault | None:
        """Return the rule that holds for `path`, and count it."""
        with self._lock:
            for fault in (*self._read(), *self._set):
                if not fnmatch.fnmatchcase(path, fault.path):
                    continue
                if fault.times is None or self._struck[fault] < fault.times:
                    self._struck[fault] += 1
                    return fault
        return None

    def _read(self) -> list[Fault]:
        if self._file is None or not self._file.is_file():
            return []
        text = self._file.read_text(encoding="utf-8")
        return [Fault.from_json(rule) for rule in json.loads(text or "[]")]
