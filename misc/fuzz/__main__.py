"""`make fuzz`: start a system of its own, try both OpenAPI files through its gateway, and end it.

    FUZZ_SECONDS=600 python -m misc.fuzz

The seed is printed; `FUZZ_SEED` takes one, to see a failure again. The first phase sends the
examples, the second the edges of every field, the third whatever the time allows. Meanwhile the
services are weighed, and must not grow.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from misc.bench.servers import free_port
from misc.fuzz.memory import MemoryWatch, judge
from misc.native.processes import Processes
from misc.native.settings import ROOT, Settings, read_settings
from misc.native.system import bring_up, take_down
from misc.native.trouble import Trouble

DOCUMENTS = (ROOT / "asu" / "openapi.json", ROOT / "asu-prepare" / "openapi.json")
# Of the prepare service only this is reached through the gateway; its other routes are for
# operators, at its own port.
THROUGH_THE_GATEWAY = "/api/v1/prepare"
CHECKS = (
    "no_server_error",
    "one_error_shape",
    "one_cors_header",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
MIN_SECONDS = 20  # In which every field of one request is tried at its edges.
# Seconds beyond its time in which schemathesis ends its phases and writes what it has found.
GRACE = 120


def main() -> int:
    """Run everything; return 1 when an answer was not as it should be."""
    seconds = int(os.environ.get("FUZZ_SECONDS") or 600)
    # The second document has one path through the gateway, the first all others.
    parts = (seconds, max(MIN_SECONDS, seconds // 5))
    with tempfile.TemporaryDirectory(prefix="asu-fuzz-") as directory:
        settings = read_settings(_environment(Path(directory)))
        try:
            bring_up(settings, _say)
            with MemoryWatch(Processes(settings.run_dir)) as watch:
                results = [
                    _try(document, settings, part, Path(directory))
                    for document, part in zip(DOCUMENTS, parts, strict=True)
                ]
        except Trouble as trouble:
            _say(f"make fuzz: {trouble}")
            return 1
        finally:
            take_down(settings, _say)
    lines, is_flat = judge(watch.samples, seconds)
    _say("\n".join(["", *lines]))
    return int(any(results) or not is_flat)


def _environment(directory: Path) -> Mapping[str, str]:
    """Return the system's settings: free ports, one target, and as little forbidden as possible."""
    ports = {name: str(free_port()) for name in ("GATEWAY_PORT", "ASU_PORT", "PREPARE_PORT")}
    # The builders name the port of their feeds, so it stays the same, and they are found again the
    # next time.
    standin = {
        "UPSTREAM_PORT": "18486",
        "STANDIN_VERSIONS": "24.10.4",
        "STANDIN_TARGETS": "ath79/generic",
    }
    return {**ports, **standin, "RUN_DIR": str(directory), "ALLOW_DEFAULTS": "true"}


def _try(document: Path, settings: Settings, seconds: int, directory: Path) -> int:
    """Send what a document allows, and what it does not, for `seconds`; return the exit code.

    It runs in a directory that goes with it: what it notes for its next run would make each run
    another one.
    """
    command = [
        str(settings.python),
        "-m",
        "schemathesis.cli",
        "run",
        str(document),
        "--url",
        settings.gateway_url,
        "--max-time",
        str(seconds),
    ]
    command += [
        "--checks",
        ",".join(CHECKS),
        "--continue-on-failure",
        "--warnings",
        "off",
        "--request-timeout",
        "60",
    ]
    command += ["--seed", os.environ["FUZZ_SEED"]] if os.environ.get("FUZZ_SEED") else []
    command += (
        ["--include-path", THROUGH_THE_GATEWAY] if document.parent.name == "asu-prepare" else []
    )
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "misc.fuzz.checks", "PYTHONPATH": str(ROOT)}
    _say(f"\n{document.relative_to(ROOT)} through {settings.gateway_url}, {seconds} s")
    return subprocess.run(
        command, check=False, cwd=directory, env=environment, timeout=seconds + GRACE
    ).returncode


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
