"""What comes out: one table for people, one JSON document for programs."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

# Runnable processes per core, before anything was measured, above which others clearly take part.
BUSY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure; with a bar, whether it holds."""

    what: str
    value: float
    unit: str
    digits: int = 1
    relation: Literal["<=", ">="] | None = None
    bar: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the bar holds; None where there is none."""
        if self.bar is None:
            return None
        return self.value <= self.bar if self.relation == "<=" else self.value >= self.bar

    def cells(self) -> tuple[str, str, str, str]:
        """Return the row as text: what, measured, bar, verdict."""
        bar = "" if self.bar is None else f"{self.relation} {self.bar:g} {self.unit}"
        verdict = {None: "", True: "holds", False: "MISSED"}[self.holds]
        return self.what, f"{self.value:.{self.digits}f} {self.unit}", bar.strip(), verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The figures of one thing; `trouble` says why it could not be measured."""

    title: str
    rows: Sequence[Row] = ()
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    trouble: str | None = None


def at_most(what: str, value: float, bar: float, unit: str, *, digits: int = 1) -> Row:
    """Return a figure that must not be larger than its bar."""
    return Row(what=what, value=value, unit=unit, digits=digits, relation="<=", bar=bar)


def at_least(what: str, value: float, bar: float, unit: str, *, digits: int = 1) -> Row:
    """Return a figure that must not be smaller than its bar."""
    return Row(what=what, value=value, unit=unit, digits=digits, relation=">=", bar=bar)


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_average": list(os.getloadavg()),
    }


def as_text(machine: Mapping[str, Any], sections: Sequence[Section]) -> str:
    """Return the table."""
    load = machine["load_average"]
    lines = [
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_mib']} MiB",
        f"Linux {machine['kernel']}, Python {machine['python']}",
        f"load average before: {load[0]:.2f} {load[1]:.2f} {load[2]:.2f}",
    ]
    if load[0] > BUSY * machine["cores"]:
        lines.append(
            "the machine was busy with other things: times and latencies look worse than they are"
        )
    cells = [row.cells() for section in sections for row in section.rows]
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(3)]
    for section in sections:
        lines += ["", section.title]
        for what, measured, bar, verdict in (row.cells() for row in section.rows):
            first = f"  {what:<{widths[0]}}  {measured:>{widths[1]}}  {bar:<{widths[2]}}"
            lines.append(f"{first}  {verdict}".rstrip())
        lines += [f"  {note}" for note in section.notes]
        if section.trouble:
            lines.append(f"  could not be measured: {section.trouble}")
    missed = [
        f"{section.title}: {row.what}"
        for section in sections
        for row in section.rows
        if row.holds is False
    ]
    lines += [
        "",
        "bars missed:" if missed else "every bar that was measured holds",
        *(f"  {name}" for name in missed),
    ]
    return "\n".join(lines)


def write_json(path: Path, machine: Mapping[str, Any], sections: Sequence[Section]) -> None:
    """Write everything that was measured."""
    document = {"machine": machine, "sections": [_as_json(section) for section in sections]}
    path.write_text(json.dumps(document, indent=2) + "\n")


def _as_json(section: Section) -> dict[str, Any]:
    return {
        **asdict(section),
        "rows": [{**asdict(row), "holds": row.holds} for row in section.rows],
    }


def _processor() -> str:
    """Return the processor's name; some architectures have none."""
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()
