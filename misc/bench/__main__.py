"""`make bench`: `python -m misc.bench [NAME …] [--json FILE]` runs all or some measurements."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from misc.bench import build, copy, crowd, defaults, documents, poll, prepare, resolution
from misc.bench.report import Section, as_text, describe_machine, write_json
from misc.native.trouble import Trouble

MEASUREMENTS: Mapping[str, tuple[str, Callable[[], Section]]] = {
    "prepare": (prepare.TITLE, prepare.measure),
    "documents": (documents.TITLE, documents.measure),
    "poll": (poll.TITLE, poll.measure),
    "crowd": (crowd.TITLE, crowd.measure),
    "build": (build.TITLE, build.measure),
    "copy": (copy.TITLE, copy.measure),
    "defaults": (defaults.TITLE, defaults.measure),
    "resolution": (resolution.TITLE, resolution.measure),
}
DEMO = (
    "make demo: the command prints how long it took (bars: 300 s from a fresh clone, 30 s the "
    "second time)"
)


def main() -> int:
    """Measure what is named, or everything; return 1 when something could not be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m misc.bench",
        description="Measures the bars that the design sets; takes four minutes.",
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="|".join(MEASUREMENTS),
        help="what to measure; everything by default",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"there is no {unknown[0]}; choose from {', '.join(MEASUREMENTS)}")
    signal.signal(signal.SIGTERM, _leave)
    machine = describe_machine()
    try:
        sections = [_measure(name) for name in options.names or MEASUREMENTS]
    except KeyboardInterrupt:
        print("\nleft; everything that was started has been ended", file=sys.stderr)
        return 130
    print(as_text(machine, sections))
    print(DEMO)
    if options.json:
        write_json(options.json, machine, sections)
    return 1 if any(section.trouble for section in sections) else 0


def _measure(name: str) -> Section:
    """Measure one thing; what cannot be measured leaves the others alone."""
    title, measure = MEASUREMENTS[name]
    print(f"measuring {title}", file=sys.stderr, flush=True)
    try:
        return measure()
    except Trouble as trouble:
        return Section(title=title, trouble=str(trouble))
    # Whatever stops one measurement, the others go on; the exit code says that one failed.
    except Exception as error:  # noqa: BLE001
        return Section(title=title, trouble=f"{type(error).__name__}: {error}")


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Let SIGTERM end the servers as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
