"""The Quadlet units: each key is one that podman's generator knows, and each value agrees with the
code.
"""

import re
from ipaddress import IPv4Network, ip_address
from pathlib import Path

import pytest

from asu.builds.build_queue import PATIENCE
from asu.settings import Settings

DIRECTORY = Path(__file__).resolve().parents[2] / "misc" / "quadlet"
UNITS = sorted(
    path for path in DIRECTORY.iterdir() if path.suffix in {".container", ".network", ".volume"}
)
# From podman-systemd.unit(5) of podman 4.6, the oldest that knows all of these; systemd's own
# sections are systemd's.
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
        "IP",
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
    "Network": {"IPRange", "Internal", "NetworkName", "Options", "Subnet"},
    "Volume": {"VolumeName"},
    "Unit": {"After", "Description", "Requires", "Wants"},
    "Service": {"Restart", "RestartSec", "TimeoutStopSec"},
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


def values_of(name: str, wanted: str) -> list[str]:
    """Return all that a unit gives one key, word by word."""
    return [
        word
        for _, key, value in entries(DIRECTORY / name)
        if key == wanted
        for word in value.split()
    ]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_every_key_is_known(path: Path) -> None:
    """The generator refuses a unit with a key that it does not know."""
    assert {
        (section, key) for section, key, _ in entries(path) if key not in KEYS.get(section, set())
    } == set()


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_what_a_unit_names_exists(path: Path) -> None:
    """Networks, volumes and services of our own are units here."""
    names = {unit.name for unit in UNITS} | {f"{unit.stem}.service" for unit in UNITS}
    named = {
        word.partition(":")[0]
        for key in ("Network", "Volume", "Requires", "Wants", "After")
        for word in values_of(path.name, key)
    }

    assert {name for name in named if name.startswith("asu-")} <= names


@pytest.mark.parametrize(
    "path", [path for path in UNITS if path.suffix == ".container"], ids=lambda path: path.name
)
def test_a_container_has_no_rights_and_limits(path: Path) -> None:
    """As in the compose files: a read-only root, no capabilities, bounded memory and processors,
    only this machine's ports.
    """
    values = {key: value for _, key, value in entries(path)}

    assert (values["ReadOnly"], values["DropCapability"], values["NoNewPrivileges"]) == (
        "true",
        "all",
        "true",
    )
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
    given = {
        word.partition("=")[0]
        for _, key, value in entries(DIRECTORY / name)
        if key == "Environment"
        for word in value.split()
    }

    assert given <= {field.upper() for field in Settings.model_fields}


def test_the_audit_log_outlives_its_container() -> None:
    """Workers write it into a volume of its own; no unit says where, which would hold against what
    the operator's file says.
    """
    [log] = re.findall(
        r"grep -q \^AUDIT_LOG= (?P<file>\S+) \|\| echo AUDIT_LOG=(\S+) >> (?P=file)$",
        (DIRECTORY / "README.md").read_text(),
        re.MULTILINE,
    )[0][1:]
    assert not [
        word
        for value in values_of("asu-worker@.container", "Environment")
        for word in value.split()
        if word.startswith("AUDIT_LOG=")
    ]

    assert f"asu-audit.volume:{Path(log).parent}" in values_of("asu-worker@.container", "Volume")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_file_of_settings_is_named_as_quadlet_reads_it(path: Path) -> None:
    """Quadlet takes what does not begin with a slash for a file beside the unit; podman starts
    nothing without it, so the README makes it.
    """
    made = re.findall(r"^touch ([^#]*)", (DIRECTORY / "README.md").read_text(), re.MULTILINE)

    for file in values_of(path.name, "EnvironmentFile"):
        assert file.startswith("/")
        assert file in made[0].split()


@pytest.mark.parametrize("name", ["asu-api.container", "asu-worker@.container"])
def test_a_restart_of_redis_restarts_nothing_else(name: str) -> None:
    """What requires a service, systemd stops before it restarts that; a worker would first finish
    its build.
    """
    assert "asu-redis.service" not in values_of(name, "Requires")
    assert "asu-redis.service" in values_of(name, "Wants")
    assert "asu-redis.service" in values_of(name, "After")


@pytest.mark.parametrize("name", ["asu-api.container", "asu-worker@.container"])
def test_redis_is_found_without_a_name_server(name: str) -> None:
    """The name server of podman loses questions while builds come and go; a poll that waits for
    Redis would be answered with an error.
    """
    [address] = values_of("asu-redis.container", "IP")

    assert f"--add-host=redis:{address}" in values_of(name, "PodmanArgs")
    assert values_of("asu-redis.container", "Network") == ["asu-backend.network"]


@pytest.mark.parametrize(("name", "network"), [("redis", "backend"), ("gateway", "frontend")])
def test_nobody_else_is_given_a_fixed_address(name: str, network: str) -> None:
    """It lies in the network, and apart from the addresses that podman hands out while its owner is
    away.
    """
    [address], [subnet], [handed_out] = (
        values_of(f"asu-{name}.container", "IP"),
        values_of(f"asu-{network}.network", "Subnet"),
        values_of(f"asu-{network}.network", "IPRange"),
    )

    assert ip_address(address) in IPv4Network(subnet)
    assert ip_address(address) not in IPv4Network(handed_out)
    assert IPv4Network(handed_out).subnet_of(IPv4Network(subnet))
