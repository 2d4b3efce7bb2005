"""The Kubernetes manifests: valid by Kubernetes' own schemas, and of one mind with the code."""

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from asu.builds.build_queue import PATIENCE
from asu.operations.metrics import METRICS
from asu.settings import Settings

DIRECTORY = Path(__file__).resolve().parents[2] / "misc" / "kubernetes"
# KEDA's and kustomize's, which Kubernetes has no schema of.
OTHERS = {"ScaledObject", "Kustomization"}


def manifests() -> list[dict[str, Any]]:
    """Return every manifest that kustomization.yaml names."""
    names = yaml.safe_load((DIRECTORY / "kustomization.yaml").read_text())["resources"]
    return [
        manifest
        for name in names
        for manifest in yaml.safe_load_all((DIRECTORY / name).read_text())
    ]


def manifest(kind: str, name: str) -> dict[str, Any]:
    """Return one manifest."""
    return next(
        found for found in manifests() if (found["kind"], found["metadata"]["name"]) == (kind, name)
    )


def pods() -> dict[str, dict[str, Any]]:
    """Return the pods of all deployments and stateful sets, by name."""
    return {
        found["metadata"]["name"]: found["spec"]["template"]["spec"]
        for found in manifests()
        if "template" in found.get("spec", {})
    }


def pod(name: str) -> dict[str, Any]:
    """Return the pod of a deployment."""
    found: dict[str, Any] = manifest("Deployment", name)["spec"]["template"]["spec"]
    return found


def oldest_version() -> str:
    """Return the version of Kubernetes from which on the README promises that all this works."""
    found = re.search(r"Kubernetes (\d\.\d+) or newer", (DIRECTORY / "README.md").read_text())
    assert found
    return found[1]


def mistake(found: dict[str, Any], version: str) -> str:
    """Return what a version of Kubernetes would refuse a manifest for; empty for a valid one."""
    try:
        kubernetes_validate.validate(found, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return ""


def leads_to(path: str) -> str:
    """Return the service that an ingress controller sends a request to, by Kubernetes' rules: exact
    ones first, then the longest prefix.
    """
    wanted = [element for element in path.split("/") if element]
    found: list[tuple[bool, int, str]] = []
    for rule in manifest("Ingress", "asu")["spec"]["rules"][0]["http"]["paths"]:
        prefix = [element for element in rule["path"].split("/") if element]
        is_exact = rule["pathType"] == "Exact"
        if rule["path"] == path if is_exact else wanted[: len(prefix)] == prefix:
            found.append((is_exact, len(prefix), rule["backend"]["service"]["name"]))
    return max(found)[2]


@pytest.mark.parametrize("version", [oldest_version(), kubernetes_validate.latest_version()])
@pytest.mark.parametrize(
    "found",
    [found for found in manifests() if found["kind"] not in OTHERS],
    ids=lambda found: f"{found['kind']}-{found['metadata']['name']}",
)
def test_a_manifest_is_valid(found: dict[str, Any], version: str) -> None:
    """Kubernetes would take it, and knows each field of it, in the oldest version that is promised
    and in the latest.
    """
    assert mistake(found, version) == ""


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    """The look at the manifests is a strict one."""
    found = manifest("Service", "api")

    assert "replica" in mistake({**found, "replica": 1}, oldest_version())


def test_every_file_is_applied() -> None:
    """No manifest lies there unused."""
    assert {path.name for path in DIRECTORY.glob("*.yaml")} - {"kustomization.yaml"} == set(
        yaml.safe_load((DIRECTORY / "kustomization.yaml").read_text())["resources"]
    )


def test_settings_are_settings() -> None:
    """Each variable is one that the code reads."""
    given = {
        *manifest("ConfigMap", "asu")["data"],
        *(entry["name"] for entry in pod("worker")["containers"][0]["env"]),
    }

    assert given <= {name.upper() for name in Settings.model_fields}


def test_scaling_in_never_ends_a_build() -> None:
    """A worker has longer to stop than its longest build takes."""
    longest = Settings(build_key=Path("key"), s3_bucket="images").build_deadline + PATIENCE

    assert pod("worker")["terminationGracePeriodSeconds"] > longest


def test_a_worker_that_hangs_is_not_waited_for() -> None:
    """The time to finish a build is for those that are told to stop, not for those that a probe has
    found dead.
    """
    containers = [*pod("worker")["initContainers"], *pod("worker")["containers"]]
    probes = [
        container[probe]
        for container in containers
        for probe in ("startupProbe", "livenessProbe")
        if probe in container
    ]

    assert len(probes) == 2
    assert all(probe["terminationGracePeriodSeconds"] <= 60 for probe in probes)


def test_workers_scale_by_all_builds_there_are() -> None:
    """Those that run count, too: else workers would be told to stop as soon as nothing waits. The
    metrics are ones that the API tells.
    """
    scaled = manifest("ScaledObject", "worker")["spec"]
    named = set(re.findall(r"\basu_\w+", scaled["triggers"][0]["metadata"]["query"]))

    assert manifest("Deployment", scaled["scaleTargetRef"]["name"])
    assert named == {"asu_queue_length", "asu_builds_running"}
    assert named <= {metric.name for metric in METRICS}


def test_workers_are_not_ended_at_once() -> None:
    """What delays scaling in down to one worker is the autoscaler's own window; KEDA's cooldown is
    for scaling down to none.
    """
    scaled = manifest("ScaledObject", "worker")["spec"]

    assert scaled["minReplicaCount"] >= 1
    assert "cooldownPeriod" not in scaled
    assert (
        scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"][
            "stabilizationWindowSeconds"
        ]
        >= 300
    )


