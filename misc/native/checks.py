"""What is looked at before a native system starts, and after it: `asu check` with its settings."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from typing import TYPE_CHECKING

from misc.native import web
from misc.native.settings import MAX_PORT, ROOT
from misc.native.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from misc.native.processes import Processes
    from misc.native.settings import Settings

SECONDS = 90.0  # For one look; an idle machine takes four.
WORKERS_SECONDS = 30.0  # Until a worker has said that it is alive.
ALWAYS_FIRST = {"settings", "key", "audit"}  # What needs no other part of the system.

Finding = dict[str, str]


def expect_free_ports(settings: Settings, processes: Processes) -> None:
    """Raise Trouble with its variable for a port that another program has."""
    local = "127.0.0.1"
    wanted = [
        ("prepare", local, settings.prepare_port, "PREPARE_PORT"),
        ("asu", local, settings.asu_port, "ASU_PORT"),
        ("gateway", settings.gateway_host, settings.gateway_port, "GATEWAY_PORT"),
    ]
    if not settings.upstream_url:
        # It listens on all addresses.
        wanted.append(("upstream", "0.0.0.0", settings.upstream_port, "UPSTREAM_PORT"))  # noqa: S104
    for name, host, port, variable in wanted:
        if processes.running(name) is None and not web.is_free(host, port):
            raise Trouble(
                f"port {port} ({name}) is taken by another program, or {host} is no address of "
                f"this machine; choose another one: make up {variable}="
                f"{port + 10000 if port + 10000 <= MAX_PORT else port - 1}"
            )


def check_first(settings: Settings, environment: Mapping[str, str]) -> None:
    """Raise Trouble for what would be wrong whatever is started."""
    names = set(ALWAYS_FIRST)
    names |= {"upstream"} if settings.upstream_url else set()
    names |= {"store"} if environment.get("S3_BUCKET") else set()
    problems = [each for each in _problems(settings, environment) if each["name"] in names]
    if problems:
        raise Trouble(_in_words(problems))


def check_last(
    settings: Settings, environment: Mapping[str, str], say: Callable[[str], None]
) -> None:
    """Raise Trouble for what keeps the running system from working, once its workers are there."""
    give_up = time.monotonic() + WORKERS_SECONDS
    while problems := _problems(settings, environment):
        others = [each for each in problems if each["name"] != "workers"]
        if others or time.monotonic() > give_up:
            raise Trouble(_in_words(problems))
    say("asu check finds no problem")


def write_environment(path: Path, environment: Mapping[str, str]) -> None:
    """Write the settings of the services for `set -a; . .run/env; .venv/bin/asu check`."""
    path.touch(mode=0o600)  # The password of Redis is in it.
    path.write_text("".join(f"{name}={shlex.quote(environment[name])}\n" for name in environment))


def _problems(settings: Settings, environment: Mapping[str, str]) -> list[Finding]:
    port = str(settings.asu_port)
    command = [str(settings.python), "-m", "asu", "check", "--json", "--port", port]
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        found: list[Finding] = json.loads(done.stdout)["findings"]
    except subprocess.TimeoutExpired:
        raise Trouble(f"`asu check` did not end within {SECONDS:.0f} s") from None
    except (ValueError, KeyError):
        raise Trouble(f"`asu check` failed:\n{done.stderr.strip()}") from None
    return [each for each in found if each["level"] == "problem"]


def _in_words(problems: list[Finding]) -> str:
    lines = [f"{each['name']}: {each['detail']}\n  {each['advice']}" for each in problems]
    return "\n".join(["the system cannot work:", *lines])
