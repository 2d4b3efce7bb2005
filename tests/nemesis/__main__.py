"""The command behind `make nemesis`: a system of its own comes up, the storm goes over it, and the
judge speaks.

    SEED=1 NEMESIS_SECONDS=180 python -m tests.nemesis
    python -m tests.nemesis HISTORY.jsonl

Everything about a run lies in `.run/nemesis` (or RUN_DIR): the plan and the history of each seed,
and the logs of the last run.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from misc.native.settings import ROOT, Settings, read_settings
from misc.native.trouble import Trouble
from tests.nemesis.clients import Client
from tests.nemesis.deployment import Deployment
from tests.nemesis.history import History, Recorder, read_events
from tests.nemesis.journal import read_transitions
from tests.nemesis.judgement import judge, summary
from tests.nemesis.schedule import WORKERS, Schedule, make_schedule
from tests.nemesis.storm import Storm
from tests.nemesis.survey import Sampler, survey
from tests.nemesis.wishes import TARGET, VERSIONS

# Seconds in which some client must have come to its end, when nothing is broken any more. On an
# idle machine all have within one such time; on a busy one a build was seen to take fifty seconds
# instead of four, and being slow is not being stuck.
SETTLE = 180.0
STEP = 0.2
# Ports of its own, beside those of `make up` and of the tests. The upstream's stands in the
# builders, so they are found again the next time.
PORTS = {
    "GATEWAY_PORT": "19200",
    "ASU_PORT": "19201",
    "PREPARE_PORT": "19202",
    "UPSTREAM_PORT": "19204",
}


def main(arguments: Sequence[str]) -> int:
    """Run a seed, or judge a recorded history; return 1 where something was not as it must be."""
    if arguments:
        return _judge(Path(arguments[0]))
    if os.geteuid() != 0:
        _say(
            "make nemesis: podman's root and a file system of its own are needed; run it as root or"
            " with sudo"
        )
        return 1
    seed, seconds = (
        int(os.environ.get("SEED") or 1),
        float(os.environ.get("NEMESIS_SECONDS") or 180),
    )
    signal.signal(signal.SIGTERM, _interrupt)
    settings = _settings()
    try:
        history = _run(settings, make_schedule(seed, seconds))
    except KeyboardInterrupt:
        _say("\nmake nemesis: left; everything is taken down")
        return 130
    except Trouble as trouble:
        _say(f"\nmake nemesis: {trouble}")
        return 1
    return _judge(history)


def _settings() -> Settings:
    run_dir = ROOT / os.environ.get("RUN_DIR", ".run") / "nemesis"
    chosen = {name: os.environ[name] for name in PORTS if os.environ.get(name)}
    standin = {
        "STANDIN_VERSIONS": " ".join(VERSIONS),
        "STANDIN_TARGETS": TARGET,
        "WORKERS": str(len(WORKERS)),
    }
    return read_settings({**PORTS, **chosen, **standin, "RUN_DIR": str(run_dir)})


def _run(settings: Settings, schedule: Schedule) -> Path:
    """Carry out a schedule; return the file of its history."""
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    path = settings.run_dir / f"history-{schedule.seed}.jsonl"
    (settings.run_dir / f"plan-{schedule.seed}.json").write_text(schedule.to_json())
    _say(
        f"seed {schedule.seed}, {schedule.seconds:.0f} s: {len(schedule.asks)} requests,"
        f" {len(schedule.strikes)} faults"
    )
    deployment = Deployment(settings, _say)
    with deployment.up():
        recorder = Recorder(path)
        try:
            _storm_over(deployment, schedule, recorder)
        finally:
            recorder.close()
    return path


def _storm_over(deployment: Deployment, schedule: Schedule, recorder: Recorder) -> None:
    leave, stop = threading.Event(), threading.Event()
    clients = [
        Client(ask, recorder, deployment.settings.gateway_port, leave) for ask in schedule.asks
    ]
    sampler = Sampler(deployment, recorder, stop)
    for thread in (*clients, sampler):
        thread.start()
    try:
        storm = Storm(deployment, recorder, _say)
        storm.blow(schedule.strikes, schedule.seconds)
        storm.calm_down()
        _say(
            f"{recorder.now():6.1f}  all faults are healed;"
            f" {sum(client.is_alive() for client in clients)} clients are still waiting"
        )
        _settle(clients, storm)
    finally:
        leave.set()
        stop.set()
        for thread in (*clients, sampler):
            thread.join()
    _say(f"{recorder.now():6.1f}  every client has left")
    final = survey(deployment, recorder)
    for transition in read_transitions(deployment.redis_directory):
        recorder.write(transition)
    recorder.write(final)


def _settle(clients: Sequence[threading.Thread], storm: Storm) -> None:
    """Wait until all clients have ended, or none of them has for too long."""
    waiting, give_up = len(clients), time.monotonic() + SETTLE
    while waiting and time.monotonic() < give_up:
        time.sleep(STEP)
        storm.look_after()
        still = sum(client.is_alive() for client in clients)
        if still < waiting:
            waiting, give_up = still, time.monotonic() + SETTLE


def _judge(path: Path) -> int:
    history = History.of(read_events(path))
    violations = judge(history)
    _say("")
    for line in (*summary(history), *(f"VIOLATION: {violation}" for violation in violations)):
        _say(line)
    _say(f"{len(violations)} violations; the history is {path}")
    return int(bool(violations))


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt  # So that everything is taken down.


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