def test_nothing_known_is_not_no_builds() -> None:
    """Without Redis the API tells no figures of the queue; workers stay as many as they are."""
    assert (
        manifest("ScaledObject", "worker")["spec"]["triggers"][0]["metadata"]["ignoreNullValues"]
        == "false"
    )


@pytest.mark.parametrize("name", pods())
def test_no_pod_is_told_of_services_by_variables(name: str) -> None:
    """A Service called prepare would become PREPARE_PORT=tcp://… in each pod, which asu-prepare
    reads as its setting and refuses.
    """
    assert pods()[name]["enableServiceLinks"] is False


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
def test_metrics_are_closed_to_the_world(path: str) -> None:
    """However the API would understand the path, the ingress sends it to a service that does not
    exist.
    """
    services = {found["metadata"]["name"] for found in manifests() if found["kind"] == "Service"}

    assert leads_to(path) not in services


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/api/v1/prepare", "prepare"),
        ("/api/v1/build/prepare", "api"),
        ("/metricsystem", "api"),
        ("/", "api"),
    ],
)
def test_requests_reach_their_service(path: str, service: str) -> None:
    """Previews go to asu-prepare, all else to the API."""
    assert leads_to(path) == service


def test_worker_and_podman_share_a_socket() -> None:
    """The worker looks for the socket where podman is told to make it, in a volume of both, and is
    of the group that may use it.
    """
    [podman], [worker] = pod("worker")["initContainers"], pod("worker")["containers"]
    socket = next(entry["value"] for entry in podman["env"] if entry["name"] == "SOCKET")

    assert {"name": "CONTAINER_SOCKET_PATH", "value": socket} in worker["env"]
    for container in (podman, worker):
        assert {"name": "podman", "mountPath": str(Path(socket).parent)} in container[
            "volumeMounts"
        ]
    assert worker["securityContext"]["runAsGroup"] == 0


def test_builds_have_limits() -> None:
    """The image of podman makes containers without cgroups unless it is told otherwise; then no
    build could be given its memory and processes.
    """
    configuration = tomllib.loads(manifest("ConfigMap", "podman")["data"]["asu.conf"])

    assert configuration["containers"]["cgroups"] == "enabled"
    assert {"name": "configuration", "configMap": {"name": "podman"}} in pod("worker")["volumes"]
    [podman] = pod("worker")["initContainers"]
    assert {"name": "configuration", "mountPath": "/etc/containers/containers.conf.d"} in podman[
        "volumeMounts"
    ]


def test_builds_are_fenced_in() -> None:
    """Builds leave the pod under its address, which may reach Redis; nothing here switches off what
    the worker keeps each of them from.
    """
    assert manifest("ConfigMap", "asu")["data"].get("CONTAINER_FENCE", "true") == "true"
    assert "CONTAINER_FENCE" not in {
        entry["name"] for entry in pod("worker")["containers"][0]["env"]
    }


def test_services_lead_to_ports() -> None:
    """What the settings and the ingress name are services whose pods listen there."""
    settings = manifest("ConfigMap", "asu")["data"]
    ports = {
        found["metadata"]["name"]: found["spec"]["ports"][0]["port"]
        for found in manifests()
        if found["kind"] == "Service"
    }

    assert settings["PREPARE_SERVICE_URL"] == f"http://prepare:{ports['prepare']}"
    assert settings["REDIS_URL"] == f"redis://redis:{ports['redis']}/0"
    for name in ("api", "prepare"):
        assert pod(name)["containers"][0]["ports"] == [{"containerPort": ports[name]}]


def test_only_podman_has_rights() -> None:
    """Of all containers the sidecar alone is privileged; the worker beside it is not root."""
    containers = [
        container
        for found in pods().values()
        for group in ("initContainers", "containers")
        for container in found.get(group, [])
    ]

    assert [
        container["name"]
        for container in containers
        if container["securityContext"].get("privileged")
    ] == ["podman"]
    for container in containers:
        if container["name"] != "podman":
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, container[
                "name"
            ]
            assert container["securityContext"]["readOnlyRootFilesystem"], container["name"]
