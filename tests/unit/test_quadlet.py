"""The Quadlet units: each key is one that podman's generator knows, and each value agrees with the code."""

import re
from pathlib import Path

import pytest

from asu.build_queue import PATIENCE
from asu.settings import Settings

DIRECTORY = Path(__file__).resolve().parents[2] / "misc" / "quadlet"
UNITS = sorted(path for path in DIRECTORY.iterdir() if path.suffix in {".container", ".network", ".volume"})
# From podman-systemd.unit(5) of podman 4.6, the oldest that knows all of these; systemd's own sections are systemd's.
KEYS = {
    "Container": {
        "ContainerName",
        "DropCapability",
        "Environment",
        "EnvironmentFile",
        "Exec",
        "Group",
        "HealthCmd",
        "HealthInterval",
        "Image",
        "Network",
        "NoNewPrivileges",
        "PodmanArgs",
        "PublishPort",
        "ReadOnly",
        "SecurityLabelDisable",
        "User",
        "Volume",
    },
    "Network": {"Internal", "NetworkName", "Options", "Subnet"},
    "Volume": {"VolumeName"},
    "Unit": {"After", "Description", "Requires"},
    "Service": {"Restart", "TimeoutStopSec"},
    "Install": {"DefaultInstance", "WantedBy"},
}


def entries(path: Path) -> list[tuple[str, str, str]]:
    """Return section, key and value of each line of a unit."""
    section, found = "", []
    for line in path.read_text().splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
        elif line and not line.startswith("#"):
            key, separator, value = line.partition("=")
            assert separator, line
            found.append((section, key, value))
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_every_key_is_known(path: Path) -> None:
    """The generator refuses a unit with a key that it does not know."""
    assert {(section, key) for section, key, _ in entries(path) if key not in KEYS.get(section, set())} == set()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_what_a_unit_names_exists(path: Path) -> None:
    """Networks, volumes and services of our own are units here."""
    names = {unit.name for unit in UNITS} | {f"{unit.stem}.service" for unit in UNITS}
    named = {word.partition(":")[0] for _, key, value in entries(path) if key in {"Network", "Volume", "Requires", "After"} for word in value.split()}

    assert {name for name in named if name.startswith("asu-")} <= names


@pytest.mark.parametrize("path", [path for path in UNITS if path.suffix == ".container"], ids=lambda path: path.name)
def test_a_container_has_no_rights_and_limits(path: Path) -> None:
    """As in the compose files: a read-only root, no capabilities, bounded memory and processors, only this machine's ports."""
    values = {key: value for _, key, value in entries(path)}

    assert (values["ReadOnly"], values["DropCapability"], values["NoNewPrivileges"]) == ("true", "all", "true")
    assert all(f"--{limit}=" in values["PodmanArgs"] for limit in ("memory", "cpus", "pids-limit"))
    assert values.get("PublishPort", "127.0.0.1:").startswith("127.0.0.1:")


def test_a_worker_may_finish_its_longest_build() -> None:
    """Neither podman nor systemd ends a worker that still has time for its build."""
    values = {key: value for _, key, value in entries(DIRECTORY / "asu-worker@.container")}
    longest = Settings(build_key=Path("key"), s3_bucket="images").build_deadline + PATIENCE
    stop = re.search(r"--stop-timeout=(\d+)", values["PodmanArgs"])

    assert stop
    assert longest < int(stop[1]) < int(values["TimeoutStopSec"])


@pytest.mark.parametrize("name", ["asu-api.container", "asu-worker@.container"])
def test_settings_are_settings(name: str) -> None:
    """Each variable is one that the code reads."""
    given = {word.partition("=")[0] for _, key, value in entries(DIRECTORY / name) if key == "Environment" for word in value.split()}

    assert given <= {field.upper() for field in Settings.model_fields}
