"""The profile `monitoring`: Prometheus finds every replica, understands every panel, and calls when
it should.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml

from tests.smoke import images
from tests.smoke.engine import ROOT, SmokeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.smoke.deployment import Deployment

PATIENCE = 60.0  # Seconds; names are looked up, replicas asked and rules applied every 15.
CASES = ROOT / "tests" / "smoke" / "alert_cases.yml"
ASK = (
    "import sys, urllib.request; print(urllib.request.urlopen('http://prometheus:9090/api/v1/' +"
    " sys.argv[1], timeout=5).read().decode())"
)


def try_monitoring(deployment: Deployment, say: Callable[[str], None]) -> None:
    """Start Prometheus and wait until it has asked every replica; raises SmokeError when one is
    missing or a question is not understood.

    Grafana is left out: no distribution has it, so nothing can stand in for its image.
    """
    deployment.compose(
        "up", "-d", "--no-build", "--no-recreate", "prometheus", before=["--profile", "monitoring"]
    )
    wanted = {
        address
        for service in ("api", "prepare")
        for name in deployment.containers(service)
        for address in deployment.addresses(name)
    }
    deadline = time.monotonic() + PATIENCE
    while not (asked := _asked(deployment)) or asked != len(deployment.containers("api")) + len(
        deployment.containers("prepare")
    ):
        if time.monotonic() > deadline:
            raise SmokeError(
                f"Prometheus has read {asked} of the replicas at {sorted(wanted)}; it"
                f" wrote:\n{_last_words(deployment)}"
            )
        time.sleep(1)
    rules = [rule for group in _ask(deployment, "rules")["groups"] for rule in group["rules"]]
    if {rule["name"] for rule in rules} != {rule["alert"] for rule in _alert_rules()}:
        raise SmokeError(f"Prometheus has the rules {sorted(rule['name'] for rule in rules)}")
    expressions = [rule["expr"] for rule in _alert_rules()] + [*_panel_expressions()]
    for expression in expressions:
        _ask(deployment, f"query?query={quote(expression)}")
    deployment.engine.podman(
        *(
            "run",
            "--rm",
            "--network=none",
            f"--volume={ROOT / 'misc' / 'prometheus'}:/rules:ro,z",
            f"--volume={CASES}:/cases.yml:ro,z",
        ),
        *("--entrypoint=promtool", images.PROMETHEUS, "test", "rules", "/cases.yml"),
    )
    say(
        f"Prometheus reads all {asked} replicas and understands {len(rules)} alerts and"
        f" {len(expressions) - len(rules)} panels"
    )
    _lose_a_service(deployment, deadline=time.monotonic() + PATIENCE)
    say("an alert is on its way once no asu-prepare is left")


def _lose_a_service(deployment: Deployment, deadline: float) -> None:
    """Stop all of asu-prepare: its name leads nowhere then, and what is not there cannot be found
    to be down.
    """
    for name in deployment.containers("prepare"):
        deployment.engine.podman("stop", "--time", "5", name)
    while "AsuPrepareDown" not in {
        alert["labels"]["alertname"] for alert in _ask(deployment, "alerts")["alerts"]
    }:
        if time.monotonic() > deadline:
            raise SmokeError("no asu-prepare is left, and no alert tells")
        time.sleep(1)


def _asked(deployment: Deployment) -> int:
    """Return how many replicas Prometheus has read well."""
    try:
        targets = _ask(deployment, "targets?state=active")["activeTargets"]
    except SmokeError:  # It is about to start.
        return 0
    return sum(target["health"] == "up" for target in targets)


def _ask(deployment: Deployment, question: str) -> Any:
    """Ask Prometheus from a container that shares its network, since it publishes no port."""
    answer = json.loads(
        deployment.engine.podman(
            "exec", deployment.containers("api")[0], "python", "-c", ASK, question
        )
    )
    return answer["data"]


def _alert_rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(
        (ROOT / "misc" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    )
    return [rule for group in document["groups"] for rule in group["rules"]]


def _panel_expressions() -> Iterator[str]:
    document = json.loads((ROOT / "misc" / "grafana" / "asu.json").read_text(encoding="utf-8"))
    for panel in document["panels"]:
        for target in panel["targets"]:
            # What Grafana fills in.
            yield target["expr"].replace("$__rate_interval", "5m").replace("$__interval", "1m")


def _last_words(deployment: Deployment) -> str:
    return "\n".join(
        deployment.log(name)[-2000:]
        for name in deployment.containers("prometheus", everything=True)
    )
