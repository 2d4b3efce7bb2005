"""Tells the statistics how a build ended, without anything personal, and without a cost to the build."""

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
from asu.statistics.build_statistics import (
    Failure,
    FinishedBuild,
    Problem,
    hour_of,
)
from asu.statistics.redis_statistics import RedisBuildStatistics

log = logging.getLogger(__name__)

# Of one failure; whoever asked for more unknown packages than that is told, the statistics need not
# be.
MAX_PROBLEMS = 20
_NAME = re.compile(NAME)
_KIND = re.compile(r"[a-z][a-z-]{0,31}")


class Accounts:
    """The worker's book of outcomes; without `statistics` nothing is counted."""

    def __init__(self, statistics: RedisBuildStatistics | None) -> None:
        self._statistics = statistics

    def note(self, plan: Mapping[str, Any], record: BuildRecord, *, seconds: float) -> None:
        """Count an outcome that took `seconds`; never raises: the build has ended, and counting it is nobody's concern but ours."""
        if self._statistics is None:
            return
        try:
            body, now = json.loads(record.body), datetime.now(UTC)
            if record.state is State.DONE:
                self._statistics.add_finished(finished_build(plan, body, at=now, seconds=seconds))
            else:
                self._statistics.add_failure(failure(plan, body, at=now), steps_of(body))
        except AsuError as error:
            log.warning("build %s is missing in the statistics: %s", plan.get("key"), error.detail)
        except Exception as error:  # noqa: BLE001  # See above; the message may quote the request.
            log.warning(
                "build %s is missing in the statistics: %s", plan.get("key"), where_it_failed(error)
            )


def finished_build(
    plan: Mapping[str, Any], body: Mapping[str, Any], *, at: datetime, seconds: float
) -> FinishedBuild:
    """Return what is counted of a finished build: of its packages those that somebody chose.

    Device clients list all that is installed, so the defaults that profiles.json names would lead
    every list. What a list wants removed is not in the image, and neither is what another package
    merely provides.
    """
    request = plan["request"]
    defaults = {*body.get("default_packages", ()), *body.get("device_packages", ())}
    asked = {*request["packages"], *request["packages_versions"]}
    packages = frozenset(asked & body["manifest"].keys() - defaults)
    return FinishedBuild(
        at=at, version=request["version"], seconds=seconds, packages=packages, steps=steps_of(body)
    )


def steps_of(body: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds of each of make's commands that came to an end, whether well or not."""
    return {step: float(seconds) for step, seconds in body.get("make_seconds", {}).items()}


def failure(plan: Mapping[str, Any], body: Mapping[str, Any], *, at: datetime) -> Failure:
    """Return what is counted of a failed build: field by field, so that nothing else of request or output comes along.

    What a plan that nobody can build does not tell is empty.
    """
    version, target, profile = (
        _text(plan["request"].get(name)) for name in ("version", "target", "profile")
    )
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
        version=version,
        target=target,
        profile=profile,
        problems=tuple(sorted(problems)[:MAX_PROBLEMS]),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
