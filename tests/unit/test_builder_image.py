"""What podman's answer to a pull means."""

import json

import pytest

from asu.errors import ContainerFailed, ImageBuilderMissing
from asu.worker.builder_image import BuilderImage, failure

IMAGE = BuilderImage(
    name="registry.example/openwrt/imagebuilder:x86-64-v24.10.9", version="24.10.9", target="x86/64"
)
READING = (
    "initializing source docker://registry.example/openwrt/imagebuilder:x: reading manifest x in"
    " registry.example/openwrt/imagebuilder: "
)


def test_an_id_is_a_success() -> None:
    """Whatever else podman says on the way."""
    assert failure('{"stream":"Trying to pull"}\n{"images":["ab"],"id":"ab"}\n', IMAGE) is None


@pytest.mark.parametrize(
    "said",
    [
        READING + "manifest unknown",
        READING + "name unknown: repository name not known to registry",
        READING + "denied",
        READING + "received unexpected HTTP status: 404 Not Found",
        READING + "requested access to the resource is denied",
        "StatusCode: 404, not found",
    ],
)
def test_an_image_that_the_registry_does_not_have_is_upstreams(said: str) -> None:
    """The version is not built yet, and the error names it as the request does."""
    error = failure(json.dumps({"error": said}), IMAGE)

    assert isinstance(error, ImageBuilderMissing)
    assert "24.10.9 and x86/64" in error.detail


@pytest.mark.parametrize(
    "answer",
    [
        json.dumps(
            {
                "error": (
                    "pinging container registry registry.example: Get: dial tcp: connect:"
                    " connection refused"
                )
            }
        ),
        json.dumps({"error": READING + "received unexpected HTTP status: 503 Service Unavailable"}),
        json.dumps({"error": READING + "toomanyrequests: You have reached your pull rate limit"}),
        json.dumps(
            {"error": "writing blob: storing blob: open /var/lib/containers/x: permission denied"}
        ),
        json.dumps({"error": "writing blob: no space left on device", "id": ""}),
        json.dumps(
            {
                "cause": "lookup registry.example: no such host",
                "message": "no such host",
                "response": 500,
            }
        ),
        "",
        "not json",
        "[]",
    ],
)
def test_any_other_failure_is_ours(answer: str) -> None:
    """A registry out of reach says nothing about what it has."""
    assert isinstance(failure(answer, IMAGE), ContainerFailed)
