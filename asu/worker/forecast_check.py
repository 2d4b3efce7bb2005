"""Compares what asu-prepare foretells of a build with what the ImageBuilder made of it."""

import json
import logging
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from asu.build_request import without_asker
from asu.errors import BrokenDependency, ImpossibleSelection
from asu.statistics.build_totals import Forecast

log = logging.getLogger(__name__)

FORETOLD = (ImpossibleSelection.code, BrokenDependency.code)
PATIENCE = 5.0  # Seconds.
MAX_BYTES = 4 * 1024 * 1024
MAX_NAMED = 100  # Packages in a log line.


def check_forecast(
    service_url: str, plan: Mapping[str, Any], body: Mapping[str, Any]
) -> Forecast | None:
    """Return how a forecast compares with the answer to a build that ended; never raises.

    None where a forecast says nothing, as of a build that failed for another reason than its
    packages. Asked after the build, without its first-boot script: what is foretold changes
    nothing, and both look at the same package indexes, unless new ones were published in between.
    """
    has_failed = body["status"] != HTTPStatus.OK
    if has_failed and body.get("code") not in FORETOLD:
        return None
    try:
        preview = _ask(service_url, {**without_asker(plan["request"]), "defaults": None})
        result = _compare(preview, body, has_failed=has_failed)
        if result in {"differs", "false_problem", "missed_problem"}:
            log.warning("build %s: %s", plan["key"], _difference(result, preview, body))
    except Exception as error:  # noqa: BLE001  # The build has ended; another service answers here.
        log.warning("build %s: no forecast to compare with (%r)", plan["key"], error)
        return "unknown"
    return result


def _ask(service_url: str, request: Mapping[str, Any]) -> dict[str, Any]:
    asked = urllib.request.Request(  # noqa: S310  # The operator's own service.
        f"{service_url.rstrip('/')}/api/v1/prepare",
        data=json.dumps(request).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:  # noqa: S310
        return dict(json.loads(answer.read(MAX_BYTES)))


def _compare(preview: Mapping[str, Any], body: Mapping[str, Any], *, has_failed: bool) -> Forecast:
    if preview.get("solved") is not True:
        return "unknown"
    if has_failed:
        return "agrees" if preview["problems"] else "missed_problem"
    if preview["problems"]:
        return "false_problem"
    return "agrees" if preview["manifest"] == body["manifest"] else "differs"


def _difference(result: Forecast, preview: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    if result == "missed_problem":
        return f"the forecast saw no problem, but the build failed: {body['detail']}"
    if result == "false_problem":
        problems = "; ".join(problem["detail"] for problem in preview["problems"])
        return f"the forecast saw problems, but the build succeeded: {problems}"
    foretold, built = preview["manifest"].items(), body["manifest"].items()
    ahead, instead = sorted(foretold - built)[:MAX_NAMED], sorted(built - foretold)[:MAX_NAMED]
    return f"the forecast has {ahead}, the image in their place {instead}"
