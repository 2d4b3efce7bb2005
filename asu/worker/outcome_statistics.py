"""Count how builds ended, without anything personal, and never at a build's cost."""

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from asu.build_request import NAME
from asu.errors import AsuError
from asu.logs import where_it_failed
from asu.records.build_record import BuildRecord, State
from asu.statistics.build_statistics import Failure, FinishedBuild, Problem, hour_of
from asu.statistics.build_totals import Forecast
from asu.statistics.redis_statistics import RedisBuildStatistics

log = logging.getLogger(__name__)

# Of one failure; the answer names all of them.
MAX_PROBLEMS = 20
_NAME = re.compile(NAME)
_KIND = re.compile(r"[a-z][a-z-]{0,31}")


class OutcomeStatistics:
    """Writes outcomes into the statistics."""

    def __init__(self, statistics: RedisBuildStatistics) -> None:
        self._statistics = statistics

    def note(self, plan: Mapping[str, Any], record: BuildRecord, *, seconds: float) -> None:
        """Count an outcome that took `seconds`; never raises, since the build has ended."""
        try:
            body, now = json.loads(record.body), datetime.now(UTC)
            if record.state is State.DONE:
                self._statistics.add_finished(finished_build(plan, body, at=now, seconds=seconds))
            else:
                self._statistics.add_failure(failure(plan, body, at=now), steps_of(body))
        except Exception as error:  # noqa: BLE001  # Its message may quote the request.
            reason = error.detail if isinstance(error, AsuError) else where_it_failed(error)
            log.warning("build %s is missing in the statistics: %s", plan.get("key"), reason)

    def note_forecast(self, result: Forecast) -> None:
        """Count how a forecast compares with a build; never raises."""
        try:
            self._statistics.add_forecast(result)
        except AsuError as error:
            log.warning("a forecast is missing in the statistics: %s", error.detail)


def finished_build(
    plan: Mapping[str, Any], body: Mapping[str, Any], *, at: datetime, seconds: float
) -> FinishedBuild:
    """Return what is counted of a finished build, with the packages that were chosen.

    Device clients list all that is installed, so the defaults in profiles.json are left out; they
    would lead every list. Removed and merely provided packages are not in the manifest.
    """
    request = plan["request"]
    defaults = {*body.get("default_packages", ()), *body.get("device_packages", ())}
    asked = {*request["packages"], *request["packages_versions"]}
    packages = frozenset(asked & body["manifest"].keys() - defaults)
    return FinishedBuild(
        at=at, version=request["version"], seconds=seconds, packages=packages, steps=steps_of(body)
    )


def steps_of(body: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds of each make command that ended, well or not."""
    return {step: float(seconds) for step, seconds in body.get("make_seconds", {}).items()}


def failure(plan: Mapping[str, Any], body: Mapping[str, Any], *, at: datetime) -> Failure:
    """Return what is counted of a failed build.

    Each field is chosen, so nothing else of request or output is counted. A field that a broken
    plan lacks is empty.
    """
    request = {name: _text(plan["request"].get(name)) for name in ("version", "target", "profile")}
    problems = {
        Problem(kind=problem["kind"], package=problem["package"])
        for problem in body.get("problems", ())
        if _KIND.fullmatch(problem.get("kind") or "")
        and _NAME.fullmatch(problem.get("package") or "")
    }
    return Failure(
        hour=hour_of(at),
        code=body["code"],
        fault=body["fault"],
        **request,
        problems=tuple(sorted(problems)[:MAX_PROBLEMS]),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
