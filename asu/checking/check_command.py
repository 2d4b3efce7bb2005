"""Which checks there are for each part of a server, and how their findings are shown."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Literal

from asu.builds.fleet import live_workers
from asu.errors import QueueUnavailable
from asu.operations.redis_condition import read_condition
from asu.records.redis_connections import sync_redis
from asu.settings import Settings
from asu.unread_settings import unread_settings

from . import isolation, machine
from . import neighbours as services
from .findings import Check, Finding, Level, fine, problem, warning

Part = Literal["all", "api", "worker"]
MARKS = {Level.OK: "ok     ", Level.WARNING: "WARNING", Level.PROBLEM: "PROBLEM"}


def checks_for(settings: Settings, *, part: Part, host: str, port: int) -> Mapping[str, Check]:
    """Return the checks by name: all, or those of a machine with the API or with workers alone."""

    def of_redis(judge: services.Judge) -> Check:
        return partial(_judge_redis, settings, judge)

    common: dict[str, Check] = {
        "settings": _check_settings,
        "redis": of_redis(services.judge_redis),
        "redis-persistence": of_redis(services.judge_persistence),
        "redis-eviction": of_redis(services.judge_eviction),
        "redis-memory": of_redis(partial(services.judge_memory, settings.max_pending_jobs)),
        "store": partial(machine.check_store, settings),
        "disk": partial(machine.check_disk, settings),
        "upstream": partial(
            services.check_upstream,
            settings.upstream_url,
            may_be_private=settings.upstream_is_private,
        ),
        "workers": partial(_check_workers, settings),
    }
    of_api: dict[str, Check] = {
        "prepare": partial(services.check_prepare, settings.prepare_service_url),
        "port": partial(services.check_port, host, port),
    }
    of_worker: dict[str, Check] = {
        "podman": partial(machine.judge_podman, settings),
        "network": partial(machine.check_network, settings),
        "builders": partial(machine.check_builders, settings),
        "isolation": partial(isolation.check_isolation, settings, port),
        "key": partial(machine.check_key, settings),
        "audit": partial(machine.check_audit, settings),
    }
    return common | (of_api if part != "worker" else {}) | (of_worker if part != "api" else {})


def about_settings(mistakes: Iterable[str]) -> list[Finding]:
    """Return the findings about settings with which nothing else can be checked."""
    advice = (
        "Correct it in the environment or in the file that ASU_CONFIG names; nothing else was "
        "checked."
    )
    return [replace(problem(mistake, advice), name="settings") for mistake in mistakes]


def show(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print the findings, and end with 1 if there is a problem."""
    sys.stdout.write((in_json if as_json else in_words)(findings))
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise SystemExit(1)


def in_words(findings: Iterable[Finding]) -> str:
    """Return findings as lines for people, each followed by what to do."""
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.level]}  {finding.name:<18} {finding.detail}")
        if finding.advice:
            lines.append(f"{'':27} → {finding.advice}")
    return "\n".join(lines) + "\n"


def in_json(findings: Iterable[Finding]) -> str:
    """Return findings as JSON: `{"findings": [{"name", "level", "detail", "advice"}, …]}`."""
    return json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2) + "\n"


def _judge_redis(settings: Settings, judge: services.Judge) -> Finding:
    try:
        return judge(read_condition(settings.redis_url))
    except QueueUnavailable:
        return problem("Redis does not answer", "Start Redis or Valkey, or correct REDIS_URL.")
    except ValueError:
        return problem(
            "REDIS_URL is not the address of a Redis",
            "Set REDIS_URL to an address such as redis://127.0.0.1:6379/0.",
        )


def _check_settings() -> Finding:
    unread = unread_settings()
    if unread:
        return warning(" ".join(unread), "Remove it, or write the setting that is meant.")
    return fine("each one that is written is known")


def _check_workers(settings: Settings) -> Finding:
    try:
        with sync_redis(settings.redis_url) as redis:
            return services.check_workers(lambda: len(live_workers(redis)))
    except ValueError:
        return problem("not known, because REDIS_URL is wrong", "See the check `redis`.")
