"""What a check finds, and how all checks run: at the same time, each for a few seconds at most."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from asu.logs import where_it_failed

# For each check; what takes longer on an idle machine would not serve a request either.
SECONDS = 5.0


class Level(StrEnum):
    """How bad a finding is: a problem stops builds or loses them, a warning may."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found, and what to do about it; `name` is the check's, filled in when it ran."""

    name: str = ""
    level: Level
    detail: str
    advice: str = ""


Check = Callable[[], Finding]


def fine(detail: str) -> Finding:
    """Return that all is well."""
    return Finding(level=Level.OK, detail=detail)


def warning(detail: str, advice: str) -> Finding:
    """Return that something may go wrong."""
    return Finding(level=Level.WARNING, detail=detail, advice=advice)


def problem(detail: str, advice: str) -> Finding:
    """Return that something is wrong."""
    return Finding(level=Level.PROBLEM, detail=detail, advice=advice)


def run_checks(
    checks: Mapping[str, Check],
    *,
    seconds: float = SECONDS,
    longer: Mapping[str, float] | None = None,
) -> list[Finding]:
    """Run all checks at the same time and return their findings in order.

    Wait for each at most `seconds`, or what `longer` says of it. A check that takes longer, or that
    raises, is a problem of its own.
    """
    found: dict[str, Finding] = {}

    def run(name: str, check: Check) -> None:
        try:
            found[name] = check()
        except Exception as error:  # noqa: BLE001  # Whatever it is, the other checks go on.
            found[name] = problem(
                f"the check itself failed: {where_it_failed(error).splitlines()[0]}",
                "Report this to the authors of asu.",
            )

    # Daemons: a thread that hangs in a system call must not keep the command from ending.
    threads = [threading.Thread(target=run, args=item, daemon=True) for item in checks.items()]
    limits = {name: (longer or {}).get(name, seconds) for name in checks}
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread, limit in zip(threads, limits.values(), strict=True):
        thread.join(max(0.0, begun + limit - time.monotonic()))
    advice = "See whether the server that it asks hangs, or whether a firewall drops the packets."
    return [
        replace(found.get(name) or problem(f"no answer within {limit:g} s", advice), name=name)
        for name, limit in limits.items()
    ]
