"""What a check found, and how all checks are run: at once, each for a few seconds at most, whatever becomes of the others."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
    """What was found under a name, and what to do about it, empty where nothing is to be done."""

    name: str
    level: Level
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check says, before it has the check's name."""

    level: Level
    detail: str
    advice: str = ""


Check = Callable[[], Verdict]


def fine(detail: str) -> Verdict:
    """Return that all is well."""
    return Verdict(Level.OK, detail)


def warning(detail: str, advice: str) -> Verdict:
    """Return that something may go wrong."""
    return Verdict(Level.WARNING, detail, advice)


def problem(detail: str, advice: str) -> Verdict:
    """Return that something is wrong."""
    return Verdict(Level.PROBLEM, detail, advice)


def run_checks(
    checks: Mapping[str, Check],
    *,
    seconds: float = SECONDS,
    longer: Mapping[str, float] | None = None,
) -> list[Finding]:
    """Run all checks at once and return what each found, in their order, after at most `seconds`; for those named in `longer`, after theirs.

    One that takes longer is a problem of its own, and so is one that fails in a way that nobody
    thought of.
    """
    verdicts: dict[str, Verdict] = {}

    def run(name: str, check: Check) -> None:
        try:
            verdicts[name] = check()
        except Exception as error:  # noqa: BLE001  # Whatever it is, the other checks go on.
            verdicts[name] = problem(
                f"the check itself failed: {where_it_failed(error).splitlines()[0]}",
                "Tell the authors of asu.",
            )

    # Daemons: what hangs in a system call must not keep the command from its end.
    threads = [threading.Thread(target=run, args=item, daemon=True) for item in checks.items()]
    limits = {name: (longer or {}).get(name, seconds) for name in checks}
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread, limit in zip(threads, limits.values(), strict=True):
        thread.join(max(0.0, begun + limit - time.monotonic()))
    found = {name: verdicts.get(name) or _late(limit) for name, limit in limits.items()}
    return [
        Finding(name=name, level=verdict.level, detail=verdict.detail, advice=verdict.advice)
        for name, verdict in found.items()
    ]


def _late(seconds: float) -> Verdict:
    return problem(
        f"no answer within {seconds:g} s",
        "Look whether what it asks hangs or is cut off by a firewall that drops packets.",
    )


def has_problems(findings: Iterable[Finding]) -> bool:
    """Whether any finding is a problem."""
    return any(finding.level is Level.PROBLEM for finding in findings)
