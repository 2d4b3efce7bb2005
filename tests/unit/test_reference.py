"""The reference says what the code says."""

from pathlib import Path

from misc.reference import reference

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_is_current() -> None:
    """REFERENCE.md holds every setting, route, metric and error as they are now; `python -m
    misc.reference > REFERENCE.md` writes it anew.
    """
    assert (ROOT / "REFERENCE.md").read_text(encoding="utf-8") == reference()


def test_the_readme_names_only_settings_that_exist() -> None:
    """A name in capitals in the README's table of settings stands in the reference or belongs to
    the native system.
    """
    native = {
        "GATEWAY_HOST",
        "GATEWAY_PORT",
        "ASU_PORT",
        "PREPARE_PORT",
        "UPSTREAM_PORT",
        "WORKERS",
        "RUN_DIR",
        "DRAIN_SECONDS",
    }
    native |= {
        "STANDIN_VERSIONS",
        "STANDIN_TARGETS",
        "STANDIN_DELAYS",
        "VERSION",
        "TARGET",
        "PROFILE",
        "VERBOSE",
        "PYTHON",
        "PYTEST_ARGS",
    }
    table = [
        line
        for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    names = {
        name
        for line in table
        for name in line.split("|")[1].replace("`", "").replace(",", " ").split()
    }

    assert names
    assert all(name in native or f"| `{name}` |" in reference() for name in names)
