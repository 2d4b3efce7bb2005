"""The Kubernetes manifests: valid by Kubernetes' own schemas, and of one mind with the code."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from asu.build_queue import PATIENCE
from asu.settings import Settings

DIRECTORY = Path(__file__).resolve().parents[2] / "misc" / "kubernetes"
OTHERS = {"ScaledObject", "Kustomization"}  # KEDA's and kustomize's, which Kubernetes has no schema of.


def manifests() -> list[dict[str, Any]]:
    """Return every manifest that kustomization.yaml names."""
    names = yaml.safe_load((DIRECTORY / "kustomization.yaml").read_text())["resources"]
    return [manifest for name in names for manifest in yaml.safe_load_all((DIRECTORY / name).read_text())]


def manifest(kind: str, name: str) -> dict[str, Any]:
    """Return one manifest."""
    return next(found for found in manifests() if (found["kind"], found["metadata"]["name"]) == (kind, name))


def pod(name: str) -> dict[str, Any]:
    """Return the pod of a deployment."""
    found: dict[str, Any] = manifest("Deployment", name)["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize(
    "found", [found for found in manifests() if found["kind"] not in OTHERS], ids=lambda found: f"{found['kind']}-{found['metadata']['name']}"
)
def test_a_manifest_is_valid(found: dict[str, Any]) -> None:
    """Kubernetes would take it, and knows each field of it."""
    kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)


def test_every_file_is_applied() -> None:
    """No manifest lies there unused."""
    assert {path.name for path in DIRECTORY.glob("*.yaml")} - {"kustomization.yaml"} == set(
        yaml.safe_load((DIRECTORY / "kustomization.yaml").read_text())["resources"]
    )


def test_settings_are_settings() -> None:
    """Each variable is one that the code reads."""
    given = {*manifest("ConfigMap", "asu")["data"], *(entry["name"] for entry in pod("worker")["containers"][0]["env"])}

    assert given <= {name.upper() for name in Settings.model_fields}


def test_scaling_in_never_ends_a_build() -> None:
    """A worker has longer to stop than its longest build takes."""
    longest = Settings(build_key=Path("key"), s3_bucket="images").build_deadline + PATIENCE

    assert pod("worker")["terminationGracePeriodSeconds"] > longest


def test_what_scales_exists() -> None:
    """KEDA scales the workers, by the queue."""
    scaled = manifest("ScaledObject", "worker")["spec"]

    assert manifest("Deployment", scaled["scaleTargetRef"]["name"])
    assert "asu_queue_length" in scaled["triggers"][0]["metadata"]["query"]


def test_services_lead_to_ports() -> None:
    """What the settings and the ingress name are services whose pods listen there."""
    settings = manifest("ConfigMap", "asu")["data"]
    ports = {found["metadata"]["name"]: found["spec"]["ports"][0]["port"] for found in manifests() if found["kind"] == "Service"}

    assert settings["PREPARE_SERVICE_URL"] == f"http://prepare:{ports['prepare']}"
    assert settings["REDIS_URL"] == f"redis://redis:{ports['redis']}/0"
    for name in ("api", "prepare"):
        assert pod(name)["containers"][0]["ports"] == [{"containerPort": ports[name]}]


def test_only_podman_has_rights() -> None:
    """Of all containers the sidecar alone is privileged; the worker beside it is not root."""
    containers = [
        container
        for found in manifests()
        if "template" in found.get("spec", {})
        for group in ("initContainers", "containers")
        for container in found["spec"]["template"]["spec"].get(group, [])
    ]

    assert [container["name"] for container in containers if container["securityContext"].get("privileged")] == ["podman"]
    for container in containers:
        if container["name"] != "podman":
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, container["name"]
            assert container["securityContext"]["readOnlyRootFilesystem"], container["name"]
