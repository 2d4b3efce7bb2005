"""`make lock`: pin the newest dependencies that the two pyproject.toml allow, with the hashes of all their files.

The lock files hold for every platform and Python from 3.11 on and name no package index: where packages come from is the
business of whoever installs them.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Output, the projects whose dependencies it pins, further options.
LOCKS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("requirements.lock", ("pyproject.toml",), ()),
    ("asu-prepare/requirements.lock", ("asu-prepare/pyproject.toml",), ()),
    ("requirements-dev.lock", ("pyproject.toml", "asu-prepare/pyproject.toml"), ("--group", "dev")),
)


def main() -> None:
    """Write all lock files, or end with the resolver's exit code."""
    for output, projects, options in LOCKS:
        command = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--python-version",
            "3.11",
            "--generate-hashes",
            "--upgrade",
        ]
        command += [
            "--no-emit-index-url",
            "--no-emit-find-links",
            "--custom-compile-command",
            "make lock",
            "--output-file",
            output,
            *options,
            *projects,
        ]
        done = subprocess.run(command, check=False, cwd=ROOT)
        if done.returncode:
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
