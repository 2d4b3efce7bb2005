"""The two services share no code: each has its own copy of the decision core, and the copies are
the same bytes.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS, THEIRS = ROOT / "asu" / "resolution", ROOT / "asu-prepare" / "asu_prepare" / "resolution"


def sources(directory: Path) -> dict[str, bytes]:
    """Return the files of a directory without compiled ones, by name."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def imported_names(directory: Path) -> Iterator[tuple[Path, str]]:
    """Yield the absolute imports of all modules below a directory."""
    for path in directory.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield path, node.module or ""


def test_the_decision_core_is_the_same_in_both_services() -> None:
    """A preview and a build can never disagree, since both decide with the same bytes; `make
    sync-resolution` copies them.
    """
    assert sources(OURS) == sources(THEIRS)


def test_the_golden_hashes_are_the_same_in_both_services() -> None:
    """Both services are held to the same identities, each by its own copy."""
    assert (ROOT / "tests/unit/golden_hashes.json").read_bytes() == (
        ROOT / "asu-prepare/tests/golden_hashes.json"
    ).read_bytes()


@pytest.mark.parametrize(
    ("package", "other"),
    [("asu-prepare/asu_prepare", "asu"), ("asu", "asu_prepare"), ("asu-prepare/tests", "asu")],
)
def test_no_service_imports_the_other(package: str, other: str) -> None:
    """Each service can be rewritten without the other noticing."""
    assert not [
        (path, name) for path, name in imported_names(ROOT / package) if name.split(".")[0] == other
    ]


def test_the_prepare_service_loads_no_heavy_machinery() -> None:
    """The preview needs no queue and no containers, and one HTTP client, so it stays small and
    starts fast.
    """
    program = (
        "import sys, asu_prepare.main, asu_prepare.__main__; print(*{name.partition('.')[0] for"
        " name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "asu-prepare")},
    ).stdout.split()

    assert "asu_prepare" in loaded
    assert not {"asu", "redis", "rq", "podman", "httpx", "requests", "boto3"} & set(loaded)
