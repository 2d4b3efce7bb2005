"""The alert rules, the dashboard and the scrape configuration are about metrics that exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from asu.operations import metrics
from asu_prepare import metrics as prepare_metrics

ROOT = Path(__file__).resolve().parents[2]
LABELS = {
    metric.name: dict(metric.labels)
    for group in (metrics, prepare_metrics)
    for metric in (*group.METRICS, *group.PROCESS_METRICS)
}
HISTOGRAMS = {metric.name for metric in metrics.METRICS if metric.kind == "histogram"}
OF_PROMETHEUS = {"job": None, "instance": None}  # What it adds to whatever it reads, and to `up`.
SELECTOR = re.compile(r"(?<![\w{,\"])((?:asu|process|up)[a-z_]*)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'([a-z_]+)(=~|=|!=|!~)"([^"]*)"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")


def alert_rules() -> list[dict[str, str]]:
    """Return the alert rules."""
    document = yaml.safe_load((ROOT / "misc/prometheus/alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def panel_targets() -> list[dict[str, str]]:
    """Return what the panels of the dashboard ask for."""
    document = json.loads((ROOT / "misc/grafana/asu.json").read_text(encoding="utf-8"))
    return [target for panel in document["panels"] for target in panel["targets"]]


def labels_of(name: str) -> dict[str, tuple[str, ...] | None]:
    """Return the labels of a series with their values, None where any will do; raises KeyError for
    one that is not declared.
    """
    if name == "up":
        return {**OF_PROMETHEUS}
    for histogram in HISTOGRAMS:
        if name in (f"{histogram}_bucket", f"{histogram}_sum", f"{histogram}_count"):
            return {**LABELS[histogram], **OF_PROMETHEUS, "le": None}
    return {**LABELS[name], **OF_PROMETHEUS}


def mistakes(expression: str) -> Iterator[str]:
    """Yield what an expression says of metrics and labels that is not declared."""
    known: set[str] = set()
    found = SELECTOR.findall(expression)
    if not found:
        yield f"no metric in {expression}"
    for name, matchers in found:
        try:
            labels = labels_of(name)
        except KeyError:
            yield f"{name} is not declared"
            continue
        known |= set(labels)
        for label, operator, value in MATCHER.findall(matchers):
            values = labels.get(label, ())
            if values is not None and (operator != "=" or value not in values):
                yield f"{name} has no {label}={value}"
    for names in GROUPING.findall(expression):
        yield from (
            f"{name} is no label in {expression}" for name in names.split(", ") if name not in known
        )


@pytest.mark.parametrize("rule", alert_rules(), ids=lambda rule: rule["alert"])
def test_alerts_are_about_metrics_that_exist(rule: dict[str, str]) -> None:
    """An alert on a name that nobody exposes never fires; each says what is wrong and what it
    means.
    """
    assert list(mistakes(rule["expr"])) == []
    assert {"summary", "description"} <= set(rule["annotations"])


@pytest.mark.parametrize("target", panel_targets(), ids=lambda target: target["legendFormat"])
def test_panels_show_metrics_that_exist(target: dict[str, str]) -> None:
    """A panel without data looks like a quiet server; legends name labels that are grouped by or
    there at all.
    """
    assert list(mistakes(target["expr"])) == []
    grouped = {
        name for names in GROUPING.findall(target["expr"]) for name in names.split(", ")
    } | set(OF_PROMETHEUS)
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= grouped


def test_what_operators_fear_has_an_alert() -> None:
    """No worker, a long wait, faults of our own, OpenWrt's server, the disk, Redis, the API."""
    wanted = {
        "AsuNoWorker",
        "AsuBuildsWaitTooLong",
        "AsuInfraFailures",
        "AsuUpstreamFailing",
        "AsuDiskReserve",
        "AsuRedisDown",
        "AsuDown",
    }

    assert wanted <= {rule["alert"] for rule in alert_rules()}


def test_the_scrape_configuration_names_the_jobs_of_the_alerts() -> None:
    """`up` is told by job."""
    document = yaml.safe_load((ROOT / "misc/prometheus/prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"] for job in document["scrape_configs"]}

    assert {
        value
        for rule in alert_rules()
        for label, _, value in MATCHER.findall(rule["expr"])
        if label == "job"
    } == jobs


@pytest.mark.parametrize(
    ("expression", "mistake"),
    [
        ("asu_queue_lenght > 1", "asu_queue_lenght is not declared"),
        ('asu_builds_total{outcome="ok"}', "asu_builds_total has no outcome=ok"),
        ('asu_builds_total{fault="user"}', "asu_builds_total has no fault=user"),
        (
            "sum by (code) (asu_builds_total)",
            "code is no label in sum by (code) (asu_builds_total)",
        ),
    ],
)
def test_the_comparison_finds_mistakes(expression: str, mistake: str) -> None:
    """It would be worth nothing if it found none."""
    assert list(mistakes(expression)) == [mistake]
