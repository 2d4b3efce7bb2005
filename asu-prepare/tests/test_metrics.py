"""What the service shows the operator's monitoring."""

import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from asu_prepare.metrics import METRICS, PROCESS_METRICS, Metric

PREPARE = "/api/v1/prepare"
README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SAMPLE = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")


def samples(client: TestClient) -> dict[str, float]:
    """Return what is shown, by name and labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = [
        SAMPLE.fullmatch(line) for line in answer.text.splitlines() if not line.startswith("#")
    ]
    return {
        f"{match['name']}{{{match['labels'] or ''}}}": float(match["value"])
        for match in found
        if match
    }


def series(metric: Metric, values: tuple[str, ...]) -> str:
    """Return a name with its labels, as it is shown."""
    labels = ",".join(
        f'{label}="{value}"' for label, value in zip(metric.labels, values, strict=True)
    )
    return f"{metric.name}{{{labels}}}"


def test_nothing_is_told_that_is_not_declared(
    informed: TestClient, home_hub: dict[str, Any]
) -> None:
    """Names and values of labels are those of the declaration, each of them is there, and no
    other.
    """
    informed.post(PREPARE, json=home_hub)
    declared = {series(metric, values) for metric in METRICS for values in metric.combinations()}
    shown = set(samples(informed))

    assert {name for name in shown if not name.startswith("process_")} == declared
    assert {name.removesuffix("{}") for name in shown if name.startswith("process_")} <= {
        metric.name for metric in PROCESS_METRICS
    }


def test_requests_are_counted_by_status(client: TestClient) -> None:
    """Whatever the path was."""
    for path in ("/health", "/nowhere", "/elsewhere"):
        client.get(path)
    shown = samples(client)

    assert shown['asu_prepare_http_requests_total{status="2xx"}'] == 1
    assert shown['asu_prepare_http_requests_total{status="4xx"}'] == 2


def test_previews_are_counted_by_outcome(informed: TestClient, home_hub: dict[str, Any]) -> None:
    """A malformed request, one that is not JSON and an unknown device are all refused."""
    for request in (
        home_hub,
        home_hub,
        {**home_hub, "packages": ["no-such-package"]},
        {**home_hub, "profile": "unknown"},
        {**home_hub, "packages": 1},
    ):
        informed.post(PREPARE, json=request)
    informed.post(PREPARE, content="[" * 100_000, headers={"content-type": "application/json"})
    shown = samples(informed)

    assert {
        outcome: shown[f'asu_prepare_previews_total{{outcome="{outcome}"}}']
        for outcome in ("ok", "problems", "refused", "failed")
    } == {
        "ok": 2,
        "problems": 1,
        "refused": 3,
        "failed": 0,
    }


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_each_metric_is_documented(metric: Metric) -> None:
    """The table of metrics in the README is complete, labels included."""
    labels = "; ".join(f"`{name}`: {', '.join(values)}" for name, values in metric.labels.items())

    assert f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |" in README
