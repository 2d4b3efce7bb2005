"""Look the locked packages up among known vulnerabilities, and never take silence for "none".

pip-audit exits with 0, too, when the service could not be asked: it calls each package one that it
"could not audit". So what it found is counted here.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from misc.supply.locks import LOCKS, ROOT

SECONDS = 300  # For one lock; with an answering service it takes ten.
UNREACHABLE = "the advisory data cannot be reached from here"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of a lock: vulnerable packages, unknown ones, how many were looked up."""

    vulnerable: tuple[str, ...]
    unknown: tuple[str, ...]
    audited: int


def read_outcome(output: str) -> Outcome | None:
    """Read the JSON of pip-audit; None if it is something else, as when no service answered."""
    try:
        dependencies = json.loads(output)["dependencies"]
        unknown = tuple(str(one["name"]) for one in dependencies if "skip_reason" in one)
        vulnerable = tuple(
            f"{one['name']} {one['version']}: {found['id']}, mended in "
            f"{', '.join(found['fix_versions']) or 'no version yet'}"
            for one in dependencies
            for found in one.get("vulns", ())
        )
    except (ValueError, KeyError, TypeError):
        return None
    return Outcome(vulnerable, unknown, len(dependencies) - len(unknown))


def audit(*, strict: bool) -> int:
    """Audit every lock and print the result; return 1 for vulnerable packages.

    If `strict`, also for packages that could not be looked up.
    """
    codes = [_report(lock, read_outcome(_ask(lock)), strict=strict) for lock in LOCKS]
    return max(codes)


def _report(lock: Path, outcome: Outcome | None, *, strict: bool) -> int:
    name = lock.relative_to(ROOT)
    if outcome is None or not outcome.audited:
        print(f"audit of {name}: SKIPPED, {UNREACHABLE}; nothing is known of its packages")
        return int(strict)
    print(
        f"audit of {name}: {outcome.audited} packages looked up, "
        f"{len(outcome.vulnerable)} vulnerabilities"
    )
    for words in outcome.vulnerable:
        print(f"  VULNERABLE: {words}")
    if outcome.unknown:
        print(f"  not known to the advisory service: {', '.join(outcome.unknown)}")
    return int(bool(outcome.vulnerable) or (strict and bool(outcome.unknown)))


def _ask(lock: Path) -> str:
    """Return what pip-audit prints about a lock; empty if it takes too long."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--disable-pip",
        "--require-hashes",
        "--format=json",
        "--progress-spinner=off",
        "-r",
        str(lock),
    ]
    try:
        return subprocess.run(
            command,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=SECONDS,
        ).stdout
    except subprocess.TimeoutExpired:
        return ""
