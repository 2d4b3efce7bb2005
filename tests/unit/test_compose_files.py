"""What the compose files promise, read from the files; `make smoke` starts them."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from podman_compose import rec_subs

from asu.builds.build_queue import PATIENCE
from asu.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
FILES = ("podman-compose.yml", "podman-compose.microservices.yml", "podman-compose.workers.yml")
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z0-9_]+)(?::?-([^}]*))?")
EXAMPLE = re.compile(r"^#?([A-Z0-9_]+)=(.*)$", re.MULTILINE)


def services(name: str) -> dict[str, dict[str, Any]]:
    """Return the services of a compose file, with each variable at its default."""
    text = re.sub(
        r"(?<!\$)\$\{[A-Z0-9_]+(?::?-([^}]*)|:\?[^}]*)?\}",
        lambda match: match[1] or "",
        (ROOT / name).read_text(),
    )
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return found


def defaults() -> dict[str, set[str]]:
    """Return each variable of the compose files with its defaults."""
    found: dict[str, set[str]] = {}
    for name in FILES:
        for variable, default in VARIABLE.findall((ROOT / name).read_text()):
            found.setdefault(variable, set()).add(default)
    return found


def test_every_variable_is_explained() -> None:
    """What the compose files read stands in .env.example, and what stands there is read by them or
    by the services.
    """
    explained = {name for name, _ in EXAMPLE.findall((ROOT / ".env.example").read_text())}
    settings = {name.upper() for name in Settings.model_fields}

    assert set(defaults()) <= explained
    assert explained <= set(defaults()) | settings


def test_one_variable_has_one_default() -> None:
    """All files mean the same, and .env.example shows it."""
    shown: dict[str, str] = {}
    for name, value in EXAMPLE.findall((ROOT / ".env.example").read_text()):
        shown.setdefault(name, value)
    for name, values in defaults().items():
        filled = values - {""}
        assert len(filled) <= 1, name
        assert filled <= {shown[name]}, name


@pytest.mark.parametrize("name", FILES)
def test_a_worker_may_finish_its_longest_build(name: str) -> None:
    """A stop waits longer than a build can take, signed and copied to a bucket, and longer than RQ
    lets it go on.
    """
    minutes = services(name)["worker"]["stop_grace_period"].removesuffix("m")
    longest = Settings(build_key=Path("key"), s3_bucket="images").build_deadline + PATIENCE

    assert int(minutes) * 60 > longest


@pytest.mark.parametrize("name", FILES)
def test_every_service_is_bounded(name: str) -> None:
    """Nothing takes the whole machine, comes back with rights, or stays away after a crash."""
    for service, found in services(name).items():
        limits = found["deploy"]["resources"]["limits"]
        assert limits["cpus"], service
        assert limits["memory"], service
        assert found["cap_drop"] == ["ALL"], service
        assert found["read_only"], service
        assert "no-new-privileges:true" in found["security_opt"], service
        assert found["restart"] == "always", service


@pytest.mark.parametrize(
    ("name", "doors"), [(FILES[0], {"api"}), (FILES[1], {"gateway", "grafana"}), (FILES[2], set())]
)
def test_only_the_door_is_published(name: str, doors: set[str]) -> None:
    """Whatever else listens is for containers; and the doors are this machine's until the operator
    says otherwise.
    """
    published = {
        service: found["ports"] for service, found in services(name).items() if "ports" in found
    }

    assert set(published) == doors
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


@pytest.mark.parametrize("name", FILES[:2])
def test_redis_keeps_what_it_was_given(name: str) -> None:
    """Redis writes every accepted build down before it is answered, into a volume, and forgets none
    when its memory is full.
    """
    redis = services(name)["redis"]

    assert "--appendonly yes --appendfsync always" in redis["command"]
    assert "--maxmemory-policy noeviction" in redis["command"]
    assert redis["volumes"] == ["redis:/data"]
    assert set(redis["networks"]) == {"backend"}


@pytest.mark.parametrize("name", FILES)
def test_the_audit_log_outlives_its_container(name: str) -> None:
    """Workers write it into a named volume, at a place that the image makes theirs: a new volume
    takes over its owner.
    """
    worker = services(name)["worker"]
    [place] = [
        volume.partition(":")[2] for volume in worker["volumes"] if volume.startswith("audit:")
    ]

    assert str(Path(worker["environment"]["AUDIT_LOG"]).parent) == place
    assert "audit" in yaml.safe_load((ROOT / name).read_text())["volumes"]
    assert re.search(
        rf"mkdir [^&]*{place}\b[^&]*&& chown 10001:10001 [^&]*{place}\b",
        (ROOT / "Containerfile").read_text(),
    )


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("value", "expected"),
    [("", ""), ("/elsewhere/x", "/elsewhere/x"), (None, "/var/log/asu/builds.jsonl")],
)
def test_the_audit_log_is_the_operators_to_place_and_to_leave_out(
    name: str, value: str | None, expected: str
) -> None:
    """An empty value is one, too."""
    given = {"REDIS_URL": "redis://redis", "S3_BUCKET": "images"}
    given |= {} if value is None else {"AUDIT_LOG": value}
    worker = yaml.safe_load((ROOT / name).read_text())["services"]["worker"]

    # As podman-compose fills it in.
    assert rec_subs(worker["environment"]["AUDIT_LOG"], given) == expected


@pytest.mark.parametrize("name", FILES[:2])
def test_redis_is_found_without_a_name_server(name: str) -> None:
    """The name server of podman loses questions while builds come and go; a poll that waits for
    Redis would be answered with an error.
    """
    found = services(name)
    address = found["redis"]["networks"]["backend"]["ipv4_address"]

    assert [found[service]["extra_hosts"] for service in ("api", "worker")] == [
        [f"redis:{address}"]
    ] * 2


def test_only_the_gateway_is_believed_about_a_callers_address() -> None:
    """Its address is fixed, apart from those that others are given, and no network is trusted."""
    name = "podman-compose.microservices.yml"
    found = services(name)
    address = found["gateway"]["networks"]["frontend"]["ipv4_address"]
    document = yaml.safe_load((ROOT / name).read_text())
    [handed_out] = re.findall(r"FRONTEND_RANGE:-([0-9./]+)", str(document["networks"]["frontend"]))

    assert found["api"]["environment"]["TRUSTED_PROXIES"] == address
    assert found["prepare"]["environment"]["PREPARE_TRUSTED_PROXIES"] == address
    assert ip_address(address) not in ip_network(handed_out)


def test_builds_reach_the_cache() -> None:
    """Each worker has an isolated network; isolated networks do not reach each other."""
    document = yaml.safe_load((ROOT / "podman-compose.microservices.yml").read_text())

    assert set(document["services"]["cache"]["networks"]) == {"cache"}
    assert "driver_opts" not in document["networks"]["cache"]


def test_a_preview_costs_half_a_processor() -> None:
    """The limits of asu-prepare are those of the design."""
    limits = services("podman-compose.microservices.yml")["prepare"]["deploy"]["resources"][
        "limits"
    ]

    assert (limits["cpus"], limits["memory"]) == ("0.5", "512m")


@pytest.mark.parametrize("name", ["Containerfile", "asu-prepare/Containerfile"])
def test_the_base_is_the_same_everywhere(name: str) -> None:
    """An image that is built by hand stands on the one that the compose files name."""
    assert f"ARG BASE_IMAGE={next(iter(defaults()['PYTHON_IMAGE']))}\n" in (ROOT / name).read_text()


def test_the_gateway_is_told_all_that_its_template_asks() -> None:
    """The gateway does not start with a variable that nobody sets; the name servers are the image's
    to find out.
    """
    asked = set(
        re.findall(r"\$\{([A-Z_]+)\}", (ROOT / "misc/nginx/gateway.conf.template").read_text())
    ) - {"NGINX_LOCAL_RESOLVERS"}
    unit = (ROOT / "misc/quadlet/asu-gateway.container").read_text()

    assert asked <= set(services("podman-compose.microservices.yml")["gateway"]["environment"])
    assert asked <= set(re.findall(r"\b([A-Z_]+)=", unit))
